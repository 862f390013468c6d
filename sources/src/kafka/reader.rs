//! A Kafka topic as it is read on one worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::prometheus::Gauge;
use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Batch, Event, EventTime, Failure, Job, Origin, Part, PartState, Reason, Rejected, Source,
    SourceStart,
};

use super::consumer::{BatchConsumer, MessageRef, Polled, StartOffset};
use super::placement::placement;
use super::source::{Decoded, Decoder, KafkaSourceConfig, Until, failed, ms};
use crate::Watermark;

/// A [`super::KafkaSource`] as it runs on one worker.
pub struct KafkaReader<D> {
    consumer: BatchConsumer,
    fold: Fold<D>,
    /// How many partitions the topic has, as last seen by the thread that looks.
    seen: Arc<AtomicUsize>,
    placed: usize,
    watch: Option<Arc<AtomicBool>>,
}

/// What happens to each message; apart from the consumer, so that it can be lent to its callback.
struct Fold<D> {
    name: &'static str,
    config: KafkaSourceConfig,
    decode: Decoder<D>,
    validate: Decoded<D>,
    worker: usize,
    workers: usize,
    /// By partition number; `None` for those of other workers.
    partitions: Vec<Option<Partition>>,
    failure: Failure,
    job: Job,
}

struct Partition {
    next: i64,
    watermark: Watermark,
    /// The clock at the first cut after the end was reached, while it is.
    at_end_since: Option<i64>,
    at_end: bool,
    /// Where reading ends, in a run over history.
    end: Option<i64>,
    /// Held back, because it is too far ahead of the others.
    paused: bool,
    lag: Gauge,
}

impl Partition {
    /// Takes note that the record before `next` was read.
    #[inline]
    fn read_to(&mut self, next: i64) {
        self.next = next;
        self.not_at_end();
    }

    /// There may be more: it holds time back until it was quiet at its end anew.
    #[inline]
    fn not_at_end(&mut self) {
        (self.at_end, self.at_end_since) = (false, None);
    }

    fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    fn state(&mut self, wall_ms: i64, idle_after: Duration) -> PartState {
        if self.ended() {
            return PartState::Ended;
        }
        if !self.at_end {
            return PartState::Active;
        }
        let since = *self.at_end_since.get_or_insert(wall_ms);
        let quiet = i64::try_from(idle_after.as_millis()).unwrap_or(i64::MAX);
        if wall_ms - since >= quiet { PartState::Idle } else { PartState::Active }
    }
}

impl<D: Event + ExchangeData + Clone> KafkaReader<D> {
    pub(super) fn start(
        kafka: KafkaConfig,
        config: KafkaSourceConfig,
        decode: Decoder<D>,
        validate: Decoded<D>,
        start: SourceStart,
    ) -> Result<Self, KafkaError> {
        let SourceStart { name, worker, workers, job, waker } = start;
        let count = kafka.partitions(&config.topic)?;
        let mut consumer =
            BatchConsumer::new(&kafka, &config.topic, &config.group, config.queue_kb)?;
        consumer.set_wake(Box::new(move || {
            let _ = waker.activate(); // fails when the worker has ended, which needs no waking
        }));
        let own = own_partitions(&config.topic, 0..count, worker, workers);
        let at = |what: StartOffset| own.iter().map(|p| (*p, what)).collect::<Vec<_>>();
        let from = consumer.resolve(&at(config.start.into()))?;
        let ends = match config.until {
            Until::Never => vec![None; own.len()],
            Until::End => {
                let ends = consumer.resolve(&at(StartOffset::Latest))?;
                ends.into_iter().map(|(_, end)| Some(end)).collect()
            }
        };
        let mut fold = Fold {
            name: name.as_str(),
            decode,
            validate,
            worker,
            workers,
            partitions: Vec::new(),
            failure: job.failure.clone(),
            job,
            config,
        };
        for ((partition, next), end) in from.iter().zip(ends) {
            fold.add(*partition, *next, end);
        }
        consumer.assign(&from)?;
        let seen = Arc::new(AtomicUsize::new(count));
        let watch = (fold.config.until == Until::Never).then(|| {
            let stop = Arc::new(AtomicBool::new(false));
            let (topic, every) = (fold.config.topic.clone(), ms(fold.config.refresh_ms));
            let (seen, stopped, failure) = (seen.clone(), stop.clone(), fold.failure.clone());
            name.spawn(move || {
                if let Some(error) = look_for_partitions(&kafka, &topic, every, &seen, &stopped) {
                    failure.set(failed(name.as_str(), error));
                }
            });
            stop
        });
        Ok(KafkaReader { consumer, fold, seen, placed: count, watch })
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
        from.iter().for_each(|(p, next)| fold.add(*p, *next, None));
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
        fold.partitions.iter_mut().flatten().for_each(Partition::not_at_end);
        let numbered = fold.partitions.iter().enumerate();
        // A paused one will tell its end when it goes on.
        let reading = numbered.filter_map(|(n, p)| Some((n, p.as_ref().filter(|p| !p.paused)?)));
        let reading: Vec<_> = reading.map(|(n, p)| (n as i32, p.next)).collect();
        if !reading.is_empty()
            && let Err(error) = self.consumer.ask_for_ends(&reading)
        {
            fold.fail(error);
        }
    }
}

