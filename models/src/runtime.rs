//! What scores a model whose files are here.

use std::path::Path;
use std::sync::Arc;

use crate::{Model, ModelLoadError, VersionId, digest, load};

/// Where a model scores.
#[derive(Clone, Debug, Default)]
pub enum Runtime {
    /// In this process.
    #[default]
    InProcess,
    /// On a TensorFlow Serving server, which has the same versions under the same names and numbers.
    #[cfg(feature = "http")]
    Serving(crate::ServingAccess),
}

impl Runtime {
    /// Opens the version `id`, whose files are at `place`, and tries its golden rows.
    pub(crate) fn open(
        &self,
        id: &VersionId,
        place: &Path,
    ) -> Result<Arc<dyn Model>, ModelLoadError> {
        // First: what is damaged need not load.
        let found = digest(place)?;
        if found != id.digest {
            return Err(ModelLoadError::Digest { expected: id.digest.clone(), found });
        }
        match self {
            Runtime::InProcess => load(place),
            #[cfg(feature = "http")]
            Runtime::Serving(access) => {
                let manifest = crate::Manifest::read(place)?;
                let model = crate::ServingModel::open(id, manifest, access)?;
                crate::golden::check(place, model.manifest(), &model)?;
                Ok(Arc::new(model))
            }
        }
    }
}
