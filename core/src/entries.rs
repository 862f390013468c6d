//! State that is a row a key: what operators keep, unless they have reason to lay it out themselves.

use std::cell::Cell;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::form::{json, put_entry, restore_known, take_entry};
use crate::{EventTime, GroupState, Groups, Key, KeyGroup, Show, Slots, millis};

/// What is kept of a key.
///
/// ```
/// use tideflow_core::Row;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Place { site: String }
/// impl Row for Place {}
/// ```
pub trait Row: Serialize + DeserializeOwned + 'static {
    /// The version of its form in snapshots, postcard's of its fields: to be raised when they change.
    const VERSION: u32 = 1;

    /// Reads one from a snapshot, in the form of this or an earlier version.
    ///
    /// # Errors
    /// What was expected, and found. As it stands it knows this version alone.
    fn restore(version: u32, bytes: &[u8]) -> Result<Self, String> {
        restore_known(Self::VERSION, version, bytes)
    }

    /// Reads a whole key group from a snapshot, where its form in this version was not yet that of
    /// [`Entries`]. None: it was, as it stands always.
    ///
    /// # Errors
    /// What was expected, and found.
    fn restore_group<K: Key>(
        _version: u32,
        _bytes: &[u8],
    ) -> Result<Option<Vec<(K, Self)>>, String> {
        Ok(None)
    }

    /// Bytes of memory that it holds beside its own size; none, unless it says otherwise.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// The rows of one key group. In snapshots, in the order of their keys: the key in postcard's format, the
/// length of its row (u32, little-endian), and the row in postcard's format.
pub struct Entries<K, V> {
    rows: Slots<K, V>,
    /// No row was touched before. Of those restored it is not known.
    earliest: Cell<EventTime>,
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Entries { rows: Slots::default(), earliest: Cell::new(EventTime::MAX) }
    }
}

impl<K: Key, V: Row> Entries<K, V> {
    /// In the order of the keys.
    fn sorted(&self) -> Vec<&(K, V)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        rows
    }

    /// Learns that a row was touched.
    fn touched(&self, at: EventTime) {
        self.earliest.set(self.earliest.get().min(at));
    }

    /// The keys whose rows were touched before `limit` at last, in their order.
    fn silent(&self, limit: EventTime, touched: fn(&V) -> EventTime) -> Vec<K> {
        let (mut silent, mut earliest) = (Vec::new(), EventTime::MAX);
        for (key, row) in self.rows.iter() {
            match touched(row) {
                at if at < limit => silent.push(key.clone()),
                at => earliest = earliest.min(at),
            }
        }
        self.earliest.set(earliest);
        silent.sort_unstable();
        silent
    }
}

impl<K: Key, V: Row> GroupState for Entries<K, V> {
    const VERSION: u32 = V::VERSION;

    fn keys(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self) -> usize {
        self.rows.bytes(V::heap_bytes)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.sorted().into_iter().for_each(|(key, row)| put_entry(key, row, out));
    }

    fn decode(version: u32, mut bytes: &[u8]) -> Result<Self, String> {
        let mut rows = Slots::default();
        let mut put = |key: K, row| {
            rows.insert(key.stable_hash(), key, row);
        };
        if let Some(group) = V::restore_group(version, bytes)? {
            group.into_iter().for_each(|(key, row)| put(key, row));
            bytes = &[];
        }
        while !bytes.is_empty() {
            let (key, row, rest) = take_entry(bytes)?;
            put(key, V::restore(version, row)?);
            bytes = rest;
        }
        Ok(Entries { rows, earliest: Cell::new(EventTime::MIN) })
    }

    fn show(&self, each: &mut Show<'_>) {
        self.sorted().into_iter().for_each(|(key, row)| each(&json(key), &json(row)));
    }
}

/// A row a key, by key group, in snapshots; with a time to live in event time if it is asked for.
///
/// Memory: that of [`Slots`], for the keys of each group.
///
/// ```
/// use tideflow_core::{EventTime, KeyedState, Row, minutes};
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Seen { last: EventTime, times: u32 }
/// impl Row for Seen {}
///
/// let mut state = KeyedState::expiring(minutes(1), |seen: &Seen| seen.last);
/// for (key, last) in [(1u64, 0), (2, 0), (2, 40_000)] {
///     let fresh = || Seen { last: EventTime::MIN, times: 0 };
///     state.change(&key, fresh, |seen| *seen = Seen { last: EventTime(last), times: seen.times + 1 });
/// }
/// let gone = state.expire(EventTime(90_000));
/// assert_eq!(gone.iter().map(|(key, seen)| (*key, seen.times)).collect::<Vec<_>>(), [(1, 1)]);
/// assert_eq!(state.get(&2).map(|seen| seen.times), Some(2));
/// ```
pub struct KeyedState<K, V> {
    groups: Groups<Entries<K, V>>,
    life: Option<Life<V>>,
}

