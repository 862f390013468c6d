//! Which version of a model scores: the choice that an epoch's binding records.

use std::sync::Arc;
use std::time::Duration;

use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::{Choice, Epoch, Flow, Opening, OperatorName};
use tideflow_models::{Model, ModelLoadError, ModelRef, Shelf, VersionId};

use super::InferOptions;

/// The version that is current, and those that were or will be, as a choice.
struct Following(Arc<Shelf>);

impl Choice for Following {
    fn wanted(&self) -> Option<String> {
        self.0.wanted().map(|id| id.to_string())
    }

    fn prepare(&self, value: &str) {
        if let Ok(id) = value.parse() {
            self.0.prepare(&id);
        }
    }

    fn is_ready(&self, value: &str) -> bool {
        value.parse().is_ok_and(|id| self.0.is_open(&id))
    }
}

/// Longer than any run.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Opens the current version for the graph, once a process, and follows what is current.
pub(super) fn open(
    flow: &Flow<'_>,
    name: OperatorName,
    model: &ModelRef,
    options: InferOptions,
    features: Vec<String>,
) -> Result<Arc<Shelf>, ModelLoadError> {
    let features = Arc::new(features);
    let expected = features.clone();
    let accept =
        move |_: &VersionId, model: &dyn Model| model.signature().expect_features(&expected);
    let last = flow.resume().chosen();
    let last = last.get(name.as_str()).and_then(|value| value.parse().ok());
    let (shelf, first) = model.shelf(options.batch_rows, last.as_ref(), Arc::new(accept))?;
    // Whoever shares it takes the same.
    if let Some(Ok(Some(model))) = shelf.wanted().map(|id| shelf.need(&id)) {
        model.signature().expect_features(&features)?;
    }
    if first {
        let failures = flow.job().metrics.model_failures.with_label_values(&[name.as_str()]);
        // What scores a backtest is one version, whatever an alias names meanwhile.
        let every = if flow.job().backtest.is_some() { NEVER } else { options.poll };
        shelf.follow(name, every, move || failures.inc());
    }
    Ok(shelf)
}

/// Every epoch's opening, which says by which version it is scored.
pub(super) fn choose<'s>(
    flow: &Flow<'s>,
    name: OperatorName,
    shelf: Arc<Shelf>,
) -> StreamVec<'s, Epoch, Opening> {
    flow.choose(name.as_str(), Arc::new(Following(shelf)))
}
