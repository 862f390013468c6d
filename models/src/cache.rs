//! Copies of models on this machine, by the digest of their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::ModelLoadError;
use crate::folder::digest;

/// Models in the cache at most: the one that was used longest ago goes first.
const KEPT_MAX: usize = 16;

/// A folder of models, each in a folder that its digest names. Processes may share it.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// That in this folder, which is made when something is put there. What killed processes have left half done
    /// is removed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let cache = Cache { folder: folder.into() };
        cache.folders(true).filter(|path| !is_held(path)).for_each(|path| {
            let _ = fs::remove_dir_all(path);
        });
        cache
    }

    /// Those of models; or those that are `partial`.
    fn folders(&self, partial: bool) -> impl Iterator<Item = PathBuf> {
        let is_partial = |path: &Path| {
            path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(PARTIAL.as_bytes()))
        };
        let entries = fs::read_dir(&self.folder).into_iter().flatten();
        let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
        folders.filter(move |path| path.is_dir() && is_partial(path) == partial)
    }

    /// The model of this digest, if it is here.
    pub fn find(&self, digest: &str) -> Option<PathBuf> {
        let place = self.folder.join(digest);
        let is_name = digest.bytes().all(|b| b.is_ascii_hexdigit()) && !digest.is_empty();
        (is_name && place.is_dir()).then(|| {
            touch(&place);
            place
        })
    }

    /// Takes what `fill` puts into an empty folder, whole or not at all: the model's digest and place.
    ///
    /// # Errors
    /// Those of `fill`; when the folder cannot be written, or its digest is not the one `expected`.
    pub fn put(
        &self,
        expected: Option<&str>,
        fill: impl FnOnce(&Path) -> Result<(), ModelLoadError>,
    ) -> Result<(String, PathBuf), ModelLoadError> {
        let io = |source| ModelLoadError::Io { path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(io)?;
        let partial =
            tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.folder).map_err(io)?;
        let _held = hold(partial.path()).map_err(io)?;
        fill(partial.path())?;
        let found = digest(partial.path())?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let expected = expected.to_string();
            return Err(ModelLoadError::Digest { expected, found });
        }
        let place = self.folder.join(&found);
        // Another process may have been quicker: the same is there.
        if !place.is_dir() && fs::rename(partial.path(), &place).is_err() && !place.is_dir() {
            return Err(io(std::io::Error::other("a folder in it cannot be renamed")));
        }
        self.evict(&place);
        Ok((found, place))
    }

    /// Removes what is more than may be kept, but not what was just put here.
    fn evict(&self, but: &Path) {
        let used = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
        let models = self.folders(false).filter(|path| path != but);
        let mut by_use: Vec<_> = models.map(|path| (used(&path), path)).collect();
        by_use.sort();
        for (_, path) in by_use.iter().rev().skip(KEPT_MAX - 1) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Replaces a file's content, whole or not at all.
#[cfg(feature = "http")]
pub(crate) fn replace(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut partial = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
    std::io::Write::write_all(&mut partial, content)?;
    partial.persist(file)?;
    Ok(())
}

/// Notes that a model is used now. Without that, only the wrong one may go.
#[expect(clippy::disallowed_methods, reason = "which copies are kept changes no result")]
fn touch(place: &Path) {
    let _ = fs::File::open(place).and_then(|folder| folder.set_modified(SystemTime::now()));
}

const PARTIAL: &str = "partial-";

/// Shows other processes that somebody is at work in a folder, as long as the result lives, and the process.
fn hold(folder: &Path) -> std::io::Result<fs::File> {
    let held = fs::File::open(folder)?;
    held.lock()?;
    Ok(held)
}

/// Whether somebody is at work in a folder; also where that cannot be told.
fn is_held(folder: &Path) -> bool {
    fs::File::open(folder).map_or(true, |folder| folder.try_lock().is_err())
}

/// Removes a copy that is damaged.
pub(crate) fn remove(place: &Path) {
    tracing::warn!(copy = %place.display(), "a copy of a model is damaged, and is made anew");
    let _ = fs::remove_dir_all(place);
}

/// Copies all files of a folder into another.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), ModelLoadError> {
    let io = |source| ModelLoadError::Io { path: from.to_path_buf(), source };
    for entry in fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        let target = to.join(entry.file_name());
        // Links are followed, as the digest follows them.
        if fs::metadata(entry.path()).map_err(io)?.is_dir() {
            fs::create_dir(&target).map_err(io)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(io)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn put(cache: &Cache, content: &str, expected: Option<&str>) -> Result<String, ModelLoadError> {
        let fill = |to: &Path| {
            fs::write(to.join("a"), content).expect("it can be written");
            Ok(())
        };
        cache.put(expected, fill).map(|(digest, _)| digest)
    }

    #[test]
    fn a_model_is_found_by_its_digest_and_put_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("models"));
        assert_eq!(cache.find("abc"), None);
        let digest = put(&cache, "1", None).unwrap();
        let place = cache.find(&digest).expect("it is there");
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "1");
        assert_eq!(put(&cache, "1", Some(&digest)).unwrap(), digest);
        let left: Vec<_> = fs::read_dir(folder.path().join("models")).unwrap().collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn fault_what_has_another_digest_or_is_not_whole_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let told = put(&cache, "1", Some("4f2a")).expect_err("another").to_string();
        assert!(told.starts_with("expected a model with the digest `4f2a`, found `"), "{told}");
        let failed = |_: &Path| Err(ModelLoadError::NotAFolder { path: "x".into() });
        cache.put(None, failed).expect_err("it is not whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(cache.find("../.."), None);
        assert_eq!(cache.find(""), None);
    }

    #[test]
    fn what_a_killed_process_has_left_half_done_goes_and_what_another_is_at_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let left = folder.path().join("partial-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("a"), "half").unwrap();
        let fill = |to: &Path| {
            Cache::new(folder.path());
            assert!(to.is_dir() && !left.exists());
            Ok(())
        };
        cache.put(None, fill).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let put_at = |n: usize| {
            let digest = put(&cache, &n.to_string(), None).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 + n as u64);
            fs::File::open(folder.path().join(&digest)).unwrap().set_modified(at).unwrap();
            digest
        };
        let digests: Vec<_> = (0..KEPT_MAX).map(put_at).collect();
        cache.find(&digests[0]).expect("it is there, and used now");
        put_at(KEPT_MAX);
        let there = |digest: &String| folder.path().join(digest).is_dir();
        assert_eq!(
            (there(&digests[0]), there(&digests[1]), there(&digests[2])),
            (true, false, true)
        );
    }
}
