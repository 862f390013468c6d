//! Records from memory: the documented double of a source, for tests and examples.

use std::time::Duration;

use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Backtest, Batch, BuildError, Check, Cuts, Epoch, Event, EventTime, Part, PartState, ResumePart,
    Source, SourceSpec, SourceStart,
};

use crate::watermark::Watermark;

/// Partitions of records in memory; the graph ends, and its windows close, when all are read.
///
/// Partition `p` is read by worker `p` modulo the number of workers.
///
/// ```
/// use tideflow_core::{Event, EventTime};
/// use tideflow_sources::VecSource;
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct At(i64);
/// impl Event for At { fn event_time(&self) -> EventTime { EventTime(self.0) } }
/// let source = VecSource::new(vec![vec![At(1), At(2)], vec![At(1)]]);
/// ```
#[derive(Clone, Debug)]
pub struct VecSource<T> {
    partitions: Vec<Vec<T>>,
    out_of_orderness: Duration,
    chunk: usize,
}

impl<T> VecSource<T> {
    /// These partitions, in order, with an out-of-orderness bound of zero.
    pub fn new(partitions: Vec<Vec<T>>) -> Self {
        // None is one without records: somebody has to say that there are no more.
        let partitions = if partitions.is_empty() { vec![Vec::new()] } else { partitions };
        VecSource { partitions, out_of_orderness: Duration::ZERO, chunk: Batch::<T>::RECORDS }
    }

    /// How far behind the largest event time of its partition a record may lie and not be late.
    #[must_use]
    pub fn out_of_orderness(mut self, bound: Duration) -> Self {
        self.out_of_orderness = bound;
        self
    }

    /// How many records one poll takes from one partition: small chunks make many epochs.
    #[must_use]
    pub fn chunk(mut self, records: usize) -> Self {
        self.chunk = records.max(1);
        self
    }
}

impl<T: Event + ExchangeData + Clone> SourceSpec for VecSource<T> {
    type Source = VecReader<T>;

    fn about(&self) -> String {
        format!("{} partitions in memory", self.partitions.len())
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SourceStart) -> Result<VecReader<T>, BuildError> {
        let own = |(p, _): &(usize, _)| p % start.workers == start.worker;
        let name = start.name.as_str();
        let mut resumed = start.resume.partitions(name);
        let partition = |(p, mut records): (usize, Vec<T>)| {
            let partition = i32::try_from(p).expect("partitions fit in memory");
            let resumed = resumed.remove(&partition);
            let first = resumed.is_none().then_some(0);
            let beginning =
                ResumePart { from: 0, watermark: EventTime::MIN, cuts: Cuts::default() };
            let ResumePart { from, watermark, cuts } = resumed.unwrap_or(beginning);
            let rest = records.split_off(usize::try_from(from).unwrap_or(0).min(records.len()));
            let watermark = Watermark::new(self.out_of_orderness).at(watermark);
            Reading { partition, first, next: from, rest: rest.into_iter(), watermark, cuts }
        };
        Ok(VecReader {
            name,
            replay_to: start.resume.last(),
            partitions: self
                .partitions
                .into_iter()
                .enumerate()
                .filter(own)
                .map(partition)
                .collect(),
            chunk: self.chunk,
            turn: 0,
            backtest: start.job.backtest,
        })
    }
}

/// A [`VecSource`] as it runs on one worker.
pub struct VecReader<T> {
    name: &'static str,
    replay_to: Epoch,
    partitions: Vec<Reading<T>>,
    chunk: usize,
    turn: usize,
    backtest: Option<Backtest>,
}

struct Reading<T> {
    partition: i32,
    /// Where reading began, until a cut has told it.
    first: Option<i64>,
    next: i64,
    rest: std::vec::IntoIter<T>,
    watermark: Watermark,
    cuts: Cuts,
}

impl<T: Event + ExchangeData + Clone> Source for VecReader<T> {
    type Item = T;

    fn poll(&mut self, batch: &mut Batch<T>) -> bool {
        let (count, replaying) = (self.partitions.len(), self.replayed() < self.replay_to);
        if count > 0 {
            self.turn = (self.turn + 1) % count;
            let part = &mut self.partitions[self.turn];
            for _ in 0..self.chunk {
                let epoch = part.cuts.epoch_of(part.next);
                if replaying && epoch.is_none() {
                    break;
                }
                let Some(record) = part.rest.next() else { break };
                part.next += 1;
                part.watermark.saw(record.event_time());
                batch.bytes += std::mem::size_of::<T>();
                if self.backtest.as_ref().is_none_or(|b| b.holds(record.event_time())) {
                    batch.of(epoch).0.push(record);
                }
            }
            part.cuts.read_to(part.next);
        }
        self.partitions.iter().any(|p| !p.rest.as_slice().is_empty())
    }

    fn replayed(&self) -> Epoch {
        let reached = self.partitions.iter().map(|p| p.cuts.reached(self.replay_to));
        reached.min().unwrap_or(self.replay_to)
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        let latest = self.backtest.as_ref().map_or(EventTime::MAX, |backtest| backtest.to);
        parts.extend(self.partitions.iter_mut().map(|p| Part {
            source: self.name.to_string(),
            partition: p.partition,
            from: p.first.take(),
            next: p.next,
            watermark: p.watermark.value().min(latest),
            state: match p.rest.as_slice() {
                [] => PartState::Ended,
                _ if T::TIMED => PartState::Active,
                _ => PartState::Idle,
            },
        }));
    }
}
