//! Opening a model by what is at its path.

use std::path::Path;
use std::sync::Arc;

use crate::{Model, ModelLoadError};

/// Loads the model at `reference`: the path of a folder that holds a manifest and a TensorFlow
/// SavedModel.
///
/// Takes tenths of a second and memory in the size of the model's variables: call it once a process
/// and share the model. Fails with any [`ModelLoadError`] but [`ModelLoadError::Features`].
pub fn load(reference: &str) -> Result<Arc<dyn Model>, ModelLoadError> {
    load_saved_model(Path::new(reference))
}

#[cfg(feature = "tensorflow")]
fn load_saved_model(folder: &Path) -> Result<Arc<dyn Model>, ModelLoadError> {
    Ok(Arc::new(crate::TensorFlowModel::load(folder)?))
}

// Without the feature the same mistakes in the configuration are found first.
#[cfg(not(feature = "tensorflow"))]
fn load_saved_model(folder: &Path) -> Result<Arc<dyn Model>, ModelLoadError> {
    crate::Manifest::read(folder)?;
    crate::folder::expect_file(folder, "saved_model.pb")?;
    Err(ModelLoadError::BackendMissing {
        folder: folder.to_path_buf(),
        format: "TensorFlow SavedModel",
        feature: "tensorflow",
    })
}
