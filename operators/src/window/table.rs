//! The open windows of one worker, by key group.

use std::collections::VecDeque;

use hashbrown::HashTable;
use tideflow_core::{EventTime, KEY_GROUPS, Key, KeyGroup};

/// Accumulators of open windows: by key group, then window, then key.
///
/// Memory: for each key in an open window the key, its accumulator, and at most about 70 bytes
/// (five bytes a slot of a hash table between 7/16 and 7/8 full; a list that grows by a quarter).
pub struct WindowTable<K, A> {
    groups: Vec<VecDeque<OpenWindow<K, A>>>,
    earliest: EventTime,
}

struct OpenWindow<K, A> {
    start: EventTime,
    index: HashTable<u32>,
    slots: Vec<(K, A)>,
}

impl<K: Key, A: Default> WindowTable<K, A> {
    pub fn new() -> Self {
        let groups = (0..KEY_GROUPS).map(|_| VecDeque::new()).collect();
        WindowTable { groups, earliest: EventTime::MAX }
    }

    /// The accumulator of `key` in the window that starts at `start`; made when it is not there.
    #[inline]
    pub fn at(&mut self, key: &K, start: EventTime) -> &mut A {
        let hash = key.stable_hash();
        let windows = &mut self.groups[usize::from(KeyGroup::of(hash).0)];
        // Nearly every record belongs to the newest window, or the one before.
        let found = windows.iter().rposition(|w| w.start <= start);
        let place = match found {
            Some(i) if windows[i].start == start => i,
            before => {
                let i = before.map_or(0, |i| i + 1);
                windows.insert(i, OpenWindow::new(start));
                self.earliest = self.earliest.min(start);
                i
            }
        };
        windows[place].at(hash, key)
    }

    /// Takes out every window that starts before `limit`, oldest first within each key group, keys in
    /// the order in which they first came.
    pub fn close_before(&mut self, limit: EventTime, mut f: impl FnMut(EventTime, K, A)) {
        if self.earliest >= limit {
            return;
        }
        self.earliest = EventTime::MAX;
        for windows in &mut self.groups {
            while windows.front().is_some_and(|w| w.start < limit) {
                let window = windows.pop_front().expect("just seen");
                window.slots.into_iter().for_each(|(key, acc)| f(window.start, key, acc));
            }
            if let Some(next) = windows.front() {
                self.earliest = self.earliest.min(next.start);
            }
            if windows.is_empty() && windows.capacity() > 4 {
                windows.shrink_to(4);
            }
        }
    }
}

impl<K: Key, A: Default> OpenWindow<K, A> {
    fn new(start: EventTime) -> Self {
        OpenWindow { start, index: HashTable::new(), slots: Vec::new() }
    }

    #[inline]
    fn at(&mut self, hash: u64, key: &K) -> &mut A {
        let slots = &mut self.slots;
        let found = self.index.find(hash, |i| slots[*i as usize].0 == *key).copied();
        let place = found.unwrap_or_else(|| {
            let place = u32::try_from(slots.len()).expect("a key group holds under 2^32 keys");
            if slots.len() == slots.capacity() {
                // A quarter at a time: doubling would leave half of a large state empty.
                slots.reserve_exact((slots.len() / 4).max(4));
            }
            slots.push((key.clone(), A::default()));
            self.index.insert_unique(hash, place, |i| slots[*i as usize].0.stable_hash());
            place
        });
        &mut slots[place as usize].1
    }
}
