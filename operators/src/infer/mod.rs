//! Calls a model inside the dataflow.

mod batches;
mod build;
mod candidate;
mod config;
mod features;
mod follow;
mod pool;
mod run;
mod scored;
mod settle;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::{BuildError, Epoch, Rejected, Stream};
use tideflow_models::{ModelLoadError, ModelRef};

use build::{Built, infer_into};
use scored::Scores;

pub use candidate::{Candidate, Compared, Slice};
pub use config::{CANDIDATE_DEFAULTS, CandidateConfig, MODEL_DEFAULTS, ModelConfig, Policy};
pub use features::Features;
pub(crate) use pool::Version;
pub use scored::Scored;
pub use settle::OnFailure;

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InferOptions {
    /// Rows of every call, in place of the model's own number: shorter batches are padded, because a row's
    /// last bits may depend on it. It takes effect with the next version that is chosen, or the next start.
    pub batch_rows: Option<usize>,
    /// How long a row waits for others, before its batch goes as it is; the end of its epoch comes first.
    pub wait_max: Duration,
    /// Threads beside each worker that call the model.
    pub threads: usize,
    /// Batches that a worker gives to its threads ahead at most: those that are not at work wait there. More than one a
    /// thread and one beyond are given only as long as their rows take at most 2 MiB.
    pub inflight_max: usize,
    /// How long a batch may take, before another thread tries it once more.
    pub timeout: Duration,
    /// What becomes of an epoch in which the model fails.
    pub on_failure: OnFailure,
    /// How often it is looked which version is to score.
    pub poll: Duration,
}

impl Default for InferOptions {
    fn default() -> Self {
        InferOptions {
            batch_rows: None,
            wait_max: Duration::from_millis(5),
            threads: 1,
            inflight_max: 8,
            timeout: Duration::from_secs(30),
            on_failure: OnFailure::Stop,
            poll: Duration::from_secs(5),
        }
    }
}

/// A model, and how it is called: a [`ModelRef`] is called as [`InferOptions`] stand, a [`ModelConfig`] says both.
pub trait Scorer {
    /// The model, and how it is called.
    ///
    /// # Errors
    /// When it is named in a way that cannot be used.
    fn scorer(&self) -> Result<(ModelRef, InferOptions), ModelLoadError>;
}

impl Scorer for ModelRef {
    fn scorer(&self) -> Result<(ModelRef, InferOptions), ModelLoadError> {
        Ok((self.clone(), InferOptions::default()))
    }
}

impl Scorer for (ModelRef, InferOptions) {
    fn scorer(&self) -> Result<(ModelRef, InferOptions), ModelLoadError> {
        Ok(self.clone())
    }
}

/// The outputs of an inference operator.
pub struct Inferred<'s, D: 'static> {
    /// Records with their scores; those of an epoch in the order in which they came.
    pub scored: Stream<'s, Scored<D>>,
    /// Records that could not be scored.
    pub failed: Stream<'s, Rejected>,
    /// Who scored the records of an epoch, before these.
    pub(crate) by: StreamVec<'s, Epoch, Arc<Version>>,
}

/// Scores a stream.
pub trait Infer<'s, D: 'static> {
    /// Yields each record with its score, by the version of the model that the epoch's binding names. The model
    /// runs on threads beside the worker, in batches of one fixed size, filled up with zeros when an epoch ends
    /// or a row has waited long enough.
    ///
    /// When the reference points to another version, that one is opened and tried on every process, and then
    /// scores from one epoch on, the same on every worker. One that cannot be opened changes nothing.
    ///
    /// State: the records in flight; an epoch is held until its scores are in, so the epochs in flight
    /// bound it. Assumes that the model keeps the promises of [`Model`](tideflow_models::Model): a row's score
    /// then depends on the row alone. Fails: a row with a value that its feature cannot hold, or that the model
    /// gives a NaN or an infinity, comes out of `failed`; where the model fails on a batch twice, or is too slow
    /// twice, [`OnFailure`] says what becomes of the epoch.
    ///
    /// # Errors
    /// When the name is taken, an option is 0, or the model cannot be loaded or takes other features.
    fn infer(self, name: &str, model: &impl Scorer) -> Result<Inferred<'s, D>, BuildError>;
}

impl<'s, D: Features + ExchangeData + Clone> Infer<'s, D> for Stream<'s, D> {
    fn infer(self, name: &str, model: &impl Scorer) -> Result<Inferred<'s, D>, BuildError> {
        let flow = self.flow();
        let rows = flow.job().rows.clone();
        if let Some(rows) = rows.filter(|rows| rows.are_of(name, &features::names::<D>())) {
            return features::collect(self, name, rows);
        }
        let model = model.scorer().map_err(|e| failed(name, e))?;
        let published = flow.resume().published;
        let Built { node, streams: (scored, failed), by } =
            infer_into(self, name, model, published, Scores::new)?;
        Ok(Inferred {
            scored: Stream::new(&flow, node, "", scored),
            failed: Stream::new(&flow, node, "failed", failed),
            by,
        })
    }
}

fn failed(name: &str, e: ModelLoadError) -> BuildError {
    BuildError { operator: name.to_string(), kind: e.kind(), source: Box::new(e) }
}
