//! Calls a model inside the dataflow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::{Deserialize, Serialize};
use tideflow_core::prometheus::{Histogram, IntCounter};
use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::container::CapacityContainerBuilder;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::timely::dataflow::operators::{Capability, InputCapability};
use tideflow_core::timely::scheduling::SyncActivator;
use tideflow_core::{
    BuildError, Check, CheckFailure, Epoch, Flow, Mode, OperatorName, Origin, Reason, Rejected,
    Stream,
};
use tideflow_models::{Model, ModelLoadError, ModelRef, ScoreError};

use crate::Window;

/// What a model can score: a row of numbers.
///
/// ```
/// use tideflow_operators::Features;
/// struct Room { celsius: f64, lux: f64 }
/// impl Features for Room {
///     const NAMES: &'static [&'static str] = &["celsius", "lux"];
///     fn row(&self, row: &mut Vec<f32>) { row.extend([self.celsius as f32, self.lux as f32]); }
/// }
/// ```
pub trait Features {
    /// The names of the features, in order: those of the model's manifest.
    const NAMES: &'static [&'static str];
    /// Appends the features, in the order of the names: as many as there are names.
    fn row(&self, row: &mut Vec<f32>);
}

impl<K, A: Features> Features for Window<K, A> {
    const NAMES: &'static [&'static str] = A::NAMES;
    fn row(&self, row: &mut Vec<f32>) {
        self.value.row(row);
    }
}

/// How a model is called.
#[derive(Clone, Copy, Debug)]
pub struct InferOptions {
    /// Rows of every call: shorter batches are padded, because a row's last bits may depend on it.
    pub batch_rows: usize,
    /// Batches given to the model's thread and not yet back: one is at work, the others wait there.
    pub inflight_max: usize,
}

impl Default for InferOptions {
    fn default() -> Self {
        InferOptions { batch_rows: 256, inflight_max: 4 }
    }
}

/// Which model gave a score.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelId {
    /// The model's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its files.
    pub digest: String,
}

/// A record with its score.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Scored<D> {
    /// The record.
    pub of: D,
    /// The model's output.
    pub score: f32,
    /// The model.
    pub model: Arc<ModelId>,
}

/// The outputs of an inference operator.
pub struct Inferred<'s, D: 'static> {
    /// Records with their scores, in the order in which they came.
    pub scored: Stream<'s, Scored<D>>,
    /// Records that could not be scored.
    pub failed: Stream<'s, Rejected>,
}

/// Scores a stream.
pub trait Infer<'s, D: 'static> {
    /// Yields each record with its score. The model runs on a thread beside the worker, in batches of
    /// one fixed size, filled up with zeros when an epoch ends.
    ///
    /// State: the records in flight; an epoch is held until its scores are in, so the epochs in flight
    /// bound it. Assumes that the model keeps the promises of [`Model`]: a row's score then depends on
    /// the row alone. Fails: a row with a NaN or an infinity, or that the model gives such a score, comes
    /// out of `failed`; a batch that the model fails on ends the run.
    ///
    /// # Errors
    /// When the name is taken, an option is 0, or the model cannot be loaded or takes other features.
    fn infer(
        self,
        name: &str,
        model: &ModelRef,
        options: InferOptions,
    ) -> Result<Inferred<'s, D>, BuildError>;
}

impl<'s, D: Features + ExchangeData + Clone> Infer<'s, D> for Stream<'s, D> {
    fn infer(
        self,
        name: &str,
        model: &ModelRef,
        options: InferOptions,
    ) -> Result<Inferred<'s, D>, BuildError> {
        let flow = self.flow();
        if options.batch_rows == 0 || options.inflight_max == 0 {
            let what =
                format!("expected `batch_rows` and `inflight_max` over 0, found {options:?}");
            return Err(BuildError::invalid(name, what));
        }
        let about = format!("model {}, {} rows a call", model.as_str(), options.batch_rows);
        let node = flow.node("operator", name, about, self.origins())?;
        add_check::<D>(&flow, name, model.clone());
        let name = OperatorName::new(name);
        let model = match flow.mode() {
            Mode::Plan => None,
            Mode::Run => Some(open::<D>(model).map_err(|e| build_error(name.as_str(), e))?),
        };

        let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
        let mut data = builder.new_input(self.into_timely(), Pipeline);
        let (scored, scored_stream) = builder.new_output();
        let (failed, failed_stream) = builder.new_output();
        let mut run = model.map(|model| {
            let address = builder.operator_info().address.to_vec();
            let waker = flow.scope().worker().sync_activator_for(address);
            Batches::new(name, model, options, waker, &flow)
        });
        let (mut scored, mut failed) = (OutputBuilder::from(scored), OutputBuilder::from(failed));
        builder.build_reschedule(move |capabilities| {
            drop(capabilities);
            move |frontiers| {
                name.run(|| {
                    let Some(run) = run.as_mut() else { return false };
                    data.for_each(|capability, items| {
                        items.drain(..).for_each(|item| run.add(&capability, item, &mut failed));
                    });
                    if run.oldest().is_some_and(|epoch| !frontiers[0].less_equal(&epoch)) {
                        run.seal();
                    }
                    run.receive(&mut scored, &mut failed);
                    run.dispatch();
                    run.busy()
                })
            }
        });
        Ok(Inferred {
            scored: Stream::new(&flow, node, "", scored_stream),
            failed: Stream::new(&flow, node, "failed", failed_stream),
        })
    }
}

