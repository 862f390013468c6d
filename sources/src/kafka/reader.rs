//! A Kafka topic as it is read on one worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Batch, BuildError, Epoch, ErrorKind, Event, EventTime, Failure, Job, Origin, Part, PartState,
    Reason, Rejected, ResumePart, Source, SourceStart,
};

use super::consumer::{BatchConsumer, MessageRef, Polled};
use super::growth::look_for_partitions;
use super::partition::{Partition, hold_back, hold_back_replay, replayed};
use super::past;
use super::placement::own_partitions;
use super::positions::{partitions, positions};
use super::source::{Decoded, Decoder, KafkaSourceConfig, Until, failed, ms};

/// A [`super::KafkaSource`] as it runs on one worker.
pub struct KafkaReader<D> {
    consumer: BatchConsumer,
    fold: Fold<D>,
    /// How many partitions the topic has, as last seen by the thread that looks.
    seen: Arc<AtomicUsize>,
    placed: usize,
    watch: Option<Arc<AtomicBool>>,
    /// The clock at the last cut, and when offsets were last committed.
    wall_ms: i64,
    committed_ms: i64,
}

/// Between two commits for lag tools, in milliseconds.
const COMMIT_EVERY_MS: i64 = 5_000;

/// What happens to each message; apart from the consumer, so that it can be lent to its callback.
struct Fold<D> {
    name: &'static str,
    config: KafkaSourceConfig,
    decode: Decoder<D>,
    validate: Decoded<D>,
    worker: usize,
    workers: usize,
    /// The last epoch that is to be replayed, while there is one.
    replay_to: Option<Epoch>,
    /// By partition number; `None` for those of other workers.
    partitions: Vec<Option<Partition>>,
    failure: Failure,
    job: Job,
}

impl<D: Event + ExchangeData + Clone> KafkaReader<D> {
    pub(super) fn start(
        kafka: KafkaConfig,
        config: KafkaSourceConfig,
        decode: Decoder<D>,
        validate: Decoded<D>,
        start: SourceStart,
    ) -> Result<Self, KafkaError> {
        let SourceStart { name, worker, workers, job, resume, waker } = start;
        let backtest = job.backtest.as_ref();
        let config = backtest.map_or(config.clone(), |b| past::over(b, config, D::TIMED));
        let known = resume.partitions(name.as_str());
        let count = partitions(&kafka, &config.topic, &known)?;
        let mut consumer =
            BatchConsumer::new(&kafka, &config.topic, &config.group, config.queue_kb)?;
        consumer.set_wake(Box::new(move || {
            let _ = waker.activate(); // fails when the worker has ended, which needs no waking
        }));
        let own = own_partitions(&config.topic, 0..count, worker, workers);
        let from = positions(&consumer, &config, &own, known)?;
        let ends = match config.until {
            Until::Never => vec![None; own.len()],
            Until::End => {
                let end = past::end(backtest, D::TIMED);
                let asked: Vec<_> = own.iter().map(|p| (*p, end)).collect();
                consumer.resolve(&asked)?.into_iter().map(|(_, end)| Some(end)).collect()
            }
        };
        let mut fold = Fold {
            name: name.as_str(),
            decode,
            validate,
            worker,
            workers,
            replay_to: None,
            partitions: Vec::new(),
            failure: job.failure.clone(),
            job,
            config,
        };
        let mut positions = Vec::new();
        for ((partition, next, known), end) in from.into_iter().zip(ends) {
            fold.add(partition, next, end, known);
            positions.push((partition, next));
        }
        if let Some(backtest) = fold.job.backtest.as_ref().filter(|_| D::TIMED) {
            past::note_lost(backtest, &fold.config.topic, &consumer, &positions)?;
        }
        consumer.assign(&positions)?;
        let last = resume.last();
        fold.replay_to = Some(last).filter(|last| replayed(&fold.partitions, *last) < *last);
        let seen = Arc::new(AtomicUsize::new(count));
        let watch = (fold.config.until == Until::Never).then(|| {
            let stop = Arc::new(AtomicBool::new(false));
            let (topic, every) = (fold.config.topic.clone(), ms(fold.config.refresh_ms));
            let (seen, stopped, failure) = (seen.clone(), stop.clone(), fold.failure.clone());
            name.spawn(move || {
                if let Some(error) = look_for_partitions(&kafka, &topic, every, &seen, &stopped) {
                    failure.set(halted(name.as_str(), error));
                }
            });
            stop
        });
        let (wall_ms, committed_ms) = (0, 0);
        Ok(KafkaReader { consumer, fold, seen, placed: count, watch, wall_ms, committed_ms })
    }

