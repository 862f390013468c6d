//! Where a job's generations, manifests and snapshots are kept.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode};
use tideflow_core::ErrorKind;
use tokio::runtime::{Builder, Runtime};

use crate::place;
use crate::snapshot::SEGMENTS;

/// A store that cannot be used, or an object that is not as expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The place is none, or the job's name cannot be a folder's.
    #[error("state store `{place}`: expected {expected}, found {found}")]
    Place {
        /// The place as configured.
        place: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// An object of this name is there already: names are never used again.
    #[error("state store `{place}`: `{name}` is there already")]
    Taken {
        /// The place as configured.
        place: String,
        /// The object, below the job's folder.
        name: String,
    },
    /// There is no object of this name.
    #[error("state store `{place}`: `{name}` is missing")]
    Missing {
        /// The place as configured.
        place: String,
        /// The object, below the job's folder.
        name: String,
    },
    /// The store did not do it.
    #[error("state store `{place}`: {doing} `{name}`: {reason}")]
    Failed {
        /// The place as configured.
        place: String,
        /// What was tried.
        doing: &'static str,
        /// The object, below the job's folder.
        name: String,
        /// The store's words.
        reason: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Place { .. } => ErrorKind::Invalid,
            StoreError::Failed { .. } => ErrorKind::Unavailable,
            StoreError::Taken { .. } | StoreError::Missing { .. } => ErrorKind::Fatal,
        }
    }
}

/// A job's objects in a folder, or below `s3://BUCKET/PREFIX` with the feature `s3`. What is created there is whole and on disk when the call returns, and
/// stays as it is: no name is written twice, so that a process that has been superseded overwrites
/// nothing.
///
/// ```
/// use tideflow_state::{Store, StoreError};
/// let folder = tempfile::tempdir()?;
/// let store = Store::open(folder.path().to_str().unwrap(), "fleet")?;
/// store.create("manifest/1", b"all is well".to_vec())?;
/// assert_eq!(store.read("manifest/1")?, b"all is well");
/// assert_eq!(store.names("manifest")?, ["1"]);
/// let again = store.create("manifest/1", b"no".to_vec());
/// assert!(matches!(again, Err(StoreError::Taken { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store {
    place: String,
    job: Path,
    objects: Arc<dyn ObjectStore>,
    /// The same, for requests that take long.
    large: Arc<dyn ObjectStore>,
    runtime: Runtime,
}

