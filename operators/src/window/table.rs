//! The open windows of one worker, by key group.

use std::collections::VecDeque;
use std::marker::PhantomData;

use tideflow_core::form::{json, put_entry, take_entry};
use tideflow_core::timely::ExchangeData;
use tideflow_core::{EventTime, GroupState, Groups, Key, KeyGroup, Show, Slots};

use super::tumbling::Aggregate;

/// Accumulators of open windows: by key group, then window, then key. Not
/// [`KeyedState`](tideflow_core::KeyedState): every record comes through here, and what ends together lies
/// together. Their time to live is the window: it goes as a whole, and no key is looked at.
///
/// Memory: that of [`Slots`], for the keys of each group in each open window: for statistics of three
/// quantities about 70 bytes beside the key and the accumulator at most.
pub struct WindowTable<D, K, A> {
    groups: Groups<OpenWindows<D, K, A>>,
    earliest: EventTime,
}

/// The open windows of one key group, oldest first.
pub struct OpenWindows<D, K, A> {
    windows: VecDeque<OpenWindow<K, A>>,
    _of: PhantomData<fn(D)>,
}

struct OpenWindow<K, A> {
    start: EventTime,
    keys: Slots<K, A>,
}

impl<D: 'static, K: Key, A: Aggregate<D> + ExchangeData> WindowTable<D, K, A> {
    pub fn new() -> Self {
        WindowTable { groups: Groups::new(), earliest: EventTime::MAX }
    }

    /// The windows, for snapshots; [`WindowTable::restored`] must follow a restore.
    pub fn state(&mut self) -> &mut Groups<OpenWindows<D, K, A>> {
        &mut self.groups
    }

    /// Learns that the state was restored.
    pub fn restored(&mut self) {
        let first = |(_, windows): (KeyGroup, &OpenWindows<D, K, A>)| {
            windows.windows.front().map(|w| w.start)
        };
        self.earliest = self.groups.iter().filter_map(first).min().unwrap_or(EventTime::MAX);
    }

    /// The accumulator of `key` in the window that starts at `start`; made when it is not there.
    #[inline]
    pub fn at(&mut self, key: &K, start: EventTime) -> &mut A {
        let hash = key.stable_hash();
        let windows = &mut self.groups.change(KeyGroup::of(hash)).windows;
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
        windows[place].keys.at(hash, key, A::default)
    }

    /// Takes out every window that starts before `limit`, oldest first within each key group, keys in
    /// the order in which they first came.
    pub fn close_before(&mut self, limit: EventTime, mut f: impl FnMut(EventTime, K, A)) {
        if self.earliest >= limit {
            return;
        }
        self.earliest = EventTime::MAX;
        for group in (0..=u8::MAX).map(KeyGroup) {
            let due = |windows: &OpenWindows<D, K, A>| {
                windows.windows.front().is_some_and(|w| w.start < limit)
            };
            if due(self.groups.get(group)) {
                let windows = &mut self.groups.change(group).windows;
                while let Some(window) = windows.pop_front_if(|w| w.start < limit) {
                    window.keys.into_iter().for_each(|(key, acc)| f(window.start, key, acc));
                }
                if windows.is_empty() && windows.capacity() > 4 {
                    windows.shrink_to(4);
                }
            }
            if let Some(next) = self.groups.get(group).windows.front() {
                self.earliest = self.earliest.min(next.start);
            }
        }
    }
}

impl<D, K, A> Default for OpenWindows<D, K, A> {
    fn default() -> Self {
        OpenWindows { windows: VecDeque::new(), _of: PhantomData }
    }
}

/// Windows one after the other: the start in milliseconds (i64, little-endian), the number of keys (u32),
/// then for each key, in the order in which they first came, the key in postcard's format, the length of
/// its accumulator (u32), and the accumulator in postcard's format.
impl<D: 'static, K: Key, A: Aggregate<D> + ExchangeData> GroupState for OpenWindows<D, K, A> {
    const VERSION: u32 = A::VERSION;

    fn keys(&self) -> usize {
        self.windows.iter().map(|window| window.keys.len()).sum()
    }

    fn bytes(&self) -> usize {
        let keys: usize = self.windows.iter().map(|w| w.keys.bytes(A::heap_bytes)).sum();
        keys + self.windows.capacity() * size_of::<OpenWindow<K, A>>()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for OpenWindow { start, keys } in &self.windows {
            out.extend_from_slice(&start.0.to_le_bytes());
            out.extend_from_slice(&(keys.len() as u32).to_le_bytes());
            keys.iter().for_each(|(key, accumulator)| put_entry(key, accumulator, out));
        }
    }

    fn decode(version: u32, mut bytes: &[u8]) -> Result<Self, String> {
        let short = || "it ends too early".to_string();
        let mut windows = VecDeque::new();
        while !bytes.is_empty() {
            let (start, rest) = bytes.split_first_chunk().ok_or_else(short)?;
            let (count, rest) = rest.split_first_chunk().ok_or_else(short)?;
            bytes = rest;
            let mut window = OpenWindow::new(EventTime(i64::from_le_bytes(*start)));
            for _ in 0..u32::from_le_bytes(*count) {
                let (key, accumulator, rest) = take_entry::<K>(bytes)?;
                window.keys.insert(key.stable_hash(), key, A::restore(version, accumulator)?);
                bytes = rest;
            }
            windows.push_back(window);
        }
        Ok(OpenWindows { windows, _of: PhantomData })
    }

    fn show(&self, each: &mut Show<'_>) {
        for OpenWindow { start, keys } in &self.windows {
            for (key, accumulator) in keys.iter() {
                let value = accumulator.show();
                each(&json(key), &format!("{{\"window_start\":{},\"value\":{value}}}", start.0));
            }
        }
    }
}

