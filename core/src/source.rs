//! How records enter a graph.

mod reader;

use std::collections::BTreeMap;
use std::rc::Rc;

use timely::ExchangeData;
use timely::scheduling::SyncActivator;

use crate::flow::Stream;
use crate::operator::OperatorName;
use crate::plan::Check;
use crate::{BuildError, Epoch, EventTime, Job, Part, Rejected, Resume};

/// A place records come from, as it runs on one worker. Every implementation promises:
/// 1. polling never waits, and takes about [`Batch::RECORDS`] records at most;
/// 2. it reads the partitions that are its worker's and no others, each in order of offset;
/// 3. a cut tells where every one of its partitions stands: what was polled before belongs to the
///    epoch that ends, what is polled after to the next;
/// 4. a partition's watermark is a function of what was read from it;
/// 5. bytes that do not decode come out as [`Rejected`], are counted, and never end the process;
/// 6. when records arrive after a poll that found none, it wakes the worker;
/// 7. started with epochs to replay, it goes on where [`Resume::partitions`] says and yields each record
///    in the epoch that its cuts say ([`Batch::of`]), and nothing beyond them before all are reached;
/// 8. in a backtest ([`Job::backtest`]) it yields the records of that time, and all that were there before it
///    where records have no time; its watermark stays within it, and it acknowledges nothing.
///
/// ```
/// use tideflow_core::{Batch, EventTime, Part, PartState, Source};
/// /// Counts to a limit, from 0: it cannot replay, and so is for jobs that never do.
/// struct Numbers { next: i64, end: i64 }
/// impl Source for Numbers {
///     type Item = i64;
///     fn poll(&mut self, batch: &mut Batch<i64>) -> bool {
///         if self.next < self.end { batch.items.push(self.next); self.next += 1; }
///         self.next < self.end
///     }
///     fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
///         let state = if self.next < self.end { PartState::Active } else { PartState::Ended };
///         let source = "numbers".to_string();
///         let (from, watermark) = (Some(0), EventTime(self.next));
///         parts.push(Part { source, partition: 0, from, next: self.next, watermark, state });
///     }
///     fn replayed(&self) -> u64 { 0 }
/// }
/// let (mut source, mut batch) = (Numbers { next: 0, end: 2 }, Batch::default());
/// while source.poll(&mut batch) {}
/// assert_eq!(batch.items, [0, 1]);
/// ```
pub trait Source: 'static {
    /// What it yields.
    type Item: ExchangeData + Clone;
    /// Appends what is there to `batch`; true when there is more.
    fn poll(&mut self, batch: &mut Batch<Self::Item>) -> bool;
    /// Tells where its partitions stand, at the wall-clock time that the epoch's binding records.
    fn cut(&mut self, wall_ms: i64, parts: &mut Vec<Part>);
    /// The last recorded epoch of which all has been yielded: [`Resume::last`] once there is nothing left to
    /// replay.
    fn replayed(&self) -> Epoch;
    /// Learns how far the whole graph has come, so that it can hold back partitions that run ahead:
    /// what they yield would only wait in open windows. When to read is free; what a cut holds is not.
    fn advanced(&mut self, _watermark: EventTime) {}
    /// Learns that everything before an earlier cut of its own, `parts`, has been published. What it
    /// acknowledges upstream must lie before that. The cuts of a run's last epochs are not told.
    fn published(&mut self, _parts: &[Part]) {}
}

/// What one poll of a source found.
#[derive(Debug)]
pub struct Batch<T> {
    /// Records, in order.
    pub items: Vec<T>,
    /// What did not decode.
    pub rejected: Vec<Rejected>,
    /// About how many bytes both take in memory. Everything counts: it is what bounds an epoch.
    pub bytes: usize,
    /// The same of epochs that are replayed.
    replayed: BTreeMap<Epoch, (Vec<T>, Vec<Rejected>)>,
}

impl<T> Batch<T> {
    /// About how many records a poll takes.
    pub const RECORDS: usize = 1024;

    /// Where records of an epoch go: one that is replayed, or none for the open one.
    #[inline]
    pub fn of(&mut self, replayed: Option<Epoch>) -> (&mut Vec<T>, &mut Vec<Rejected>) {
        match replayed {
            None => (&mut self.items, &mut self.rejected),
            Some(epoch) => {
                let (items, rejected) = self.replayed.entry(epoch).or_default();
                (items, rejected)
            }
        }
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Batch { items: Vec::new(), rejected: Vec::new(), bytes: 0, replayed: BTreeMap::new() }
    }
}

/// What a graph says of a source: enough to check it, to draw it and to start it.
pub trait SourceSpec {
    /// The source as it runs on one worker.
    type Source: Source;
    /// What it is, with the settings that matter.
    fn about(&self) -> String;
    /// What its positions are of, as a topic's name: a job that goes on at them reads the same. None where
    /// nothing of it outlives a run.
    fn input(&self) -> Option<String> {
        None
    }
    /// Whether it goes on where records of that are gone which it has not read.
    fn may_lose(&self) -> bool {
        false
    }
    /// What must hold before it starts.
    fn checks(&self) -> Vec<Check>;
    /// Starts it on one worker.
    ///
    /// # Errors
    /// When it cannot start here and now.
    fn start(self, start: SourceStart) -> Result<Self::Source, BuildError>;
}

/// Where a source starts.
pub struct SourceStart {
    /// Its name in the graph.
    pub name: OperatorName,
    /// This worker's index, over all processes.
    pub worker: usize,
    /// The number of workers, over all processes.
    pub workers: usize,
    /// What the process's parts share.
    pub job: Job,
    /// Where it goes on: promise 7.
    pub resume: Rc<Resume>,
    /// Wakes the worker: promise 6.
    pub waker: SyncActivator,
}

/// The two streams of a source.
pub type Sourced<'s, D> = (Stream<'s, D>, Stream<'s, Rejected>);
