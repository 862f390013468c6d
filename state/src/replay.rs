//! Which bindings of the log count.

use std::ops::RangeInclusive;

use tideflow_core::{Binding, Epoch, Ruling};

use crate::{Entry, Generation};

/// The snapshot that a replay goes on from, as its manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotAt {
    /// The epoch after which it was taken.
    pub epoch: Epoch,
    /// The generation of that epoch's record in the log. Not that of the manifest: a later generation
    /// may take a snapshot of an epoch that an earlier one has cut.
    pub binding: Generation,
}

/// A binding that counts, and where its record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its offset in the log.
    pub offset: i64,
    /// Who wrote it.
    pub generation: Generation,
    /// The binding.
    pub binding: Binding,
}

/// A log from which a job cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// A later start of the job has taken over.
    #[error("generation {by} has taken over from generation {own}")]
    Superseded {
        /// Ours.
        own: Generation,
        /// Theirs.
        by: Generation,
    },
    /// An epoch is missing or comes twice. Nothing can be published without a doubt.
    #[error(
        "the log of bindings has epoch {found} at offset {offset}, expected {expected}: a part of the \
         log is missing, or it belongs to another job"
    )]
    NotContiguous {
        /// Where.
        offset: i64,
        /// The epoch that must come.
        expected: Epoch,
        /// The epoch that came.
        found: Epoch,
    },
    /// Something was ruled upon an epoch that is not there.
    #[error(
        "the log of bindings has a ruling upon epoch {found} at offset {offset}, expected at most {last}: a \
         part of the log is missing, or it belongs to another job"
    )]
    NotBound {
        /// Where.
        offset: i64,
        /// The last epoch that is bound before it.
        last: Epoch,
        /// The epoch that it is upon.
        found: Epoch,
    },
}

/// Takes the log of bindings, in order, from the record of the snapshot's epoch (or its beginning) up to
/// the own marker, and keeps what counts.
///
/// A binding counts when no marker of a higher generation lies before it, and its epoch is later than the
/// snapshot's. So does a ruling.
///
/// ```
/// use tideflow_core::{Binding, Ending, EventTime};
/// use tideflow_state::{Entry, Generation, Replay};
/// let [first, second] = [Generation(1), Generation(2)];
/// let binding = |epoch| {
///     let watermark = EventTime(0);
///     let (parts, ending, chosen) = (vec![], Ending::No, Default::default());
///     Binding { epoch, parts, watermark, wall_ms: 0, ending, chosen }
/// };
/// let mut replay = Replay::new(second, None);
/// for (offset, entry) in [
///     Entry::Binding(first, binding(1)),
///     Entry::Marker(second),
///     Entry::Binding(first, binding(2)), // the first does not know yet
/// ].into_iter().enumerate() {
///     replay.take(offset as i64, entry)?;
/// }
/// let epochs: Vec<_> = replay.recorded().iter().map(|r| r.binding.epoch).collect();
/// assert_eq!(epochs, [1]);
/// # Ok::<(), tideflow_state::ReplayError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Replay {
    own: Generation,
    snapshot: Epoch,
    /// What an older generation has written behind a marker of this one is void.
    least: Generation,
    recorded: Vec<Recorded>,
    rulings: Vec<Ruling>,
}

impl Replay {
    /// A replay by generation `own`.
    pub fn new(own: Generation, snapshot: Option<SnapshotAt>) -> Self {
        let (epoch, least) = snapshot.map_or((0, Generation(0)), |s| (s.epoch, s.binding));
        Replay { own, snapshot: epoch, least, recorded: Vec::new(), rulings: Vec::new() }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`ReplayError::Superseded`] at a marker of a higher generation, [`ReplayError::NotContiguous`]
    /// at an epoch that does not follow the last, [`ReplayError::NotBound`] at a ruling before its epoch.
    pub fn take(&mut self, offset: i64, entry: Entry) -> Result<(), ReplayError> {
        match entry {
            Entry::Marker(by) if by > self.own => {
                Err(ReplayError::Superseded { own: self.own, by })
            }
            Entry::Marker(by) => {
                self.least = self.least.max(by);
                Ok(())
            }
            Entry::Binding(by, binding) if by < self.least || binding.epoch <= self.snapshot => {
                Ok(())
            }
            Entry::Ruling(by, ruling) if by < self.least || ruling.epoch <= self.snapshot => Ok(()),
            Entry::Ruling(_, ruling) => {
                let (last, found) = (*self.epochs().end(), ruling.epoch);
                if found > last {
                    return Err(ReplayError::NotBound { offset, last, found });
                }
                self.rulings.push(ruling);
                Ok(())
            }
            Entry::Binding(generation, mut binding) => {
                let (expected, found) = (*self.epochs().end() + 1, binding.epoch);
                if found != expected {
                    return Err(ReplayError::NotContiguous { offset, expected, found });
                }
                // What is the same in many epochs is in memory once.
                if let Some(last) =
                    self.recorded.last().filter(|l| l.binding.chosen == binding.chosen)
                {
                    binding.chosen = last.binding.chosen.clone();
                }
                self.recorded.push(Recorded { offset, generation, binding });
                Ok(())
            }
        }
    }

    /// The bindings that count so far, in order, without a gap.
    pub fn recorded(&self) -> &[Recorded] {
        &self.recorded
    }