/// How long a row lives.
struct Life<V> {
    after: Duration,
    touched: fn(&V) -> EventTime,
    watermark: EventTime,
}

impl<K: Key, V: Row> Default for KeyedState<K, V> {
    fn default() -> Self {
        KeyedState { groups: Groups::new(), life: None }
    }
}

impl<K: Key, V: Row> KeyedState<K, V> {
    /// Rows that stay until they are removed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows that [`KeyedState::expire`] takes out when the watermark lies this long after they were touched
    /// at last. A row says itself when that was: so it is in snapshots.
    pub fn expiring(after: Duration, touched: fn(&V) -> EventTime) -> Self {
        let life = Life { after, touched, watermark: EventTime::MIN };
        KeyedState { groups: Groups::new(), life: Some(life) }
    }

    /// The rows by key group: for [`Stateful::state`](crate::Stateful::state).
    pub fn groups(&mut self) -> &mut Groups<Entries<K, V>> {
        &mut self.groups
    }

    /// Goes on after an epoch with this watermark: for [`Stateful::resume`](crate::Stateful::resume).
    pub fn resume(&mut self, watermark: EventTime) {
        self.life.iter_mut().for_each(|life| life.watermark = watermark);
    }

    /// A key's row.
    pub fn get(&self, key: &K) -> Option<&V> {
        let hash = key.stable_hash();
        self.groups.get(KeyGroup::of(hash)).rows.get(hash, key)
    }

    /// Changes a key's row, made when it is not there: what `f` yields.
    pub fn change<R>(
        &mut self,
        key: &K,
        fresh: impl FnOnce() -> V,
        f: impl FnOnce(&mut V) -> R,
    ) -> R {
        let hash = key.stable_hash();
        let group = self.groups.change(KeyGroup::of(hash));
        let row = group.rows.at(hash, key, fresh);
        let result = f(row);
        if let Some(Life { touched, .. }) = self.life {
            let at = touched(row);
            group.touched(at);
        }
        result
    }

    /// Gives a key another row: the one before.
    pub fn insert(&mut self, key: K, row: V) -> Option<V> {
        let hash = key.stable_hash();
        let group = self.groups.change(KeyGroup::of(hash));
        if let Some(Life { touched, .. }) = self.life {
            group.touched(touched(&row));
        }
        group.rows.insert(hash, key, row)
    }

    /// Takes out a key's row.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        let hash = key.stable_hash();
        self.groups.change(KeyGroup::of(hash)).rows.remove(hash, key)
    }

    /// Keys and rows, in the order of groups and keys: to look at all once.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let sorted = self.groups.iter().flat_map(|(_, group)| group.sorted());
        sorted.map(|(key, row)| (key, row))
    }

    /// Takes out the rows whose time has passed, in the order of groups and keys.
    ///
    /// They are looked for when the watermark passes a multiple of a 64th of their time to live, and among
    /// the keys of groups that may have one only: a key that is touched now and then is looked at about
    /// once in that time, none more than 64 times. At the end of time nothing expires.
    pub fn expire(&mut self, watermark: EventTime) -> Vec<(K, V)> {
        let Some(life) = &mut self.life else { return Vec::new() };
        let before = std::mem::replace(&mut life.watermark, watermark);
        // At fixed times, so that a run that goes on from a snapshot lets go in the same epochs.
        let every = millis(life.after / 64).max(1);
        let time = |watermark: EventTime| watermark.0.div_euclid(every);
        if time(watermark) <= time(before) || watermark == EventTime::MAX {
            return Vec::new();
        }
        let (limit, touched, mut expired) = (watermark.minus(life.after), life.touched, Vec::new());
        for number in (0..=u8::MAX).map(KeyGroup) {
            let group = self.groups.get(number);
            if group.earliest.get() >= limit {
                continue;
            }
            for key in group.silent(limit, touched) {
                let rows = &mut self.groups.change(number).rows;
                let row = rows.remove(key.stable_hash(), &key).expect("it was just seen");
                expired.push((key, row));
            }
        }
        expired
    }
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