impl Store {
    /// The objects of `job` below the folder or bucket `place`, which must be there: one that is not mounted is not
    /// made, and a job in it would begin anew without a word. [`Store::make_place`] is for a new job.
    ///
    /// # Errors
    /// When the place is no folder, or the job's name is not 1 to 64 of `a-z A-Z 0-9 . _ -`.
    pub fn open(place: &str, job: &str) -> Result<Store, StoreError> {
        Store::check_job(place, job)?;
        let [objects, large] = place::objects(place)?;
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("state-store").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Place {
            place: place.to_string(),
            expected: "threads to work with",
            found: error.to_string(),
        })?;
        Ok(Store { place: place.to_string(), job: Path::from(job), objects, large, runtime })
    }

    /// Whether there is such a place; a bucket is asked when it is used.
    pub fn is_there(place: &str) -> bool {
        place::is_there(place)
    }

    /// That a job may have this name.
    ///
    /// # Errors
    /// When it may not.
    pub fn check_job(place: &str, job: &str) -> Result<(), StoreError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&job.len()) && job.bytes().all(allowed) && !job.starts_with('.') {
            return Ok(());
        }
        let (place, found) = (place.to_string(), format!("`{job}`"));
        let expected = "a job's name of 1 to 64 of `a-z A-Z 0-9 . _ -`, no dot in front";
        Err(StoreError::Place { place, expected, found })
    }

    /// That the folder of a job can be written, or made where it is to be. Touches nothing.
    ///
    /// # Errors
    /// When it cannot.
    pub fn expect_writable(place: &str, job: &str) -> Result<(), StoreError> {
        place::expect_writable(place, job)
    }

    /// Makes the folder of a store that is new; a bucket is somebody else's to make.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_place(place: &str) -> Result<(), StoreError> {
        place::make(place)
    }

    /// Makes an object.
    ///
    /// # Errors
    /// [`StoreError::Taken`] where there is one of this name.
    pub fn create(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let at = self.at(name);
        let created = self.of(name).put_opts(&at, bytes.into(), PutMode::Create.into());
        match self.runtime.block_on(created) {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. }) => {
                Err(StoreError::Taken { place: self.place.clone(), name: name.to_string() })
            }
            Err(error) => Err(self.failed("writing", name, error)),
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of this name.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let at = self.at(name);
        let read = async { self.of(name).get(&at).await?.bytes().await };
        let bytes = self.runtime.block_on(read).map_err(|e| self.failed("reading", name, e))?;
        Ok(bytes.into())
    }

    /// Reads parts of an object.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of this name, [`StoreError::Failed`] where it ends before
    /// a part does.
    pub fn read_ranges(
        &self,
        name: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let at = self.at(name);
        let read = self.runtime.block_on(self.of(name).get_ranges(&at, ranges));
        let parts = read.map_err(|e| self.failed("reading parts of", name, e))?;
        Ok(parts.into_iter().map(Vec::from).collect())
    }

    /// How many bytes an object has.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of this name.
    pub fn size(&self, name: &str) -> Result<u64, StoreError> {
        let asked = self.runtime.block_on(self.objects.head(&self.at(name)));
        asked.map(|found| found.size).map_err(|e| self.failed("asking for the size of", name, e))
    }

    /// The names of a folder's objects, in order.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let at = self.at(folder);
        let listed = self.runtime.block_on(self.objects.list_with_delimiter(Some(&at)));
        let listed = listed.map_err(|e| self.failed("listing", folder, e))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(str::to_string).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Removes an object; none of this name is well too.
    ///
    /// # Errors
    /// When the store does not do it.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let at = self.at(name);
        match self.runtime.block_on(self.objects.delete(&at)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("removing", name, error)),
        }
    }

    /// What an object is written and read through.
    fn of(&self, name: &str) -> &Arc<dyn ObjectStore> {
        match name.starts_with(SEGMENTS) {
            true => &self.large,
            false => &self.objects,
        }
    }

    /// The place as configured.
    pub fn place(&self) -> &str {
        &self.place
    }

    fn at(&self, name: &str) -> Path {
        name.split('/').fold(self.job.clone(), |path, part| path.join(part))
    }

    fn failed(&self, doing: &'static str, name: &str, error: impl Into<Error>) -> StoreError {
        let (place, name) = (self.place.clone(), name.to_string());
        match error.into() {
            Error::NotFound { .. } => StoreError::Missing { place, name },
            other => StoreError::Failed { place, doing, name, reason: causes(&other) },
        }
    }
}

/// An error with what caused it: the store's own words alone often lack the reason.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = Vec::new();
    for error in chain.map(display) {
        // Some say what their source says.
        if words.last().is_none_or(|last| !last.contains(&error)) {
            words.push(error);
        }
    }
    words.join(": ")
}

fn display(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path as Folder;

    use super::*;

    fn refused(place: &str, job: &str) -> String {
        Store::open(place, job).err().expect("refused").to_string()
    }

    #[test]
    fn fault_a_place_that_is_no_folder_is_refused_and_not_made() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let place = folder.path().join("unmounted");
        let place = place.to_str().expect("plain");
        let told = refused(place, "fleet");
        let expected = format!("state store `{place}`: expected a folder, found No such file");
        assert!(told.starts_with(&expected), "{told}");
        assert!(!Folder::new(place).exists());
        std::fs::write(place, "").expect("the folder is ours");
        assert!(refused(place, "fleet").ends_with("expected a folder, found a file"));
    }

    #[test]
    fn fault_a_name_that_leads_elsewhere_is_refused() {
        for job in ["", "..", "a/b", ".hidden", "ü", &"x".repeat(65)] {
            assert!(refused("/tmp", job).contains("expected a job's name"), "{job}");
        }
    }

    #[test]
    fn fault_what_is_missing_and_what_does_not_work_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let place = folder.path().to_str().expect("plain");
        let store = Store::open(place, "fleet").expect("it is there");
        let missing = store.read("manifest/1").expect_err("nothing is there");
        assert_eq!(missing.to_string(), format!("state store `{place}`: `manifest/1` is missing"));
        assert!(store.names("manifest").expect("an empty folder").is_empty());
        store.remove("manifest/1").expect("gone is gone");
        // A file where a folder must be, whoever runs the test.
        std::fs::write(folder.path().join("fleet"), "").expect("the folder is ours");
        let failed = store.create("manifest/1", Vec::new()).expect_err("it cannot");
        assert_eq!(failed.kind(), ErrorKind::Unavailable);
        let told = failed.to_string();
        assert!(told.contains("writing `manifest/1`: ") && told.contains("directory"), "{told}");
    }
}