    /// Gives the bindings away: where they lie stays known, and their partitions are in memory once.
    pub fn give_bindings(&mut self) -> Vec<Binding> {
        let bindings = self.recorded.iter_mut().map(|recorded| {
            let parts = std::mem::take(&mut recorded.binding.parts);
            Binding { parts, ..recorded.binding.clone() }
        });
        bindings.collect()
    }

    /// What was ruled upon their epochs, in order.
    pub fn rulings(&self) -> &[Ruling] {
        &self.rulings
    }

    /// Their epochs: from the one after the snapshot to the last one bound, which is the snapshot's own
    /// where there is none.
    pub fn epochs(&self) -> RangeInclusive<Epoch> {
        self.snapshot + 1..=self.snapshot + self.recorded.len() as Epoch
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::{Ending, EventTime};

    use super::*;

    fn binding(by: u64, epoch: Epoch) -> Entry {
        let watermark = EventTime(0);
        let (parts, ending, chosen) = (Vec::new(), Ending::No, Default::default());
        let binding = Binding { epoch, parts, watermark, wall_ms: 0, ending, chosen };
        Entry::Binding(Generation(by), binding)
    }

    fn marker(by: u64) -> Entry {
        Entry::Marker(Generation(by))
    }

    fn replay(
        own: u64,
        snapshot: Option<SnapshotAt>,
        log: impl IntoIterator<Item = Entry>,
    ) -> Result<Vec<(i64, u64, Epoch)>, ReplayError> {
        let mut replay = Replay::new(Generation(own), snapshot);
        for (offset, entry) in (100..).zip(log) {
            replay.take(offset, entry)?;
        }
        let kept = replay.recorded().iter();
        Ok(kept.map(|r| (r.offset, r.generation.0, r.binding.epoch)).collect())
    }

    #[test]
    fn what_a_fenced_generation_adds_behind_a_marker_is_void() {
        let log = [
            marker(1),
            binding(1, 1),
            binding(1, 2),
            marker(2),
            binding(1, 3),
            binding(2, 3),
            binding(1, 4),
            marker(3),
        ];
        let kept = replay(3, None, log).expect("it fits");
        assert_eq!(kept, [(101, 1, 1), (102, 1, 2), (105, 2, 3)]);
    }

    /// A marker is written by a producer that may write it again.
    #[test]
    fn a_marker_that_is_there_twice_is_as_one() {
        let log = [marker(1), marker(1), binding(1, 1), marker(2), binding(2, 2)];
        let kept = replay(3, None, log.into_iter().chain([marker(2), binding(2, 3), marker(3)]));
        assert_eq!(kept.expect("it fits"), [(102, 1, 1), (104, 2, 2), (106, 2, 3)]);
    }

    #[test]
    fn a_snapshot_by_a_later_generation_goes_on_from_the_bindings_of_the_earlier_one() {
        // Generation 2 took a snapshot of epoch 1, which generation 1 had cut, like epoch 2.
        let snapshot = Some(SnapshotAt { epoch: 1, binding: Generation(1) });
        let log = [binding(1, 1), binding(1, 2), marker(2), binding(2, 3), marker(3)];
        let kept = replay(3, snapshot, log).expect("it fits");
        assert_eq!(kept, [(101, 1, 2), (103, 2, 3)]);
    }

    #[test]
    fn fault_a_hole_or_an_epoch_that_comes_twice_stops_the_replay() {
        let hole = replay(2, None, [binding(1, 1), binding(1, 3)]);
        assert_eq!(hole, Err(ReplayError::NotContiguous { offset: 101, expected: 2, found: 3 }));
        let twice = replay(2, None, [binding(1, 1), binding(1, 1)]);
        assert_eq!(twice, Err(ReplayError::NotContiguous { offset: 101, expected: 2, found: 1 }));
    }

    fn ruling(by: u64, epoch: Epoch) -> Entry {
        let (operator, ruled) = ("health".to_string(), format!("by {by}"));
        Entry::Ruling(Generation(by), Ruling { epoch, operator, ruled })
    }

    #[test]
    fn rulings_count_as_bindings_do_and_only_behind_those_of_their_epochs() {
        let snapshot = Some(SnapshotAt { epoch: 1, binding: Generation(1) });
        let mut replay = Replay::new(Generation(3), snapshot);
        let log = [
            binding(1, 1),
            binding(1, 2),
            ruling(1, 1),
            binding(1, 3),
            ruling(1, 2),
            marker(2),
            ruling(1, 3),
            ruling(2, 3),
            marker(3),
        ];
        for (offset, entry) in (100..).zip(log) {
            replay.take(offset, entry).expect("it fits");
        }
        let rulings: Vec<_> = replay.rulings().iter().map(|r| (r.epoch, &*r.ruled)).collect();
        assert_eq!(rulings, [(2, "by 1"), (3, "by 2")]);
        let early = super::tests::replay(2, None, [binding(1, 1), ruling(1, 2)]);
        assert_eq!(early, Err(ReplayError::NotBound { offset: 101, last: 1, found: 2 }));
    }

    #[test]
    fn fault_a_marker_of_a_higher_generation_ends_the_replay() {
        let (own, by) = (Generation(2), Generation(3));
        assert_eq!(replay(2, None, [marker(3)]), Err(ReplayError::Superseded { own, by }));
    }
}
