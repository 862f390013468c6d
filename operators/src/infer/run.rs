//! The operator as it runs on one worker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tideflow_core::prometheus::{Histogram, IntCounter};
use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::container::CapacityContainerBuilder;
use tideflow_core::timely::dataflow::operators::InputCapability;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::progress::frontier::MutableAntichain;
use tideflow_core::timely::scheduling::{Activator, SyncActivator};
use tideflow_core::{
    BuildError, Epoch, ErrorKind, Failure, Flow, Metrics, Opening, OperatorName, Origin, Reason,
    Rejected,
};
use tideflow_models::{ScoreError, Shelf, VersionId};

use super::batches::{At, Batch, Segment};
use super::pool::{Answer, Pool, Version};
use super::{Features, InferOptions, Scored};

pub(super) type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// Where results go: who scored an epoch is said before what came of it.
pub(super) struct Outputs<D: 'static> {
    pub scored: Output<Scored<D>>,
    pub failed: Output<Rejected>,
    pub by: Output<Arc<Version>>,
}

/// Records whose version is not known yet, or not open.
struct Held<D> {
    at: At,
    items: Vec<D>,
}

/// A batch that a thread has, or is done with.
struct InFlight<D> {
    version: Arc<Version>,
    segments: Vec<Segment<D>>,
    /// When a thread took it, as far as is known: threads take batches in their order.
    since: Option<Instant>,
    answer: Option<Answer>,
}

pub(super) struct Run<D> {
    name: OperatorName,
    shelf: Arc<Shelf>,
    options: InferOptions,
    pool: Pool,
    again: Activator,
    /// When it goes off next.
    armed: Option<Instant>,
    failure: Failure,
    metrics: Arc<Metrics>,
    /// By which version each open epoch is scored.
    chosen: BTreeMap<Epoch, Arc<VersionId>>,
    version: Option<Arc<Version>>,
    held: BTreeMap<Epoch, Held<D>>,
    filling: Option<Batch<D>>,
    waiting: VecDeque<Batch<D>>,
    in_flight: VecDeque<InFlight<D>>,
    /// Records that will have no score in this run, which ends.
    lost: Vec<Segment<D>>,
    /// The number of the first batch in flight.
    first: u64,
    /// Memory of batches that are done.
    spare: Vec<Vec<f64>>,
    scored: IntCounter,
    rejected: IntCounter,
    sizes: Histogram,
    seconds: Histogram,
}

