//! Where in the log the bindings lie that are known to be in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tideflow_core::Epoch;

use crate::{Generation, Replay};

/// Where the record of a binding lies. A manifest keeps that of its snapshot's epoch: whoever reads the
/// log from there needs the generation to know what counts, and it need not be the manifest's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingPlace {
    /// The epoch that it binds.
    pub epoch: Epoch,
    /// Its offset.
    pub offset: i64,
    /// Who wrote it.
    pub generation: Generation,
}

/// Where the bindings of a log lie that have been acknowledged. Clones are the same.
///
/// Holds 24 bytes an epoch, from the oldest that was not forgotten.
#[derive(Clone, Debug, Default)]
pub struct BindingPlaces(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    durable: Epoch,
    /// Acknowledged before an earlier one: few, since epochs in flight are.
    ahead: BTreeMap<Epoch, BindingPlace>,
    /// Of consecutive epochs, the last of which is `durable`.
    kept: VecDeque<BindingPlace>,
}

impl BindingPlaces {
    /// Those of a log that goes on behind this replay.
    pub(super) fn go_on_after(&self, replay: &Replay) {
        let kept = replay.recorded().iter();
        let kept = kept.map(|r| {
            let (epoch, offset, generation) = (r.binding.epoch, r.offset, r.generation);
            BindingPlace { epoch, offset, generation }
        });
        let (durable, kept) = (*replay.epochs().end(), kept.collect());
        *self.lock() = Places { durable, ahead: BTreeMap::new(), kept };
    }

    /// Where this epoch's binding lies: none when it is not durable yet, or has been forgotten.
    pub fn of(&self, epoch: Epoch) -> Option<BindingPlace> {
        let places = self.lock();
        let first = places.kept.front()?.epoch;
        places.kept.get(usize::try_from(epoch.checked_sub(first)?).ok()?).copied()
    }

    /// Forgets the bindings before this offset: the one that the log was trimmed to.
    pub fn forget_before(&self, offset: i64) {
        let mut places = self.lock();
        let old = places.kept.partition_point(|place| place.offset < offset);
        places.kept.drain(..old);
    }

    pub(super) fn durable(&self) -> Epoch {
        self.lock().durable
    }

    /// Takes note of an acknowledgement; true when it makes an epoch durable.
    pub(super) fn acknowledge(&self, place: BindingPlace) -> bool {
        let mut places = self.lock();
        let before = places.durable;
        places.ahead.insert(place.epoch, place);
        loop {
            let next = places.durable + 1;
            let Some(place) = places.ahead.remove(&next) else { break };
            places.kept.push_back(place);
            places.durable = next;
        }
        places.durable > before
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: Epoch, offset: i64) -> BindingPlace {
        BindingPlace { epoch, offset, generation: Generation(1) }
    }

    #[test]
    fn an_epoch_is_durable_when_all_before_it_are() {
        let places = BindingPlaces::default();
        assert!(!places.acknowledge(place(2, 11)));
        assert!(!places.acknowledge(place(4, 13)));
        assert_eq!((places.durable(), places.of(2)), (0, None));
        assert!(places.acknowledge(place(1, 10)));
        assert_eq!(places.durable(), 2);
        assert!(places.acknowledge(place(3, 12)));
        assert_eq!(places.durable(), 4);
        let all: Vec<_> = (0..=5).map(|epoch| places.of(epoch).map(|p| p.offset)).collect();
        assert_eq!(all, [None, Some(10), Some(11), Some(12), Some(13), None]);
    }

    #[test]
    fn what_was_trimmed_is_forgotten_and_the_rest_is_not() {
        let places = BindingPlaces::default();
        for epoch in 1..=4 {
            assert!(places.acknowledge(place(epoch, 10 * epoch as i64)));
        }
        places.forget_before(30);
        let all: Vec<_> = (1..=4).map(|epoch| places.of(epoch).map(|p| p.offset)).collect();
        assert_eq!(all, [None, None, Some(30), Some(40)]);
        places.forget_before(100);
        assert!(places.acknowledge(place(5, 100)));
        assert_eq!((places.durable(), places.of(4), places.of(5)), (5, None, Some(place(5, 100))));
    }
}
