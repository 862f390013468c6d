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
use tideflow_core::{Epoch, Flow, Opening, OperatorName};
use tideflow_models::{Rows, ScoreError};

use super::batches::{At, Batch, Segment};
use super::pool::{Answer, Given, Pool, Version};
use super::settle::{Ruled, Tried};
use super::versions::Versions;
use super::{Features, InferOptions};

/// Bytes of rows, as `f64`, that stay in a processor's cache from when they are written until they are scored. Rows of
/// 784 numbers were scored at 0.90 of a bare session's speed with two batches in flight, at 0.78 with eight; small ones
/// at 0.78 with two and 0.98 with eight.
const CACHED: usize = 2 << 20;

pub(super) type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// What came of records, what is to be ruled upon epochs that the model has failed in, and who scored an epoch: said
/// before what came of it.
pub(super) struct Outputs<D: 'static> {
    pub tried: Output<Tried<D>>,
    pub failures: Output<String>,
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
    /// None: it was given up.
    segments: Option<Vec<Segment<D>>>,
    /// When a thread took it, as far as is known: threads take batches in their order.
    since: Option<Instant>,
    given: Given,
    /// Whether it took too long once.
    again: bool,
    answer: Option<Answer>,
}

pub(super) struct Run<D> {
    versions: Versions,
    options: InferOptions,
    pool: Pool,
    again: Activator,
    /// When it goes off next.
    armed: Option<Instant>,
    /// What was ruled by earlier starts upon epochs that are replayed.
    ruled: BTreeMap<Epoch, Ruled>,
    /// Results of epochs up to this one may rest on their scores, and be published.
    published: Epoch,
    held: BTreeMap<Epoch, Held<D>>,
    filling: Option<Batch<D>>,
    waiting: VecDeque<Batch<D>>,
    in_flight: VecDeque<InFlight<D>>,
    /// Records that will have no score in this run, which ends.
    lost: Vec<Segment<D>>,
    /// The number of the first batch in flight.
    first: u64,
    /// Memory of batches that are done, in the form of their version.
    spare: Vec<(Arc<Version>, Rows)>,
    /// Memory of a row.
    row: Vec<f64>,
    sizes: Histogram,
    seconds: Histogram,
    failed: IntCounter,
}

impl<D: Features + ExchangeData + Clone> Run<D> {
    pub fn new(
        name: OperatorName,
        versions: Versions,
        options: InferOptions,
        (ruled, published): (BTreeMap<Epoch, Ruled>, Epoch),
        (waker, again): (SyncActivator, Activator),
        flow: &Flow<'_>,
    ) -> Self {
        let (metrics, label) = (&flow.job().metrics, [name.as_str()]);
        Run {
            versions,
            options,
            pool: Pool::new(name, options.threads, options.inflight_max, waker),
            again,
            armed: None,
            ruled,
            published,
            held: BTreeMap::new(),
            filling: None,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            lost: Vec::new(),
            first: 0,
            spare: Vec::new(),
            row: Vec::new(),
            sizes: metrics.inference_batch.with_label_values(&label),
            seconds: metrics.inference_seconds.with_label_values(&label),
            failed: metrics.inference_failures.with_label_values(&label),
        }
    }

    /// An epoch opens.
    pub fn open(&mut self, opening: &Opening) {
        self.versions.open(opening);
    }

    /// Takes records, to be scored by their epoch's version.
    pub fn take(
        &mut self,
        capability: &InputCapability<Epoch>,
        items: &mut Vec<D>,
        out: &mut Outputs<D>,
    ) {
        let epoch = *capability.least().expect("records carry one epoch");
        let at = || At::of(capability, epoch);
        // Behind those that are held already.
        if self.held.contains_key(&epoch) || !self.add_all(epoch, &at, items, out) {
            let held = self.held.entry(epoch);
            held.or_insert_with(|| Held { at: at(), items: Vec::new() }).items.append(items);
        }
    }

    /// Takes up what was held until its version was there.
    pub fn release(&mut self, out: &mut Outputs<D>) {
        while let Some((epoch, Held { at, mut items })) = self.held.pop_first() {
            if !self.add_all(epoch, &|| at.clone(), &mut items, out) {
                self.held.insert(epoch, Held { at, items });
                break;
            }
        }
    }

