//! Records from memory: the documented double of a source, for tests and examples.

use std::time::Duration;

use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Batch, BuildError, Check, Event, Part, PartState, Source, SourceSpec, SourceStart,
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
        let partition = |(p, records): (usize, Vec<T>)| Reading {
            partition: i32::try_from(p).expect("partitions fit in memory"),
            next: 0,
            rest: records.into_iter(),
            watermark: Watermark::new(self.out_of_orderness),
        };
        Ok(VecReader {
            name: start.name.as_str(),
            partitions: self
                .partitions
                .into_iter()
                .enumerate()
                .filter(own)
                .map(partition)
                .collect(),
            chunk: self.chunk,
            turn: 0,
        })
    }
}

/// A [`VecSource`] as it runs on one worker.
pub struct VecReader<T> {
    name: &'static str,
    partitions: Vec<Reading<T>>,
    chunk: usize,
    turn: usize,
}

struct Reading<T> {
    partition: i32,
    next: i64,
    rest: std::vec::IntoIter<T>,
    watermark: Watermark,
}

impl<T: Event + ExchangeData + Clone> Source for VecReader<T> {
    type Item = T;

    fn poll(&mut self, batch: &mut Batch<T>) -> bool {
        let count = self.partitions.len();
        if count > 0 {
            self.turn = (self.turn + 1) % count;
            let part = &mut self.partitions[self.turn];
            for record in part.rest.by_ref().take(self.chunk) {
                part.next += 1;
                part.watermark.saw(record.event_time());
                batch.bytes += std::mem::size_of::<T>();
                batch.items.push(record);
            }
        }
        self.partitions.iter().any(|p| !p.rest.as_slice().is_empty())
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        parts.extend(self.partitions.iter().map(|p| Part {
            source: self.name.to_string(),
            partition: p.partition,
            next: p.next,
            watermark: p.watermark.value(),
            state: if p.rest.as_slice().is_empty() { PartState::Ended } else { PartState::Active },
        }));
    }
}