    /// Takes on its share of partitions that have appeared, from their beginning.
    fn take_new_partitions(&mut self) {
        let count = self.seen.load(Ordering::Acquire);
        if count <= self.placed {
            return;
        }
        let fold = &mut self.fold;
        let new = own_partitions(&fold.config.topic, self.placed..count, fold.worker, fold.workers);
        self.placed = count;
        let from: Vec<_> = new.into_iter().map(|p| (p, 0)).collect();
        from.iter().for_each(|(p, next)| fold.add(*p, *next, None, None));
        if !from.is_empty() {
            tracing::info!(topic = fold.config.topic, partitions = ?from, "new partitions");
            if let Err(error) = self.consumer.incremental_assign(&from) {
                fold.fail(error);
            }
        }
    }
}

impl<D: Event> KafkaReader<D> {
    /// While a broker is away its partitions may grow unseen: none of them counts as idle until a
    /// broker has told its end again.
    fn doubt_ends(&mut self) {
        let fold = &mut self.fold;
        fold.partitions.iter_mut().flatten().for_each(Partition::doubt_end);
        // A paused one will tell its end when it goes on.
        let reading = fold.positions(false);
        if !reading.is_empty()
            && let Err(error) = self.consumer.ask_for_ends(&reading)
        {
            fold.fail(error);
        }
    }

    /// Holds partitions back while epochs are replayed; when all are, goes on with every one where it is.
    fn pace_replay(&mut self, to: Epoch) {
        let fold = &mut self.fold;
        if replayed(&fold.partitions, to) < to {
            let (pause, resume) =
                hold_back_replay(&mut fold.partitions, to, fold.job.epochs.inflight_max);
            return self.hold(&pause, &resume);
        }
        fold.replay_to = None;
        let paused = fold.positions(true);
        // What came of the others from beyond the last epoch was left out.
        self.doubt_ends();
        self.fold.partitions.iter_mut().flatten().for_each(|p| p.paused = false);
        self.hold(&[], &paused);
    }

    fn hold(&mut self, pause: &[i32], resume: &[(i32, i64)]) {
        if pause.is_empty() && resume.is_empty() {
            return;
        }
        tracing::debug!(?pause, ?resume, "partitions held back and let go");
        let held = if pause.is_empty() { Ok(()) } else { self.consumer.pause(pause) };
        let let_go = if resume.is_empty() { Ok(()) } else { self.consumer.resume(resume) };
        if let Err(error) = held.and(let_go) {
            self.fold.fail(error);
        }
    }
}

/// An error after a good start: whatever it is, the configuration was not refused.
fn halted(operator: &str, error: KafkaError) -> BuildError {
    BuildError { kind: ErrorKind::Fatal, ..failed(operator, error) }
}

impl<D> Drop for KafkaReader<D> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.store(true, Ordering::Release);
        }
    }
}

impl<D: Event + ExchangeData + Clone> Source for KafkaReader<D> {
    type Item = D;

    fn poll(&mut self, batch: &mut Batch<D>) -> bool {
        batch.items.reserve(Batch::<D>::RECORDS);
        let fold = &mut self.fold;
        let found = self.consumer.poll(Batch::<D>::RECORDS, |polled| match polled {
            Polled::Message(message) => fold.message(&message, batch),
            Polled::Eof { partition, offset } => fold.end(partition, offset),
            Polled::Error { error, .. } => fold.fail(error),
        });
        if self.consumer.lost_connection() {
            self.doubt_ends();
        }
        if let Some(to) = self.fold.replay_to {
            self.pace_replay(to);
        }
        found == Batch::<D>::RECORDS
    }

    fn replayed(&self) -> Epoch {
        self.fold.replay_to.map_or(Epoch::MAX, |to| replayed(&self.fold.partitions, to))
    }

    fn cut(&mut self, wall_ms: i64, parts: &mut Vec<Part>) {
        self.wall_ms = wall_ms;
        self.take_new_partitions();
        let idle_after = ms(self.fold.config.idle_after_ms);
        let latest = self.fold.job.backtest.as_ref().map_or(EventTime::MAX, |b| b.to);
        for (number, partition) in self.fold.partitions.iter_mut().enumerate() {
            let Some(p) = partition else { continue };
            let number = number as i32;
            p.lag.set(self.consumer.lag(number, p.position()).unwrap_or(0) as f64);
            parts.push(Part {
                source: self.fold.name.to_string(),
                partition: number,
                from: p.first_offset.take(),
                next: p.next,
                watermark: p.watermark.value().min(latest),
                state: match p.state(wall_ms, idle_after, self.consumer.high_watermark(number)) {
                    PartState::Active if !D::TIMED => PartState::Idle,
                    state => state,
                },
            });
        }
    }