impl<K, A> OpenWindow<K, A> {
    fn new(start: EventTime) -> Self {
        OpenWindow { start, keys: Slots::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Aggregate<()> for u32 {
        fn add(&mut self, (): &()) {
            *self += 1;
        }
    }

    #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    struct Values(crate::Stats);

    impl Aggregate<f64> for Values {
        fn add(&mut self, value: &f64) {
            self.0.add(*value);
        }
    }

    #[test]
    fn golden_open_windows_have_this_form_in_snapshots() {
        let mut table = WindowTable::<f64, u64, Values>::new();
        table.at(&7, EventTime(60_000)).add(&-0.5);
        table.at(&7, EventTime(0)).add(&1.0);
        table.at(&7, EventTime(0)).add(&2.0);
        let group = KeyGroup::of(7u64.stable_hash());
        let segment = table.state().snapshot_some(1_000).expect("it is small");
        let bytes = segment.of(group).expect("it has a key");
        let stats = |count: u8, [min, max]: [f64; 2], sum: &[u8], squares: u64| {
            let mut squared = [0; 32]; // in units of 2^-128
            squared[15..23].copy_from_slice(&(squares << 6).to_le_bytes());
            let extremes = [min.to_le_bytes(), max.to_le_bytes()].concat();
            [&[count], &extremes[..], sum, &[32], &squared].concat()
        };
        // Sums in units of 2^-64: 3 * 2^64 and -2^63, after zigzag 3 * 2^65 and 2^64 - 1, 7 bits a byte.
        let three = [&[0x80; 9][..], &[0x0c]].concat();
        let half = [&[0xff; 9][..], &[1]].concat();
        let window = |start: i64, stats: Vec<u8>| {
            let (start, len) = (start.to_le_bytes(), (stats.len() as u32).to_le_bytes());
            [&start[..], &[1, 0, 0, 0], &[7], &len, &stats].concat()
        };
        // In quarters: 5 = 20/4, and 0.25 = 1/4.
        let first = window(0, stats(2, [1.0, 2.0], &three, 20));
        let second = window(60_000, stats(1, [-0.5, -0.5], &half, 1));
        assert_eq!(bytes, [first, second].concat());

        let mut restored = WindowTable::<f64, u64, Values>::new();
        restored.state().restore(group, 1, bytes).expect("it was just written");
        assert_eq!(restored.state().snapshot_some(1_000), Some(segment));
    }

    #[test]
    fn memory_is_accounted_for_every_open_window() {
        let mut table = WindowTable::<(), u64, u32>::new();
        let each = size_of::<(u64, u32)>();
        let none = table.state().bytes();
        for start in [0, 60_000] {
            (0..100_000).for_each(|key: u64| table.at(&key, EventTime(start)).add(&()));
        }
        let (keys, bytes) = (table.state().keys(), table.state().bytes());
        assert_eq!(keys, 200_000);
        assert!((keys * each..keys * (each * 5 / 4 + 13)).contains(&bytes), "{bytes}");
        table.close_before(EventTime(120_000), |_, _, _| ());
        let left = table.state().bytes();
        assert!(left < none + 256 * 4 * 80, "{left}");
    }

    /// Keys of one key group: they share a table.
    fn group_mates(count: usize) -> Vec<u64> {
        let first = KeyGroup::of(0u64.stable_hash());
        (0..).filter(|key: &u64| KeyGroup::of(key.stable_hash()) == first).take(count).collect()
    }

    proptest! {
        #[test]
        fn oracle_a_table_counts_as_a_map_does(
            adds in prop::collection::vec((0..600usize, 0..5i64), 0..3_000),
            limits in prop::collection::vec(0..6i64, 1..4),
        ) {
            let keys = group_mates(600);
            let (mut table, mut map) = (WindowTable::<(), u64, u32>::new(), BTreeMap::new());
            for (batch, limit) in adds.chunks(1_000).zip(limits.into_iter().cycle()) {
                for (key, start) in batch {
                    *table.at(&keys[*key], EventTime(*start)) += 1;
                    *map.entry((*start, keys[*key])).or_insert(0) += 1;
                }
                let later = map.split_off(&(limit, 0));
                let mut closed = Vec::new();
                table.close_before(EventTime(limit), |start, key, count| {
                    closed.push(((start.0, key), count));
                });
                prop_assert!(closed.is_sorted_by_key(|((start, _), _)| *start));
                closed.sort_unstable();
                prop_assert_eq!(closed, std::mem::replace(&mut map, later).into_iter().collect::<Vec<_>>());
            }
        }
    }
}
