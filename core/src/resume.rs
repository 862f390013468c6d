//! Where a job goes on: the last snapshot, and the epochs recorded since, which are replayed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Binding, Bound, Chosen, Epoch, EventTime, Part, Ruling};

/// Where a job stood after an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The epoch.
    pub epoch: Epoch,
    /// The watermark of the whole graph.
    pub watermark: EventTime,
    /// Every partition.
    pub parts: Vec<Part>,
    /// What was chosen outside of the graph and held in it.
    pub chosen: Chosen,
}

/// Where a job goes on; a first start goes on from nothing.
///
/// State is that of the snapshot. The epochs recorded since are decided: they are replayed with the cuts,
/// the watermarks and the clock that their bindings say. Then come new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The snapshot's place; none: state is empty, and the first epoch is 1.
    pub snapshot: Option<Standing>,
    /// What was recorded since, in order, without a gap; all workers of a process share it.
    pub recorded: Arc<[Binding]>,
    /// What was ruled upon these epochs, in the order of the log.
    pub rulings: Arc<[Ruling]>,
    /// The last epoch of which anything is published: up to it, results are not to be decided anew.
    pub published: Epoch,
}

impl Resume {
    /// The epoch that state is of; 0 for a first start.
    pub fn state_of(&self) -> Epoch {
        self.snapshot.as_ref().map_or(0, |s| s.epoch)
    }

    /// The watermark after that epoch.
    pub fn state_watermark(&self) -> EventTime {
        self.snapshot.as_ref().map_or(EventTime::MIN, |s| s.watermark)
    }

    /// The last epoch that is decided.
    pub fn last(&self) -> Epoch {
        self.recorded.last().map_or(self.state_of(), |b| b.epoch)
    }

    /// The watermark after that epoch.
    pub fn watermark(&self) -> EventTime {
        self.recorded.last().map_or(self.state_watermark(), |b| b.watermark)
    }

    /// What held in that epoch of what is chosen outside of the graph.
    pub fn chosen(&self) -> Chosen {
        let last = self.recorded.last().map(|b| &b.chosen);
        last.or(self.snapshot.as_ref().map(|s| &s.chosen)).cloned().unwrap_or_default()
    }

    /// What was ruled upon epochs of the operator of this name.
    pub fn ruled(&self, operator: &str) -> BTreeMap<Epoch, String> {
        let of = self.rulings.iter().filter(|ruling| ruling.operator == operator);
        of.map(|ruling| (ruling.epoch, ruling.ruled.clone())).collect()
    }

    /// Whether the job's input has come to its end, and time with it: there will be no more epochs.
    pub fn ended(&self) -> bool {
        self.watermark() == EventTime::MAX
    }

    /// What every worker is told again of an epoch, the `n`th recorded. No epoch comes after those of a job
    /// whose input has come to its end: so the last of them has the snapshot that its first run was killed
    /// before, where snapshots are taken.
    pub(crate) fn told_again(&self, n: usize, snapshots: bool) -> Option<(Bound, &Binding)> {
        let binding = self.recorded.get(n)?;
        let last = snapshots && self.ended() && n + 1 == self.recorded.len();
        Some((binding.bound(last), binding))
    }

    /// The sources of which something is known.
    pub fn sources(&self) -> BTreeSet<&str> {
        let recorded = self.recorded.iter().flat_map(|binding| &binding.parts);
        let parts = self.snapshot.iter().flat_map(|s| &s.parts).chain(recorded);
        parts.map(|part| part.source.as_str()).collect()
    }

    /// Where a source's partitions go on, by their numbers: those that are known.
    pub fn partitions(&self, source: &str) -> BTreeMap<i32, ResumePart> {
        let mut found = BTreeMap::<i32, ResumePart>::new();
        let of_source = |part: &&Part| part.source == source;
        for part in self.snapshot.iter().flat_map(|s| &s.parts).filter(of_source) {
            let resumed =
                ResumePart { from: part.next, watermark: part.watermark, cuts: Cuts::default() };
            found.insert(part.partition, resumed);
        }
        for binding in self.recorded.iter() {
            for part in binding.parts.iter().filter(of_source) {
                let part_of = found.entry(part.partition).or_insert_with(|| ResumePart {
                    from: part.from.unwrap_or(part.next),
                    watermark: EventTime::MIN,
                    cuts: Cuts::default(),
                });
                part_of.cuts.0.push_back((binding.epoch, part.next));
            }
        }
        found.values_mut().for_each(|part| part.cuts.read_to(part.from));
        found
    }
}

/// Where one partition goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePart {
    /// The offset of the first record to read.
    pub from: i64,
    /// The partition's watermark there.
    pub watermark: EventTime,
    /// What is to be replayed of it.
    pub cuts: Cuts,
}

/// The recorded cuts of one partition that a replay has not reached yet.
///
/// ```
/// use tideflow_core::{Binding, Ending, EventTime, Part, PartState, Resume};
/// let part = |next| {
///     let (source, watermark, state) = ("s".to_string(), EventTime(0), PartState::Active);
///     Part { source, partition: 0, from: Some(0), next, watermark, state }
/// };
/// let binding = |epoch, next| {
///     let (parts, watermark, ending) = (vec![part(next)], EventTime(0), Ending::No);
///     Binding { epoch, parts, watermark, wall_ms: 0, ending, chosen: Default::default() }
/// };
/// let recorded = [binding(1, 2), binding(2, 2), binding(3, 5)].into();
/// let resume = Resume { recorded, ..Resume::default() };
/// let mut cuts = resume.partitions("s")[&0].cuts.clone();
/// assert_eq!((cuts.reached(3), cuts.epoch_of(1)), (0, Some(1)));
/// cuts.read_to(2);
/// assert_eq!((cuts.reached(3), cuts.epoch_of(2)), (2, Some(3)));
/// cuts.read_to(5);
/// assert_eq!((cuts.reached(3), cuts.epoch_of(5)), (3, None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts(VecDeque<(Epoch, i64)>);

impl Cuts {
    /// The epoch that the record at `offset` belongs to; none: it comes after all of them. Records are
    /// asked for in order.
    #[inline]
    pub fn epoch_of(&mut self, offset: i64) -> Option<Epoch> {
        self.read_to(offset);
        self.0.front().map(|(epoch, _)| *epoch)
    }

    /// The partition has been read up to this offset, which is not included; offsets that hold no record
    /// count as read.
    #[inline]
    pub fn read_to(&mut self, next: i64) {
        while self.0.front().is_some_and(|(_, cut)| *cut <= next) {
            self.0.pop_front();
        }
    }

    /// The last epoch of which this partition is read, where `last` is the last one recorded.
    pub fn reached(&self, last: Epoch) -> Epoch {
        self.0.front().map_or(last, |(epoch, _)| epoch - 1)
    }

    /// Whether there is nothing left to replay.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
