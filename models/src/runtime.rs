//! What scores a model whose files are here.

use std::path::Path;
use std::sync::Arc;

use crate::{Model, ModelLoadError, VersionId, load};

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
        match self {
            Runtime::InProcess => {
                let model = load(place)?;
                expect_digest(id, &model.signature().digest)?;
                Ok(model)
            }
            #[cfg(feature = "http")]
            Runtime::Serving(access) => {
                expect_digest(id, &crate::digest(place)?)?;
                let manifest = crate::Manifest::read(place)?;
                let model = crate::ServingModel::open(id, manifest, access)?;
                crate::golden::check(place, model.manifest(), &model)?;
                Ok(Arc::new(model))
            }
        }
    }
}

fn expect_digest(id: &VersionId, found: &str) -> Result<(), ModelLoadError> {
    if found == id.digest {
        return Ok(());
    }
    Err(ModelLoadError::Digest { expected: id.digest.clone(), found: found.to_string() })
}
