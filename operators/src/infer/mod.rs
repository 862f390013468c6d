//! Calls a model inside the dataflow.

mod batches;
mod config;
mod follow;
mod pool;
mod run;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::{
    BuildError, Check, CheckFailure, Epoch, Flow, Mode, OperatorName, Rejected, Stream,
};
use tideflow_models::{ModelLoadError, ModelRef, VersionId};

use crate::Window;
use run::{Outputs, Run};

pub use config::{MODEL_DEFAULTS, ModelConfig};
pub(crate) use pool::Version;

/// What a model can score: a row of numbers.
///
/// ```
/// use tideflow_operators::Features;
/// struct Room { celsius: f64, lux: f64 }
/// impl Features for Room {
///     const NAMES: &'static [&'static str] = &["celsius", "lux"];
///     fn row(&self, row: &mut Vec<f64>) { row.extend([self.celsius, self.lux]); }
/// }
/// ```
pub trait Features {
    /// The names of the features, in order: those of the model's manifest.
    const NAMES: &'static [&'static str];
    /// Appends the features, in the order of the names: as many as there are names.
    fn row(&self, row: &mut Vec<f64>);
}

impl<K, A: Features> Features for Window<K, A> {
    const NAMES: &'static [&'static str] = A::NAMES;
    fn row(&self, row: &mut Vec<f64>) {
        self.value.row(row);
    }
}

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InferOptions {
    /// Rows of every call, in place of the model's own number: shorter batches are padded, because a row's
    /// last bits may depend on it. It takes effect with the next version that is chosen, or the next start.
    pub batch_rows: Option<usize>,
    /// How long a row waits for others, before its batch goes as it is; the end of its epoch comes first.
    pub wait_max: Duration,
    /// Threads beside each worker that call the model.
    pub threads: usize,
    /// Batches that a worker gives to its threads ahead: those that are not at work wait there.
    pub inflight_max: usize,
    /// How long a batch may take.
    pub timeout: Duration,
    /// How often it is looked which version is to score.
    pub poll: Duration,
}

impl Default for InferOptions {
    fn default() -> Self {
        InferOptions {
            batch_rows: None,
            wait_max: Duration::from_millis(5),
            threads: 1,
            inflight_max: 4,
            timeout: Duration::from_secs(30),
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

/// A record with its score.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Scored<D> {
    /// The record.
    pub of: D,
    /// The model's first output.
    pub score: f64,
    /// Its other outputs, in order.
    pub others: Vec<f64>,
    /// The model.
    pub model: Arc<VersionId>,
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
    /// gives a NaN or an infinity, comes out of `failed`; a batch that the model fails on twice, or that takes
    /// too long, ends the run.
    ///
    /// # Errors
    /// When the name is taken, an option is 0, or the model cannot be loaded or takes other features.
    fn infer(self, name: &str, model: &impl Scorer) -> Result<Inferred<'s, D>, BuildError>;
}

impl<'s, D: Features + ExchangeData + Clone> Infer<'s, D> for Stream<'s, D> {
    fn infer(self, name: &str, model: &impl Scorer) -> Result<Inferred<'s, D>, BuildError> {
        let flow = self.flow();
        let (model, options) = model.scorer().map_err(|e| failed(name, e))?;
        check_options(name, options)?;
        let node =
            flow.node("operator", name, format!("model {}", model.as_str()), self.origins())?;
        add_check::<D>(&flow, name, model.clone());
        let name = OperatorName::new(name);
        let shelf = match flow.mode() {
            Mode::Plan => None,
            Mode::Run => {
                // A model that panics does so by its operator's name.
                let open = || follow::open(&flow, name.as_str(), &model, options, D::NAMES);
                Some(name.run(open).map_err(|e| failed(name.as_str(), e))?)
            }
        };

        let openings = shelf.clone().map(|shelf| follow::choose(&flow, name, shelf));
        let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
        let mut data = builder.new_input(self.into_timely(), Pipeline);
        let (scored, scored_stream) = builder.new_output();
        let (rejected, failed_stream) = builder.new_output();
        let (by, by_stream) = builder.new_output();
        // Leads to no output: records that wait for an opening hold their epochs themselves.
        let mut openings =
            openings.map(|openings| builder.new_input_connection(openings, Pipeline, []));
        let mut run = shelf.map(|shelf| {
            let address = builder.operator_info().address.to_vec();
            let again = flow.scope().activator_for(address.clone().into());
            Run::new(
                name,
                shelf,
                options,
                (flow.scope().worker().sync_activator_for(address), again),
                &flow,
            )
        });
        let mut out = Outputs {
            scored: OutputBuilder::from(scored),
            failed: OutputBuilder::from(rejected),
            by: OutputBuilder::from(by),
        };
        builder.build_reschedule(move |capabilities| {
            drop(capabilities);
            move |frontiers| {
                name.run(|| {
                    let (Some(run), Some(openings)) = (run.as_mut(), openings.as_mut()) else {
                        return false;
                    };
                    openings.for_each(|_, opened| opened.drain(..).for_each(|o| run.open(&o)));
                    run.release(&mut out.failed);
                    data.for_each(|capability, items| {
                        run.take(&capability, items, &mut out.failed)
                    });
                    run.end_epochs(&frontiers[0]);
                    run.receive(&mut out);
                    run.dispatch()
                })
            }
        });
        Ok(Inferred {
            scored: Stream::new(&flow, node, "", scored_stream),
            failed: Stream::new(&flow, node, "failed", failed_stream),
            by: by_stream,
        })
    }
}

fn check_options(name: &str, options: InferOptions) -> Result<(), BuildError> {
    let InferOptions { batch_rows, threads, inflight_max, .. } = options;
    if batch_rows == Some(0) || threads == 0 || inflight_max < threads {
        let what = format!(
            "expected `batch_rows` and `threads` over 0, and `inflight_max` not below `threads`; found {options:?}"
        );
        return Err(BuildError::invalid(name, what));
    }
    Ok(())
}

fn failed(name: &str, e: ModelLoadError) -> BuildError {
    BuildError { operator: name.to_string(), kind: e.kind(), source: Box::new(e) }
}

fn add_check<D: Features>(flow: &Flow<'_>, name: &str, model: ModelRef) {
    // A job that goes on does so with the version that it had, where another cannot be had.
    let advisory = model.may_change();
    let look = move || {
        let (id, model) = model.current()?;
        model.signature().expect_features(D::NAMES)?;
        Ok((id, model.signature().width()))
    };
    let run = move || {
        let found: Result<_, ModelLoadError> = look();
        let (id, width) =
            found.map_err(|e| CheckFailure { kind: e.kind(), message: e.to_string() })?;
        let VersionId { name, version, batch_rows, .. } = id;
        Ok(format!("{name} version {version}, {width} features, {batch_rows} rows a call"))
    };
    let what = format!("model of `{name}`");
    flow.check(Check { key: what.clone(), what, after: None, advisory, run: Box::new(run) });
}
