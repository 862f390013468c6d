//! Opening a model by what is at its path.

use std::path::Path;
use std::sync::Arc;

use crate::{Model, ModelLoadError};

/// Loads the model in `folder`: a manifest and a TensorFlow SavedModel; and tries the rows of `golden.json`,
/// where there is one.
///
/// Takes tenths of a second and memory in the size of the model's variables: call it once a process
/// and share the model. Fails with any [`ModelLoadError`] but [`ModelLoadError::Features`].
pub fn load(folder: impl AsRef<Path>) -> Result<Arc<dyn Model>, ModelLoadError> {
    load_saved_model(folder.as_ref())
}

#[cfg(feature = "tensorflow")]
fn load_saved_model(folder: &Path) -> Result<Arc<dyn Model>, ModelLoadError> {
    let model = crate::TensorFlowModel::load(folder)?;
    crate::golden::check(folder, model.manifest(), &model)?;
    Ok(Arc::new(model))
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

#[cfg(all(test, not(feature = "tensorflow")))]
mod tests {
    use super::*;

    #[test]
    fn fault_a_program_without_the_feature_says_which_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || load(folder.path()).err().expect("nothing is loaded").to_string();
        assert!(refused().contains("expected `manifest.json` in it, found none"), "{}", refused());
        let manifest = r#"{
            "format_version": 2, "name": "m", "version": "1", "scaling": "", "metrics": {},
            "features": [{"name": "a", "unit": "1"}], "data_digest": "", "signature": "s",
            "inputs": [{"tensor": "x", "dtype": "float32", "shape": [1], "features": ["a"]}],
            "outputs": [{"tensor": "y", "dtype": "float32", "shape": [1], "names": ["score"]}],
            "batch_rows": 256, "libraries": {}, "created": ""
        }"#;
        std::fs::write(folder.path().join("manifest.json"), manifest).unwrap();
        std::fs::write(folder.path().join("saved_model.pb"), "").unwrap();
        assert!(refused().contains("built with feature `tensorflow`"), "{}", refused());
    }
}