impl<D: Features + ExchangeData + Clone> Run<D> {
    pub fn new(
        name: OperatorName,
        shelf: Arc<Shelf>,
        options: InferOptions,
        (waker, again): (SyncActivator, Activator),
        flow: &Flow<'_>,
    ) -> Self {
        let opened = waker.clone();
        shelf.wake_with(move || {
            let _ = opened.activate();
        });
        let (metrics, label) = (&flow.job().metrics, [name.as_str()]);
        let reason = [name.as_str(), Reason::NotScored.as_str()];
        Run {
            name,
            shelf,
            options,
            pool: Pool::new(name, options.threads, waker),
            again,
            armed: None,
            failure: flow.job().failure.clone(),
            metrics: metrics.clone(),
            chosen: BTreeMap::new(),
            version: None,
            held: BTreeMap::new(),
            filling: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            lost: Vec::new(),
            first: 0,
            spare: Vec::new(),
            scored: metrics.inference_rows.with_label_values(&label),
            rejected: metrics.rejected.with_label_values(&reason),
            sizes: metrics.inference_batch.with_label_values(&label),
            seconds: metrics.inference_seconds.with_label_values(&label),
        }
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

    /// Takes records, to be scored by their epoch's version.
    pub fn take(
        &mut self,
        capability: &InputCapability<Epoch>,
        items: &mut Vec<D>,
        failed: &mut Output<Rejected>,
    ) {
        let epoch = *capability.least().expect("records carry one epoch");
        let at = || At::of(capability, epoch);
        // Behind those that are held already.
        let version = if self.held.contains_key(&epoch) { None } else { self.version(epoch) };
        match version {
            Some(version) => self.add_all(epoch, &version, at, items.drain(..), failed),
            None => {
                let held = self.held.entry(epoch);
                held.or_insert_with(|| Held { at: at(), items: Vec::new() }).items.append(items);
            }
        }
    }

    /// Takes up what was held until its version was there.
    pub fn release(&mut self, failed: &mut Output<Rejected>) {
        while let Some(epoch) = self.held.first_key_value().map(|(epoch, _)| *epoch)
            && let Some(version) = self.version(epoch)
        {
            let Held { at, items } = self.held.remove(&epoch).expect("it is the first");
            self.add_all(epoch, &version, || at.clone(), items.into_iter(), failed);
        }
    }

    /// The version that scores an epoch, if that is known and it is open.
    fn version(&mut self, epoch: Epoch) -> Option<Arc<Version>> {
        let id = self.chosen.get(&epoch)?;
        if let Some(version) = self.version.as_ref().filter(|version| version.id == *id) {
            return Some(version.clone());
        }
        match self.shelf.need(id) {
            Ok(model) => {
                let version = Arc::new(Version { id: id.clone(), model: model? });
                self.show(&version.id);
                self.version = Some(version.clone());
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
        if let Some(before) = &self.version {
            set(&before.id, 0.0);
        }
        set(id, 1.0);
    }

    fn add_all(
        &mut self,
        epoch: Epoch,
        version: &Arc<Version>,
        at: impl Fn() -> At,
        items: impl Iterator<Item = D>,
        failed: &mut Output<Rejected>,
    ) {
        let other = |b: &Batch<D>| b.version.id != version.id;
        if self.filling.as_ref().is_some_and(other) {
            self.seal();
        }
        for item in items {
            let filling = self.filling.get_or_insert_with(|| {
                Batch::new(version.clone(), self.spare.pop().unwrap_or_default())
            });
            if let Some(what) = add(filling, epoch, &at, &item) {
                let rejected = self.reject(&item, &what);
                failed.activate().session(&at().failed).give(rejected);
                continue;
            }
            filling.segments.last_mut().expect("it has a row").items.push(item);
            if filling.is_full() {
                self.seal();
            }
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

    /// No record comes any more before this frontier: batches wait no longer for those of epochs that have
    /// ended, nor for any beyond their time.
    pub fn end_epochs(&mut self, frontier: &MutableAntichain<Epoch>) {
        let ended = |epoch: Epoch| !frontier.less_equal(&epoch);
        if let Some(filling) = &self.filling
            && (filling.oldest().is_some_and(ended)
                || filling.since.elapsed() >= self.options.wait_max)
        {
            self.seal();
        }
        while let Some(first) = self.chosen.first_entry()
            && ended(*first.key())
            && !self.held.contains_key(first.key())
        {
            first.remove();
        }
    }

    fn seal(&mut self) {
        if let Some(batch) = self.filling.take().filter(|batch| batch.count > 0) {
            self.sizes.observe(batch.count as f64);
            self.waiting.push_back(batch);
        }
    }

    /// Gives batches out; whether any is under way.
    pub fn dispatch(&mut self) -> bool {
        while self.in_flight.len() < self.options.inflight_max
            && let Some(mut batch) = self.waiting.pop_front()
        {
            let (rows, Batch { version, segments, .. }) = (batch.padded(), batch);
            let number = self.first + self.in_flight.len() as u64;
            self.pool.give(number, version.clone(), rows);
            let in_flight = InFlight { version, segments, since: None, answer: None };
            self.in_flight.push_back(in_flight);
        }
        self.start_clocks();
        self.arm();
        !self.held.is_empty() || self.filling.is_some() || !self.in_flight.is_empty()
    }

    /// So many batches as there are threads are at work.
    fn start_clocks(&mut self) {
        let unanswered = self.in_flight.iter_mut().filter(|batch| batch.answer.is_none());
        for batch in unanswered.take(self.options.threads) {
            batch.since.get_or_insert_with(Instant::now);
        }
    }

    /// Has the operator look again when a batch has waited, or taken, long enough. Timers cannot be taken back:
    /// there is another one only for what is due earlier, or when the last has gone off.
    fn arm(&mut self) {
        let filling = self.filling.as_ref().map(|b| b.since + self.options.wait_max);
        let slowest = self.in_flight.iter().filter_map(|b| b.since).min();
        let slowest = slowest.map(|since| since + self.options.timeout);
        let now = Instant::now();
        if let Some(due) = filling.into_iter().chain(slowest).min()
            && self.armed.is_none_or(|armed| due < armed || armed <= now)
        {
            self.again.activate_after(due.saturating_duration_since(now));
            self.armed = Some(due.max(now));
        }
    }

    /// Yields the scores of batches that are done, in their order.
    pub fn receive(&mut self, out: &mut Outputs<D>) {
        while let Some(answer) = self.pool.take() {
            let at = (answer.number - self.first) as usize;
            self.in_flight[at].answer = Some(answer);
        }
        while let Some(InFlight { version, segments, answer: Some(answer), .. }) =
            self.in_flight.pop_front_if(|first| first.answer.is_some())
        {
            self.first += 1;
            self.seconds.observe(answer.took.as_secs_f64());
            if self.spare.len() <= self.options.inflight_max {
                self.spare.push(answer.rows);
            }
            match answer.scores {
                Ok(scores) => self.give(&version, segments, &scores, out),
                // Which batches fail may differ in a replay, and which rows are in them does: what is published
                // must not rest on it. Another start scores them anew; until this one has ended its epochs are
                // held, so that no process publishes them without these rows.
                Err(error) => {
                    self.lost.extend(segments);
                    self.fail(error.kind(), error);
                }
            }
        }
        let is_slow = |batch: &&InFlight<D>| {
            let at_work = batch.since.filter(|_| batch.answer.is_none());
            at_work.is_some_and(|since| since.elapsed() > self.options.timeout)
        };
        if let Some(slow) = self.in_flight.iter().find(is_slow) {
            let model = slow.version.id.name.clone();
            let timeout_ms = self.options.timeout.as_millis() as u64;
            let slow = ScoreError::Slow { model, count: slow.version.id.batch_rows, timeout_ms };
            self.fail(slow.kind(), slow);
        }
    }

    fn give(
        &self,
        version: &Arc<Version>,
        segments: Vec<Segment<D>>,
        scores: &[f64],
        Outputs { scored, failed, by }: &mut Outputs<D>,
    ) {
        let outputs = version.model.signature().outputs.len();
        let mut scores = scores.chunks_exact(outputs);
        for Segment { at, items, .. } in segments {
            let (mut well, mut ill) = (Vec::with_capacity(items.len()), Vec::new());
            for (of, scores) in items.into_iter().zip(scores.by_ref()) {
                match scores.iter().position(|score| !score.is_finite()) {
                    None => {
                        let (score, others) = (scores[0], scores[1..].to_vec());
                        well.push(Scored { of, score, others, model: version.id.clone() });
                    }
                    Some(bad) => {
                        let output = &version.model.signature().outputs[bad];
                        let what = format!("the model's `{output}` is {}", scores[bad]);
                        ill.push(self.reject(&of, &what));
                    }
                }
            }
            self.scored.inc_by(well.len() as u64);
            by.activate().session(&at.by).give(version.clone());
            scored.activate().session(&at.scored).give_container(&mut well);
            failed.activate().session(&at.failed).give_iterator(ill.into_iter());
        }
    }

    fn fail(&self, kind: ErrorKind, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        let operator = self.name.as_str().to_string();
        self.failure.set(BuildError { operator, kind, source: why.into() });
    }
}

/// Adds an item's row to a batch; or why it cannot be scored.
fn add<D: Features>(
    batch: &mut Batch<D>,
    epoch: Epoch,
    at: impl FnOnce() -> At,
    item: &D,
) -> Option<String> {
    let from = batch.rows.len();
    item.row(&mut batch.rows);
    let row = &batch.rows[from..];
    let signature = batch.version.model.signature();
    assert_eq!(row.len(), signature.width(), "`NAMES` and `row` agree");
    if let Some(bad) = signature.misfit(row) {
        let what = match signature.dtypes[bad] {
            _ if !row[bad].is_finite() => format!("feature `{}` is {}", D::NAMES[bad], row[bad]),
            dtype => format!("feature `{}` is {}, no {}", D::NAMES[bad], row[bad], dtype.as_str()),
        };
        batch.rows.truncate(from);
        return Some(what);
    }
    batch.segment(epoch, at);
    batch.count += 1;
    None
}
