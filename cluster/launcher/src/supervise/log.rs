//! The log of a supervised program: files of bounded size, the newest first.

use std::fs::{File, rename};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The newest file, in the supervisor's folder.
pub const LOG: &str = "logs/process.log";
/// Bytes of a file at most, give or take a line.
const FILE_MAX: u64 = 16 << 20;
/// Files beside the newest.
const OLDER_MAX: u32 = 4;
/// Bytes of a line at most; what is longer becomes several.
const LINE_MAX: u64 = 64 << 10;
/// Characters of the last line that are kept for a report.
const WORDS_MAX: usize = 500;

/// A log that several threads write lines to.
#[derive(Clone)]
pub struct RotatingLog(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    file_max: u64,
    last: Option<String>,
}

/// The files of a folder's log that are there, the oldest first.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let path = folder.join(LOG);
    let all = (1..=OLDER_MAX).rev().map(|age| older(&path, age)).chain([path.clone()]);
    all.filter(|path| path.exists()).collect()
}

fn older(path: &Path, age: u32) -> PathBuf {
    path.with_extension(format!("log.{age}"))
}

impl RotatingLog {
    /// The log of a folder, which it goes on with.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(folder: &Path) -> io::Result<RotatingLog> {
        RotatingLog::of_size(folder, FILE_MAX)
    }

    /// The same with files of another size.
    fn of_size(folder: &Path, file_max: u64) -> io::Result<RotatingLog> {
        let path = folder.join(LOG);
        std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
        let file = File::options().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(RotatingLog(Arc::new(Mutex::new(Inner { path, file, bytes, file_max, last: None }))))
    }

    /// Takes all that comes from a reader, line by line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(&self, reader: impl Read) -> io::Result<()> {
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let mut inner = self.inner();
            let text = String::from_utf8_lossy(&line);
            if !text.trim().is_empty() {
                inner.last = Some(text.trim().chars().take(WORDS_MAX).collect());
            }
            // A full disk must not end the program that writes: its pipe is read to the end.
            let _ = inner.write(&line);
        }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn line(&self, line: &str) -> io::Result<()> {
        self.inner().write(format!("{line}\n").as_bytes())
    }

    /// The last line that was taken and is not empty; asked again, only what came since.
    pub fn last_line(&self) -> Option<String> {
        self.inner().last.take()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.file_max {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Before anything moves: where there is no room for it, the older files stay.
        let next = older(&self.path, 0);
        let file = File::options().create(true).append(true).open(&next)?;
        for age in (1..OLDER_MAX).rev() {
            let from = older(&self.path, age);
            if from.exists() {
                rename(from, older(&self.path, age + 1))?;
            }
        }
        rename(&self.path, older(&self.path, 1))?;
        rename(next, &self.path)?;
        self.file = file;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let log = RotatingLog::of_size(folder.path(), 20).unwrap();
        let text: String = (0..30).map(|i| format!("line {i:02}\n")).collect();
        log.take(text.as_bytes()).unwrap();
        let files = files(folder.path());
        assert_eq!(files.len(), 1 + OLDER_MAX as usize);
        let kept: String =
            files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert!(text.ends_with(&kept) && kept.len() >= 80, "{kept}");
        assert_eq!(log.last_line().as_deref(), Some("line 29"));
        let more = RotatingLog::of_size(folder.path(), 20).unwrap();
        more.line("more").unwrap();
        assert!(std::fs::read_to_string(folder.path().join(LOG)).unwrap().ends_with("more\n"));
    }
}