    fn published(&mut self, parts: &[Part]) {
        let publishes = self.fold.job.rows.is_none() && self.fold.job.backtest.is_none();
        if publishes && self.wall_ms - self.committed_ms >= COMMIT_EVERY_MS {
            self.committed_ms = self.wall_ms;
            let offsets: Vec<_> =
                parts.iter().map(|p| (p.partition, self.fold.published_to(p))).collect();
            self.consumer.commit_for_lag_tools(&offsets);
        }
    }

    fn advanced(&mut self, watermark: EventTime) {
        // A replay reads what was read, however far ahead that was.
        if self.fold.replay_to.is_none() {
            let max_ahead = ms(self.fold.config.max_ahead_ms);
            let (pause, resume) = hold_back(&mut self.fold.partitions, watermark, max_ahead);
            self.hold(&pause, &resume);
        }
    }
}

impl<D: Event> Fold<D> {
    /// Behind what is published of a partition; with the markers of transactions there, where nothing was
    /// read since.
    fn published_to(&self, part: &Part) -> i64 {
        match self.partitions.get(part.partition as usize) {
            Some(Some(p)) if p.next == part.next => p.position(),
            _ => part.next,
        }
    }

    fn fail(&self, error: KafkaError) {
        self.failure.set(halted(self.name, error));
    }

    /// Where the partitions stand that are held back, or those that are not.
    fn positions(&self, paused: bool) -> Vec<(i32, i64)> {
        let numbered = self.partitions.iter().enumerate();
        let those = numbered.filter_map(|(n, p)| Some((n, p.as_ref()?)));
        those.filter(|(_, p)| p.paused == paused).map(|(n, p)| (n as i32, p.next)).collect()
    }

    fn add(&mut self, partition: i32, next: i64, end: Option<i64>, known: Option<ResumePart>) {
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        let labels = [self.name, &partition.to_string()];
        let lag = self.job.metrics.consumer_lag.with_label_values(&labels);
        let bound = ms(self.config.out_of_orderness_ms);
        let new = Partition::new(next, end, bound, lag);
        self.partitions[index] = Some(match known {
            Some(part) => new.resumed(part),
            None => new,
        });
    }

    #[inline]
    fn message(&mut self, message: &MessageRef<'_>, batch: &mut Batch<D>) {
        let Some(Some(partition)) = self.partitions.get_mut(message.partition as usize) else {
            return;
        };
        let replayed = match self.replay_to {
            None => None,
            Some(_) => match partition.cuts.epoch_of(message.offset) {
                None => return, // read again when all partitions are replayed
                epoch => epoch,
            },
        };
        if !partition.takes(message.offset) {
            return;
        }
        if replayed.is_some() {
            partition.cuts.read_to(partition.next);
        }
        batch.bytes += message.payload.map_or(0, <[u8]>::len) + size_of::<D>();
        let decoded = self.decode.decode(message).and_then(|record| {
            (self.validate)(&record)?;
            Ok(record)
        });
        let (reason, detail) = match decoded {
            Ok(record) if !D::TIMED => {
                batch.of(replayed).0.push(record);
                return;
            }
            Ok(record) => {
                let at = record.event_time();
                match message.timestamp_ms {
                    Some(sent) if at <= EventTime(sent).plus(ms(self.config.max_future_ms)) => {
                        partition.saw(at);
                        if let Some(backtest) = &self.job.backtest {
                            partition.end_behind(backtest.to);
                            if !backtest.holds(at) {
                                return;
                            }
                        }
                        batch.of(replayed).0.push(record);
                        return;
                    }
                    Some(sent) => {
                        let limit = self.config.max_future_ms;
                        let detail = format!("event time {at} lies over {limit} ms after {sent}");
                        (Reason::FutureTime, detail)
                    }
                    None => {
                        let detail = "no Kafka timestamp to judge the event time by".to_string();
                        (Reason::NoTimestamp, detail)
                    }
                }
            }
            Err(error) => (error.reason, error.detail),
        };
        let rejected = self.rejected(message, reason, detail);
        batch.bytes += rejected.size();
        batch.of(replayed).1.push(rejected);
    }

    #[cold]
    fn rejected(&self, message: &MessageRef<'_>, reason: Reason, detail: String) -> Rejected {
        Rejected {
            operator: self.name.to_string(),
            reason,
            detail,
            origin: Origin {
                topic: self.config.topic.clone(),
                partition: message.partition,
                offset: message.offset,
                timestamp: message.timestamp_ms.map(EventTime),
            },
            key: message.key.map(<[u8]>::to_vec),
            payload: message.payload.map(<[u8]>::to_vec),
            headers: message.headers(),
        }
    }

    fn end(&mut self, partition: i32, offset: i64) {
        let Some(Some(p)) = self.partitions.get_mut(partition as usize) else { return };
        match self.replay_to {
            None => p.end_at(offset),
            // What lies behind the last cut was left out: it has not been read to this end.
            Some(_) => p.cuts.read_to(offset),
        }
    }
}