    /// Puts records into batches; false: their version is not there yet.
    fn add_all(
        &mut self,
        epoch: Epoch,
        at: &impl Fn() -> At,
        items: &mut Vec<D>,
        out: &mut Outputs<D>,
    ) -> bool {
        if let Some(ruled) = self.ruled.get(&epoch) {
            let Some(model) = self.versions.id(epoch) else { return false };
            let why = &ruled.why;
            let unscored = items.drain(..).map(|of| Tried {
                of,
                model: model.clone(),
                outcome: Err(why.clone()),
            });
            out.tried.activate().session(&at().tried).give_iterator(unscored);
            return true;
        }
        let Some(version) = self.versions.get(epoch) else { return false };
        if self.filling.as_ref().is_some_and(|batch| batch.version.id != version.id) {
            self.seal();
        }
        for item in items.drain(..) {
            let filling = self.filling.get_or_insert_with(|| Batch::new(version.clone()));
            filling.add(epoch, at, item);
            if filling.is_full() {
                self.seal();
            }
        }
        true
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
        let is_over = |epoch| ended(epoch) && !self.held.contains_key(&epoch);
        self.versions.forget(is_over);
        while let Some(first) = self.ruled.first_entry()
            && is_over(*first.key())
        {
            first.remove();
        }
    }

    fn seal(&mut self) {
        self.waiting.extend(self.filling.take());
    }

    /// Gives batches out; whether any is under way.
    pub fn dispatch(&mut self, out: &mut Outputs<D>) -> bool {
        while let Some(next) = self.waiting.front()
            && self.in_flight.len() < self.ahead(&next.version)
            && let Some(mut batch) = self.waiting.pop_front()
        {
            // Only now: rows of all that wait would be much memory, and cold when they are scored.
            let (mut rows, model) = (self.rows_of(&batch.version), batch.version.id.clone());
            batch.write(&mut rows, &mut self.row, |at, of, why| {
                let tried = Tried { of, model: model.clone(), outcome: Err(why) };
                out.tried.activate().session(&at.tried).give(tried);
            });
            if batch.count == 0 {
                self.spare.push((batch.version, rows));
                continue;
            }
            self.sizes.observe(batch.count as f64);
            let Batch { version, segments, .. } = batch;
            let number = self.first + self.in_flight.len() as u64;
            let given = self.pool.give(number, version.clone(), rows);
            let (segments, since, again, answer) = (Some(segments), None, false, None);
            self.in_flight.push_back(InFlight { version, segments, since, given, again, answer });
        }
        // Where no thread comes back, none of those that wait would ever begin.
        while self.in_flight.iter().all(|batch| batch.segments.is_none())
            && let Some(Batch { version, segments, .. }) = self.waiting.pop_front()
        {
            self.give_up(&version, segments, &self.slow(&version), out);
        }
        self.start_clocks();
        self.arm();
        // Nobody waits for what was given up.
        let at_work = self.in_flight.iter().any(|batch| batch.segments.is_some());
        !self.held.is_empty() || self.filling.is_some() || at_work
    }

    /// How many batches of this version may be in flight: one for each thread and one more, and beyond those no more
    /// than stay in a processor's cache until they are scored.
    fn ahead(&self, version: &Version) -> usize {
        let InferOptions { threads, inflight_max, .. } = self.options;
        let bytes = version.id.batch_rows * version.model.signature().width() * size_of::<f64>();
        inflight_max.min((CACHED / bytes.max(1)).max(threads + 1))
    }

    /// Memory for the rows of a call of this version: that of another one's is of no use any more.
    fn rows_of(&mut self, version: &Arc<Version>) -> Rows {
        self.spare.retain(|(of, _)| Arc::ptr_eq(of, version));
        let make = || version.model.rows(version.id.batch_rows);
        self.spare.pop().map_or_else(make, |(_, rows)| rows)
    }

    /// So many batches as there are threads are at work.
    fn start_clocks(&mut self) {
        let unanswered = self.in_flight.iter_mut();
        let unanswered = unanswered.filter(|b| b.answer.is_none() && b.segments.is_some());
        for batch in unanswered.take(self.options.threads) {
            batch.since.get_or_insert_with(Instant::now);
        }
    }

    /// Has the operator look again when a batch has waited, or taken, long enough. Timers cannot be taken back:
    /// there is another one only for what is due earlier, or when the last has gone off.
    fn arm(&mut self) {
        let filling = self.filling.as_ref().map(|b| b.since + self.options.wait_max);
        let at_work = self.in_flight.iter().filter(|b| b.segments.is_some());
        let slowest = at_work.filter_map(|b| b.since).min();
        let slowest = slowest.map(|since| since + self.options.timeout);
        let now = Instant::now();
        if let Some(due) = filling.into_iter().chain(slowest).min()
            && self.armed.is_none_or(|armed| due < armed || armed <= now)
        {
            self.again.activate_after(due.saturating_duration_since(now));
            self.armed = Some(due.max(now));
        }
    }

