//! By which version each epoch is scored, as one worker knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tideflow_core::{BuildError, Epoch, ErrorKind, Failure, Job, Metrics, Opening, OperatorName};
use tideflow_models::{Shelf, VersionId};

use super::pool::Version;

pub(super) struct Versions {
    name: OperatorName,
    shelf: Arc<Shelf>,
    metrics: Arc<Metrics>,
    failure: Failure,
    /// By which version each open epoch is scored.
    chosen: BTreeMap<Epoch, Arc<VersionId>>,
    /// The one that scored last.
    current: Option<Arc<Version>>,
}

impl Versions {
    pub fn new(name: OperatorName, shelf: Arc<Shelf>, job: &Job) -> Self {
        let (metrics, failure) = (job.metrics.clone(), job.failure.clone());
        Versions { name, shelf, metrics, failure, chosen: BTreeMap::new(), current: None }
    }

    /// An epoch opens: which version scores it.
    pub fn open(&mut self, opening: &Opening) {
        let text = opening.chosen.get(self.name.as_str()).expect("the operator's own choice");
        match text.parse::<VersionId>() {
            // Epochs of one version share its name.
            Ok(id) => {
                let last = self.chosen.last_key_value().map(|(_, last)| last.clone());
                let id = last.filter(|last| **last == id).unwrap_or_else(|| Arc::new(id));
                self.chosen.insert(opening.epoch, id);
            }
            Err(error) => self.fail(ErrorKind::Invalid, error),
        }
    }

    /// The name of the version that scores an epoch, if it is known.
    pub fn id(&self, epoch: Epoch) -> Option<Arc<VersionId>> {
        self.chosen.get(&epoch).cloned()
    }

    /// The version that scores an epoch, if that is known and it is open.
    pub fn get(&mut self, epoch: Epoch) -> Option<Arc<Version>> {
        let id = self.chosen.get(&epoch)?;
        if let Some(version) = self.current.as_ref().filter(|version| version.id == *id) {
            return Some(version.clone());
        }
        match self.shelf.need(id) {
            Ok(model) => {
                let version = Arc::new(Version { id: id.clone(), model: model? });
                self.show(&version.id);
                self.current = Some(version.clone());
                Some(version)
            }
            Err(error) => {
                let (kind, text) = (
                    error.kind(),
                    format!("epoch {epoch} is scored by a version that is not to be had: {error}"),
                );
                self.fail(kind, text);
                None
            }
        }
    }

    /// Shows which version scores from now on.
    fn show(&self, id: &VersionId) {
        let set = |id: &VersionId, value| {
            let labels = [self.name.as_str(), &id.name, &id.version, &id.digest];
            self.metrics.model_version.with_label_values(&labels).set(value);
        };
        if let Some(before) = &self.current {
            set(&before.id, 0.0);
        }
        set(id, 1.0);
    }

    /// Forgets the epochs before the first that is still asked about.
    pub fn forget(&mut self, is_over: impl Fn(Epoch) -> bool) {
        while let Some(first) = self.chosen.first_entry()
            && is_over(*first.key())
        {
            first.remove();
        }
    }

    /// Ends the run.
    pub fn fail(&self, kind: ErrorKind, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        let operator = self.name.as_str().to_string();
        self.failure.set(BuildError { operator, kind, source: why.into() });
    }
}