fn open<D: Features>(model: &ModelRef) -> Result<Arc<dyn Model>, ModelLoadError> {
    let model = model.open()?;
    model.signature().expect_features(D::NAMES)?;
    model.signature().expect_one_output()?;
    Ok(model)
}

fn build_error(name: &str, e: ModelLoadError) -> BuildError {
    BuildError { operator: name.to_string(), kind: e.kind(), source: Box::new(e) }
}

fn add_check<D: Features>(flow: &Flow<'_>, name: &str, model: ModelRef) {
    let run = move || match open::<D>(&model) {
        Ok(model) => {
            let s = model.signature();
            Ok(format!("{} version {}, {} features", s.name, s.version, s.width()))
        }
        Err(e) => Err(CheckFailure { kind: e.kind(), message: e.to_string() }),
    };
    let what = format!("model of `{name}`");
    flow.check(Check { key: what.clone(), what, after: None, run: Box::new(run) });
}

type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// Records of one epoch within a batch.
struct Segment<D> {
    epoch: Epoch,
    at_scored: Capability<Epoch>,
    at_failed: Capability<Epoch>,
    items: Vec<D>,
}

struct Batch<D> {
    segments: Vec<Segment<D>>,
    rows: Vec<f32>,
    count: usize,
}

impl<D> Default for Batch<D> {
    fn default() -> Self {
        Batch { segments: Vec::new(), rows: Vec::new(), count: 0 }
    }
}

/// What the thread gives back: one score a row of the batch, padding included.
struct Answer {
    scores: Vec<f32>,
    took: Duration,
}

struct Batches<D> {
    name: OperatorName,
    id: Arc<ModelId>,
    width: usize,
    options: InferOptions,
    filling: Batch<D>,
    waiting: VecDeque<Batch<D>>,
    in_flight: VecDeque<Vec<Segment<D>>>,
    to_thread: Sender<Vec<f32>>,
    from_thread: Receiver<Answer>,
    scored: IntCounter,
    rejected: IntCounter,
    sizes: Histogram,
    seconds: Histogram,
}

impl<D: Features + ExchangeData + Clone> Batches<D> {
    fn new(
        name: OperatorName,
        model: Arc<dyn Model>,
        options: InferOptions,
        waker: SyncActivator,
        flow: &Flow<'_>,
    ) -> Self {
        let s = model.signature();
        let id =
            ModelId { name: s.name.clone(), version: s.version.clone(), digest: s.digest.clone() };
        let width = s.width();
        // Bounded by `inflight_max`: no more batches are given out than that.
        let (to_thread, work) = unbounded::<Vec<f32>>();
        let (done, from_thread) = unbounded();
        let failure = flow.job().failure.clone();
        name.spawn(move || {
            // The first batch pays for what a backend does once, and shows whether it keeps promise 2.
            let warm = model.warm(options.batch_rows);
            let scored = warm
                .and_then(|()| score_batches(&*model, options.batch_rows, &work, &done, &waker));
            // Which batches fail may differ in a replay, and which rows are in them does: what is published
            // must not rest on it. Another start scores them anew.
            if let Err(e) = scored {
                let (operator, kind) = (name.as_str().to_string(), e.kind());
                failure.set(BuildError { operator, kind, source: Box::new(e) });
            }
        });
        let (metrics, label) = (&flow.job().metrics, [name.as_str()]);
        Batches {
            name,
            id: Arc::new(id),
            width,
            options,
            filling: Batch::default(),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            to_thread,
            from_thread,
            scored: metrics.inference_rows.with_label_values(&label),
            rejected: metrics
                .rejected
                .with_label_values(&[name.as_str(), Reason::NotScored.as_str()]),
            sizes: metrics.inference_batch.with_label_values(&label),
            seconds: metrics.inference_seconds.with_label_values(&label),
        }
    }

