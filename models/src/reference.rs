//! Naming a model in a configuration, and opening it once a process.

use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::{Model, ModelLoadError, load};

/// A model by reference: the folder it lies in. In a configuration it is that text.
///
/// All clones open the model once and share it: one native session a process.
///
/// ```
/// use std::sync::Arc;
/// use tideflow_models::{LinearModel, ModelRef};
/// let given: ModelRef = LinearModel::new("heat", &[("temperature.mean", "celsius")], &[0.5], 0.0).into();
/// let model = given.open()?;
/// assert!(Arc::ptr_eq(&model, &given.clone().open()?));
/// # Ok::<(), tideflow_models::ModelLoadError>(())
/// ```
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct ModelRef {
    reference: String,
    opened: Arc<Mutex<Option<Arc<dyn Model>>>>,
}

impl ModelRef {
    /// The reference as it was given.
    pub fn as_str(&self) -> &str {
        &self.reference
    }

    /// The model; loaded the first time.
    ///
    /// # Errors
    /// Those of [`load`]. The next call tries again.
    pub fn open(&self) -> Result<Arc<dyn Model>, ModelLoadError> {
        let mut opened = self.opened.lock().expect("no holder of this lock panics");
        if let Some(model) = &*opened {
            return Ok(model.clone());
        }
        let model = load(&self.reference)?;
        *opened = Some(model.clone());
        Ok(model)
    }
}

impl From<String> for ModelRef {
    fn from(reference: String) -> Self {
        ModelRef { reference, opened: Arc::default() }
    }
}

impl<M: Model> From<M> for ModelRef {
    fn from(model: M) -> Self {
        let reference = model.signature().name.clone();
        ModelRef { reference, opened: Arc::new(Mutex::new(Some(Arc::new(model)))) }
    }
}

impl std::fmt::Debug for ModelRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ModelRef").field(&self.reference).finish()
    }
}
