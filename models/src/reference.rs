//! A model by reference, and what a process shares of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use crate::cache::{self, Cache};
use crate::folder::digest;
use crate::shelf::{Accept, Shelf};
use crate::version::Given;
use crate::{Manifest, Model, ModelLoadError, Runtime, VersionId, Versions};

/// A model by reference. All clones open its versions once and share them: one native session a version and
/// process.
///
/// ```
/// use tideflow_models::{LinearModel, ModelRef};
/// let given: ModelRef = LinearModel::new("heat", &[("temperature.mean", "celsius")], &[0.5], 0.0).into();
/// assert_eq!(given.current()?.0.name, "heat");
/// # Ok::<(), tideflow_models::ModelLoadError>(())
/// ```
#[derive(Clone)]
pub struct ModelRef {
    reference: String,
    versions: Arc<dyn Versions>,
    shelf: Arc<Mutex<Weak<Shelf>>>,
}

impl ModelRef {
    /// What these versions are of; `reference` names it for people.
    pub fn new(reference: impl Into<String>, versions: impl Versions) -> Self {
        let versions = Arc::new(versions);
        ModelRef { reference: reference.into(), versions, shelf: Arc::default() }
    }

    /// The model in a folder, as it is when it is opened. With a cache, what has scored once can be opened
    /// again, though another model is in the folder since.
    pub fn folder(folder: impl AsRef<Path>, cache: Option<&Path>, runtime: Runtime) -> Self {
        let folder = folder.as_ref().to_path_buf();
        let reference = folder.display().to_string();
        ModelRef::new(reference, Folder { folder, cache: cache.map(Cache::new), runtime })
    }

    /// The reference as it was given.
    pub fn as_str(&self) -> &str {
        &self.reference
    }

    /// Whether it may point to another version later.
    pub fn may_change(&self) -> bool {
        self.versions.may_change()
    }

    /// Opens the version that is to score now, for whoever wants to look at it.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn current(&self) -> Result<(VersionId, Arc<dyn Model>), ModelLoadError> {
        let id = self.versions.current()?;
        let model = self.versions.open(&id)?;
        Ok((id, model))
    }

    /// What the process has open of it, for as long as somebody holds it: opened by the first that asks, with what
    /// that one wants; and whether that was now.
    ///
    /// # Errors
    /// Those of [`Shelf::open`]. The next call tries again.
    pub fn shelf(
        &self,
        batch_rows: Option<usize>,
        last: Option<&VersionId>,
        accept: Accept,
    ) -> Result<(Arc<Shelf>, bool), ModelLoadError> {
        let mut shelf = self.shelf.lock().expect("no holder of this lock panics");
        if let Some(shelf) = shelf.upgrade() {
            return Ok((shelf, false));
        }
        let opened = Arc::new(Shelf::open(self.versions.clone(), batch_rows, last, accept)?);
        *shelf = Arc::downgrade(&opened);
        Ok((opened, true))
    }
}

impl<M: Model> From<M> for ModelRef {
    fn from(model: M) -> Self {
        ModelRef::new(model.signature().name.clone(), Given(Arc::new(model)))
    }
}

impl fmt::Debug for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelRef").field(&self.reference).finish()
    }
}

/// The model in a folder.
struct Folder {
    folder: PathBuf,
    cache: Option<Cache>,
    runtime: Runtime,
}

impl Versions for Folder {
    fn current(&self) -> Result<VersionId, ModelLoadError> {
        let manifest = Manifest::read(&self.folder)?;
        Ok(VersionId::of(&manifest.signature(digest(&self.folder)?)))
    }

    fn open(&self, id: &VersionId) -> Result<Arc<dyn Model>, ModelLoadError> {
        if let Some(place) = self.cache.as_ref().and_then(|cache| cache.find(&id.digest)) {
            match self.runtime.open(id, &place) {
                Err(ModelLoadError::Digest { .. }) => cache::remove(&place),
                opened => return opened,
            }
        }
        let there = self.folder.is_dir() && digest(&self.folder)? == id.digest;
        match &self.cache {
            _ if !there => {
                let at = self.folder.display().to_string();
                Err(ModelLoadError::VersionGone { wanted: id.clone(), at })
            }
            None => self.runtime.open(id, &self.folder),
            Some(cache) => {
                // What cannot be opened need not be copied. The copy's digest says that it is what was opened.
                let model = self.runtime.open(id, &self.folder)?;
                cache.put(Some(&id.digest), |to| cache::copy(&self.folder, to))?;
                Ok(model)
            }
        }
    }

    fn may_change(&self) -> bool {
        false
    }
}