/// Which own partitions to hold back and which to let go, now that the graph is at `watermark`.
fn hold_back(
    partitions: &mut [Option<Partition>],
    watermark: EventTime,
    max_ahead: Duration,
) -> (Vec<i32>, Vec<(i32, i64)>) {
    let (mut pause, mut resume) = (Vec::new(), Vec::new());
    for (number, partition) in partitions.iter_mut().enumerate() {
        let Some(p) = partition else { continue };
        // Let go only at half the distance: a pause throws away what was fetched ahead.
        let limit = if p.paused { max_ahead / 2 } else { max_ahead };
        let ahead = p.watermark.value() > watermark.plus(limit);
        if ahead != p.paused {
            p.paused = ahead;
            if ahead { pause.push(number as i32) } else { resume.push((number as i32, p.next)) }
        }
    }
    (pause, resume)
}

impl<D> Drop for KafkaReader<D> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.store(true, Ordering::Release);
        }
    }
}

fn own_partitions(
    topic: &str,
    range: std::ops::Range<usize>,
    worker: usize,
    workers: usize,
) -> Vec<i32> {
    let places = placement(topic, range.end, workers);
    let own = range.filter(|p| places[*p] == worker);
    own.map(|p| i32::try_from(p).expect("Kafka numbers partitions in 32 bits")).collect()
}

/// The thread that asks for the number of partitions, until the reader is gone or the topic is:
/// librdkafka alone would wait for a deleted topic without a word.
fn look_for_partitions(
    kafka: &KafkaConfig,
    topic: &str,
    every: Duration,
    seen: &AtomicUsize,
    stop: &AtomicBool,
) -> Option<KafkaError> {
    let slice = every.min(ms(100));
    let mut waited = Duration::ZERO;
    while !stop.load(Ordering::Acquire) {
        std::thread::park_timeout(slice);
        waited += slice;
        if waited < every {
            continue;
        }
        waited = Duration::ZERO;
        match kafka.partitions(topic) {
            Ok(count) => {
                seen.fetch_max(count, Ordering::AcqRel);
            }
            Err(error @ KafkaError::TopicMissing { .. }) => return Some(error),
            Err(error) => tracing::warn!(topic, %error, "cannot look for new partitions"),
        }
    }
    None
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
        found == Batch::<D>::RECORDS
    }

    fn cut(&mut self, wall_ms: i64, parts: &mut Vec<Part>) {
        self.take_new_partitions();
        let idle_after = ms(self.fold.config.idle_after_ms);
        for (number, partition) in self.fold.partitions.iter_mut().enumerate() {
            let Some(p) = partition else { continue };
            let number = number as i32;
            p.lag.set(self.consumer.lag(number, p.next).unwrap_or(0) as f64);
            parts.push(Part {
                source: self.fold.name.to_string(),
                partition: number,
                next: p.next,
                watermark: p.watermark.value(),
                state: p.state(wall_ms, idle_after),
            });
        }
    }

    fn advanced(&mut self, watermark: EventTime) {
        if watermark == EventTime::MIN {
            return; // nobody is ahead of nothing
        }
        let max_ahead = ms(self.fold.config.max_ahead_ms);
        let (pause, resume) = hold_back(&mut self.fold.partitions, watermark, max_ahead);
        if pause.is_empty() && resume.is_empty() {
            return;
        }
        tracing::debug!(?pause, ?resume, "partitions held back and let go");
        let held = if pause.is_empty() { Ok(()) } else { self.consumer.pause(&pause) };
        let let_go = if resume.is_empty() { Ok(()) } else { self.consumer.resume(&resume) };
        if let Err(error) = held.and(let_go) {
            self.fold.fail(error);
        }
    }
}