    /// Yields what came of batches that are done, in their order.
    pub fn receive(&mut self, out: &mut Outputs<D>) {
        while let Some(answer) = self.pool.take() {
            let at = answer.number.checked_sub(self.first);
            let batch = at.and_then(|at| self.in_flight.get_mut(at as usize));
            // The first answer counts, where two threads were given the batch.
            batch.map(|batch| batch.answer.get_or_insert(answer));
        }
        while let Some(InFlight { version, segments, given, answer: Some(answer), .. }) =
            self.in_flight.pop_front_if(|first| first.answer.is_some())
        {
            self.first += 1;
            self.seconds.observe(answer.took.as_secs_f64());
            if self.spare.len() <= self.options.inflight_max {
                self.spare.extend(given.into_rows().map(|rows| (version.clone(), rows)));
            }
            match (segments, answer.scores) {
                (None, _) => {}
                (Some(segments), Ok(scores)) => give(&version, segments, &scores, out),
                (Some(segments), Err(error)) => self.give_up(&version, segments, &error, out),
            }
        }
        self.look_for_slow(out);
    }

    /// Has a batch that takes too long tried once more, on another thread; then it is given up.
    fn look_for_slow(&mut self, out: &mut Outputs<D>) {
        let timeout = self.options.timeout;
        for at in 0..self.in_flight.len() {
            let batch = &mut self.in_flight[at];
            let at_work = batch.since.filter(|_| batch.answer.is_none());
            if at_work.is_none_or(|since| since.elapsed() <= timeout) || batch.segments.is_none() {
                continue;
            }
            let number = self.first + at as u64;
            if !batch.again && self.pool.give_again(number, batch.version.clone(), &batch.given) {
                tracing::warn!(model = %batch.version.id, "a batch takes too long, and is tried again");
                (batch.again, batch.since) = (true, Some(Instant::now()));
            } else if let Some(segments) = batch.segments.take() {
                let version = batch.version.clone();
                self.give_up(&version, segments, &self.slow(&version), out);
            }
        }
    }

    fn slow(&self, version: &Version) -> ScoreError {
        let (model, count) = (version.id.name.clone(), version.id.batch_rows);
        ScoreError::Slow { model, count, timeout_ms: self.options.timeout.as_millis() as u64 }
    }

    /// The model has failed on a batch. Which batches fail may differ in a replay, and which rows are in them does:
    /// what is published must not rest on it. So the policy is asked for a ruling upon each epoch as a whole; or the
    /// run ends, and its epochs are held until it has, so that no process publishes them without these rows.
    fn give_up(
        &mut self,
        version: &Version,
        segments: Vec<Segment<D>>,
        error: &ScoreError,
        out: &mut Outputs<D>,
    ) {
        self.failed.inc();
        let outputs = version.model.signature().outputs.len();
        let ruled = Ruled::by(self.options.on_failure, outputs, error.to_string());
        for segment in segments {
            let Some(ruled) = ruled.as_ref().filter(|_| segment.epoch > self.published) else {
                self.lost.push(segment);
                self.versions.fail(error.kind(), error.to_string());
                continue;
            };
            let Segment { at, items, .. } = segment;
            out.failures.activate().session(&at.failures).give(ruled.text());
            let unscored = items.into_iter().map(|of| Tried {
                of,
                model: version.id.clone(),
                outcome: Err(ruled.why.clone()),
            });
            out.tried.activate().session(&at.tried).give_iterator(unscored);
        }
    }
}

fn give<D: Clone + 'static>(
    version: &Arc<Version>,
    segments: Vec<Segment<D>>,
    scores: &[f64],
    out: &mut Outputs<D>,
) {
    let outputs = &version.model.signature().outputs;
    let mut scores = scores.chunks_exact(outputs.len());
    for Segment { at, items, .. } in segments {
        let mut tried = Vec::with_capacity(items.len());
        for (of, scores) in items.into_iter().zip(scores.by_ref()) {
            let outcome = match scores.iter().position(|score| !score.is_finite()) {
                None => Ok((scores[0], scores[1..].to_vec())),
                Some(bad) => Err(format!("the model's `{}` is {}", outputs[bad], scores[bad])),
            };
            tried.push(Tried { of, model: version.id.clone(), outcome });
        }
        out.by.activate().session(&at.by).give(version.clone());
        out.tried.activate().session(&at.tried).give_container(&mut tried);
    }
}
