//! Values by key, in memory that can be told.

use hashbrown::HashTable;

use crate::Key;

/// Values by key: a list of them, and an index of the places in it.
///
/// The order of the list is that in which keys came, but that the last one takes the place of one that is
/// removed. It follows from what was done, and from nothing else.
///
/// Memory: for each key at most a quarter more than key and value, and 12 bytes of the index (five a slot
/// of a hash table that is at least 7/16 full). After removals it is at most four times that.
#[derive(Clone, Debug)]
pub struct Slots<K, V> {
    index: HashTable<u32>,
    slots: Vec<(K, V)>,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Slots { index: HashTable::new(), slots: Vec::new() }
    }
}

impl<K, V> Slots<K, V> {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Keys and values, in the order of the list.
    pub fn iter(&self) -> std::slice::Iter<'_, (K, V)> {
        self.slots.iter()
    }

    /// Takes all out, in the order of the list; the index keeps its room.
    pub fn take(&mut self) -> Vec<(K, V)> {
        self.index.clear();
        std::mem::take(&mut self.slots)
    }
}

/// Each takes a key's [`Key::stable_hash`] beside it: who has its key group has that already.
impl<K: Key, V> Slots<K, V> {
    /// A key's value.
    #[inline]
    pub fn get(&self, hash: u64, key: &K) -> Option<&V> {
        self.find(hash, key).map(|place| &self.slots[place].1)
    }

    /// A key's value, to change it.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut V> {
        self.find(hash, key).map(|place| &mut self.slots[place].1)
    }

    /// A key's value, to change it; made when it is not there.
    #[inline]
    pub fn at(&mut self, hash: u64, key: &K, fresh: impl FnOnce() -> V) -> &mut V {
        let found = self.find(hash, key);
        let place = found.unwrap_or_else(|| self.push(hash, key.clone(), fresh()));
        &mut self.slots[place].1
    }

    /// Gives a key another value: the one before.
    pub fn insert(&mut self, hash: u64, key: K, value: V) -> Option<V> {
        match self.find(hash, &key) {
            Some(place) => Some(std::mem::replace(&mut self.slots[place].1, value)),
            None => {
                self.push(hash, key, value);
                None
            }
        }
    }

    /// Takes out a key: its value.
    pub fn remove(&mut self, hash: u64, key: &K) -> Option<V> {
        let slots = &self.slots;
        let found = self.index.find_entry(spread(hash), |i| slots[*i as usize].0 == *key).ok()?;
        let (place, _) = found.remove();
        let last = slots.len() - 1;
        if place as usize != last {
            let moved = spread(slots[last].0.stable_hash());
            let moved = self.index.find_mut(moved, |i| *i as usize == last);
            *moved.expect("every slot is in the index") = place;
        }
        let (_, value) = self.slots.swap_remove(place as usize);
        self.shrink();
        Some(value)
    }

    /// Bytes of memory: all of the index and of the list, and what keys and values hold beside it, where
    /// they tell. That is taken from a few of them, so that the cost does not depend on how many there are.
    pub fn bytes(&self, heap: impl Fn(&V) -> usize) -> usize {
        const SAMPLES: usize = 32;
        let step = self.len().div_ceil(SAMPLES).max(1);
        let sampled = self.slots.iter().step_by(step);
        let (count, held) = sampled.fold((0, 0), |(count, held), (key, value)| {
            (count + 1, held + key.heap_bytes() + heap(value))
        });
        let held = (held * self.len()).checked_div(count).unwrap_or(0);
        self.index.allocation_size() + self.slots.capacity() * size_of::<(K, V)>() + held
    }

    #[inline]
    fn find(&self, hash: u64, key: &K) -> Option<usize> {
        let slots = &self.slots;
        let found = self.index.find(spread(hash), |i| slots[*i as usize].0 == *key);
        found.map(|place| *place as usize)
    }

    fn push(&mut self, hash: u64, key: K, value: V) -> usize {
        let slots = &mut self.slots;
        let place = u32::try_from(slots.len()).expect("there are under 2^32 keys");
        if slots.len() == slots.capacity() {
            // A quarter at a time: doubling would leave half of a large state empty.
            slots.reserve_exact((slots.len() / 4).max(4));
        }
        slots.push((key, value));
        let of = |i: &u32| spread(slots[*i as usize].0.stable_hash());
        self.index.insert_unique(spread(hash), place, of);
        place as usize
    }

    /// Gives memory back when three quarters are not used any more.
    fn shrink(&mut self) {
        let len = self.slots.len();
        if len == 0 {
            *self = Slots::default();
        } else if len < self.slots.capacity() / 4 {
            self.slots.shrink_to(len + (len / 4).max(4));
            let slots = &self.slots;
            self.index.shrink_to(len, |i| spread(slots[*i as usize].0.stable_hash()));
        }
    }
}

impl<K, V> IntoIterator for Slots<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.slots.into_iter()
    }
}

/// The table takes its tags from the top bits, which are the same for all keys of a key group: with
/// those every probe would look at a key.
#[inline]
fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::KeyGroup;

    /// Keys of one key group: they share an index.
    fn group_mates(count: usize) -> Vec<u64> {
        let first = KeyGroup::of(0u64.stable_hash());
        (0..).filter(|key: &u64| KeyGroup::of(key.stable_hash()) == first).take(count).collect()
    }

    #[test]
    fn tags_differ_within_a_key_group() {
        let mates = group_mates(1_000);
        let tags: BTreeSet<_> = mates.iter().map(|key| spread(key.stable_hash()) >> 57).collect();
        assert_eq!(tags.len(), 128);
    }

    #[test]
    fn memory_is_given_back_when_keys_go() {
        let (mut slots, mates) = (Slots::default(), group_mates(1_000));
        for key in &mates {
            slots.insert(key.stable_hash(), *key, 0u64);
        }
        let full = slots.bytes(|_| 0);
        // 16 bytes and at most a quarter more, and 5 bytes for each of 2048 places.
        assert!((26_000..31_000).contains(&full), "{full}");
        for key in &mates[10..] {
            slots.remove(key.stable_hash(), key);
        }
        let left = slots.bytes(|_| 0);
        assert!(left < full / 10, "{left} of {full}");
        for key in &mates[..10] {
            slots.remove(key.stable_hash(), key);
        }
        assert_eq!(slots.bytes(|_| 0), 0);
    }

    proptest! {
        #[test]
        fn oracle_slots_hold_what_a_map_does(
            steps in prop::collection::vec((0..300usize, 0..4u8, any::<u16>()), 0..3_000),
        ) {
            let (mut slots, mut map) = (Slots::default(), BTreeMap::new());
            let mates = group_mates(300);
            for (key, step, value) in steps {
                let key = mates[key];
                let hash = key.stable_hash();
                match step {
                    0 => prop_assert_eq!(slots.insert(hash, key, value), map.insert(key, value)),
                    1 => prop_assert_eq!(
                        slots.at(hash, &key, || value), map.entry(key).or_insert(value)
                    ),
                    2 => prop_assert_eq!(slots.remove(hash, &key), map.remove(&key)),
                    _ => prop_assert_eq!(slots.get(hash, &key), map.get(&key)),
                }
                prop_assert_eq!(slots.len(), map.len());
            }
            for key in mates {
                prop_assert_eq!(slots.get(key.stable_hash(), &key), map.get(&key));
            }
            let mut held: Vec<_> = slots.into_iter().collect();
            held.sort_unstable();
            prop_assert_eq!(held, map.into_iter().collect::<Vec<_>>());
        }
    }
}