impl<D: Event> Fold<D> {
    fn fail(&self, error: KafkaError) {
        self.failure.set(failed(self.name, error));
    }

    fn add(&mut self, partition: i32, next: i64, end: Option<i64>) {
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        let labels = [self.name, &partition.to_string()];
        self.partitions[index] = Some(Partition {
            next,
            watermark: Watermark::new(ms(self.config.out_of_orderness_ms)),
            at_end_since: None,
            at_end: false,
            end,
            paused: false,
            lag: self.job.metrics.consumer_lag.with_label_values(&labels),
        });
    }

    #[inline]
    fn message(&mut self, message: &MessageRef<'_>, batch: &mut Batch<D>) {
        let Some(Some(partition)) = self.partitions.get_mut(message.partition as usize) else {
            return;
        };
        if partition.ended() {
            return;
        }
        partition.read_to(message.offset + 1);
        let payload = message.payload.unwrap_or_default();
        batch.bytes += payload.len() + message.key.map_or(0, <[u8]>::len);
        let decoded = (self.decode)(payload).and_then(|record| {
            (self.validate)(&record)?;
            Ok(record)
        });
        let (reason, detail) = match decoded {
            Ok(record) => {
                let at = record.event_time();
                match message.timestamp_ms {
                    Some(sent) if at > EventTime(sent).plus(ms(self.config.max_future_ms)) => {
                        let limit = self.config.max_future_ms;
                        let detail = format!("event time {at} lies over {limit} ms after {sent}");
                        (Reason::FutureTime, detail)
                    }
                    _ => {
                        partition.watermark.saw(at);
                        batch.items.push(record);
                        return;
                    }
                }
            }
            Err(error) => (error.reason, error.detail),
        };
        batch.rejected.push(self.rejected(message, reason, detail));
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
        if let Some(Some(p)) = self.partitions.get_mut(partition as usize) {
            p.at_end = true;
            // Markers of transactions lie behind the last record: nothing of ours is there.
            if p.end.is_some_and(|end| offset >= end) {
                p.next = p.next.max(offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(watermark: i64) -> Option<Partition> {
        let mut seen = Watermark::new(Duration::ZERO);
        seen.saw(EventTime(watermark));
        let lag = Gauge::new("lag", "lag").expect("well formed");
        let (at_end_since, at_end) = (None, false);
        Some(Partition {
            next: 0,
            watermark: seen,
            at_end_since,
            at_end,
            end: None,
            paused: false,
            lag,
        })
    }

    #[test]
    fn a_partition_that_runs_ahead_is_held_back_until_the_others_are_near() {
        let mut partitions = [at(1_000), None, at(9_000)];
        let mut ask = |watermark| hold_back(&mut partitions, EventTime(watermark), ms(5_000));
        assert_eq!(ask(1_000), (vec![2], vec![]));
        assert_eq!(ask(5_000), (vec![], vec![]));
        assert_eq!(ask(7_000), (vec![], vec![(2, 0)]));
        assert_eq!(ask(EventTime::MAX.0), (vec![], vec![]));
    }

    #[test]
    fn a_partition_is_idle_only_after_it_was_quiet_at_its_end() {
        let mut p = at(0).expect("made");
        let mut ask = |read: bool, at_end: bool, wall| {
            if read {
                p.read_to(1);
            }
            p.at_end |= at_end;
            p.state(wall, ms(100))
        };
        assert_eq!(ask(true, false, 0), PartState::Active);
        assert_eq!(ask(false, true, 1_000), PartState::Active);
        assert_eq!(ask(false, false, 1_099), PartState::Active);
        assert_eq!(ask(false, false, 1_100), PartState::Idle);
        // Between two cuts it was read to its end again: it was not quiet.
        assert_eq!(ask(true, true, 1_200), PartState::Active);
        assert_eq!(ask(false, true, 1_299), PartState::Active);
        assert_eq!(ask(false, true, 1_300), PartState::Idle);
        assert_eq!(ask(true, false, 1_400), PartState::Active);
    }
}