    fn add(&mut self, capability: &InputCapability<Epoch>, item: D, failed: &mut Output<Rejected>) {
        let from = self.filling.rows.len();
        item.row(&mut self.filling.rows);
        assert_eq!(self.filling.rows.len() - from, self.width, "`NAMES` and `row` agree");
        if let Some(bad) = self.filling.rows[from..].iter().position(|x| !x.is_finite()) {
            let what = format!("feature `{}` is {}", D::NAMES[bad], self.filling.rows[from + bad]);
            self.filling.rows.truncate(from);
            let rejected = self.reject(&item, &what);
            failed.activate().session(capability).give(rejected);
            return;
        }
        let epoch = *capability.least().expect("records carry one epoch");
        if self.filling.segments.last().is_none_or(|s| s.epoch != epoch) {
            self.filling.segments.push(Segment {
                epoch,
                at_scored: capability.delayed(&epoch, 0),
                at_failed: capability.delayed(&epoch, 1),
                items: Vec::new(),
            });
        }
        let segment = self.filling.segments.last_mut().expect("just made");
        segment.items.push(item);
        self.filling.count += 1;
        if self.filling.count == self.options.batch_rows {
            self.seal();
        }
    }

    fn reject(&self, item: &D, detail: &str) -> Rejected {
        self.rejected.inc();
        Rejected {
            operator: self.name.as_str().to_string(),
            reason: Reason::NotScored,
            detail: detail.to_string(),
            origin: Origin::default(),
            key: None,
            payload: serde_json::to_vec(item).ok(),
            headers: Vec::new(),
        }
    }

    /// The epoch that the batch being filled waits for.
    fn oldest(&self) -> Option<Epoch> {
        self.filling.segments.first().map(|s| s.epoch)
    }

    fn seal(&mut self) {
        let batch = std::mem::take(&mut self.filling);
        self.sizes.observe(batch.count as f64);
        self.waiting.push_back(batch);
    }

    fn dispatch(&mut self) {
        while self.in_flight.len() < self.options.inflight_max
            && let Some(mut batch) = self.waiting.pop_front()
        {
            batch.rows.resize(self.options.batch_rows * self.width, 0.0);
            // Fails after the thread has reported why it ended, which ends the run.
            let _ = self.to_thread.send(batch.rows);
            self.in_flight.push_back(batch.segments);
        }
    }

    fn receive(&mut self, scored: &mut Output<Scored<D>>, failed: &mut Output<Rejected>) {
        while let Ok(answer) = self.from_thread.try_recv() {
            let segments = self.in_flight.pop_front().expect("one answer a batch");
            self.seconds.observe(answer.took.as_secs_f64());
            let mut from = 0;
            for Segment { at_scored, at_failed, items, .. } in segments {
                let to = from + items.len();
                let (mut well, mut ill) = (Vec::new(), Vec::new());
                for (of, score) in items.into_iter().zip(&answer.scores[from..to]) {
                    if score.is_finite() {
                        well.push(Scored { of, score: *score, model: self.id.clone() });
                    } else {
                        ill.push(self.reject(&of, &format!("the model's score is {score}")));
                    }
                }
                self.scored.inc_by(well.len() as u64);
                scored.activate().session(&at_scored).give_iterator(well.into_iter());
                failed.activate().session(&at_failed).give_iterator(ill.into_iter());
                from = to;
            }
        }
    }

    fn busy(&self) -> bool {
        self.filling.count > 0 || !self.waiting.is_empty() || !self.in_flight.is_empty()
    }
}

/// The thread beside the worker: one batch after the other until the operator is gone.
fn score_batches(
    model: &dyn Model,
    batch_rows: usize,
    work: &Receiver<Vec<f32>>,
    done: &Sender<Answer>,
    waker: &SyncActivator,
) -> Result<(), ScoreError> {
    for rows in work {
        let (started, mut scores) = (Instant::now(), Vec::new());
        model.score(&rows, batch_rows, &mut scores)?;
        if done.send(Answer { scores, took: started.elapsed() }).is_err() {
            break;
        }
        let _ = waker.activate(); // fails when the worker has ended, which needs no waking
    }
    Ok(())
}
