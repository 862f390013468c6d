//! Entries spread over files by device, to be looked at a file at a time.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tideflow_core::{Ending, Key, Stop};

use crate::CompareError;

/// Entries that a file is meant to hold: about 100 MB where they lie in maps.
const ENTRIES: u64 = 500_000;
/// Files at most; beyond, each holds more.
const FILES_MAX: u64 = 256;

/// A folder of files, gone when this is dropped. All entries of a device are in one of them, in the order in
/// which they came.
pub(crate) struct Buckets<E> {
    folder: PathBuf,
    files: Vec<BufWriter<File>>,
    _holds: PhantomData<E>,
}

impl<E: Serialize + DeserializeOwned> Buckets<E> {
    /// For about so many entries.
    pub fn new(folder: &Path, entries: u64) -> Result<Self, CompareError> {
        fs::create_dir(folder).map_err(CompareError::io("making folder", folder))?;
        let mut buckets =
            Buckets { folder: folder.to_owned(), files: Vec::new(), _holds: PhantomData };
        for number in 0..(entries / ENTRIES + 1).min(FILES_MAX) as usize {
            let path = buckets.path(number);
            let file = File::create_new(&path).map_err(CompareError::io("making", &path))?;
            buckets.files.push(BufWriter::new(file));
        }
        Ok(buckets)
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// Adds an entry of a device.
    pub fn add(&mut self, device: &String, entry: &E) -> Result<(), CompareError> {
        let number = (device.stable_hash() % self.files.len() as u64) as usize;
        let mut line = serde_json::to_vec(entry).expect("entries are texts and numbers");
        line.push(b'\n');
        let written = self.files[number].write_all(&line);
        written.map_err(CompareError::io("writing", &self.path(number)))
    }

    /// Calls with the entries of each file. False where it was asked to stop.
    pub fn each(
        mut self,
        stop: &Stop,
        mut act: impl FnMut(Vec<E>) -> Result<(), CompareError>,
    ) -> Result<bool, CompareError> {
        for number in 0..self.files.len() {
            if stop.asked() != Ending::No {
                return Ok(false);
            }
            let path = self.path(number);
            self.files[number].flush().map_err(CompareError::io("writing", &path))?;
            let file = File::open(&path).map_err(CompareError::io("reading", &path))?;
            let mut entries = Vec::new();
            for line in BufReader::new(file).lines() {
                let line = line.map_err(CompareError::io("reading", &path))?;
                entries.push(serde_json::from_str(&line).expect("it was just written"));
            }
            act(entries)?;
        }
        Ok(true)
    }
}

impl<E> Drop for Buckets<E> {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot remove what was for a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_device_come_together_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("buckets");
        let mut buckets = Buckets::<(String, u64)>::new(&path, 3 * ENTRIES).expect("it is new");
        for n in 0..1_000 {
            let device = format!("d{}", n % 10);
            buckets.add(&device, &(device.clone(), n)).expect("there is room");
        }
        let (mut seen, mut files) = (Vec::new(), 0);
        let each = buckets.each(&Stop::default(), |entries| {
            files += 1;
            let last = |device: &String| seen.iter().all(|(other, _)| other != device);
            assert!(entries.iter().all(|(device, _)| last(device)), "in two files");
            seen.extend(entries);
            Ok(())
        });
        assert!(each.expect("it was just written"));
        assert_eq!((files, seen.len(), path.exists()), (4, 1_000, false));
        for device in 0..10 {
            let own = seen.iter().filter(|(name, _)| *name == format!("d{device}"));
            assert!(own.map(|(_, n)| *n).is_sorted());
        }
    }
}
