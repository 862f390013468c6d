//! What an epoch has for the rows of a table, and what that changes of them.

use tideflow_core::{Emit, Key, KeyedState, Row, Slots};

use super::table::Change;

/// Gives a key another row, or none, and tells what that changes: nothing where it is the same.
pub(super) fn set<K: Key, V: Row + Clone + Eq>(
    rows: &mut KeyedState<K, V>,
    key: K,
    to: Option<V>,
    out: &mut Emit<Change<K, V>>,
) {
    if rows.get(&key) == to.as_ref() {
        return;
    }
    let before = match &to {
        Some(row) => rows.insert(key.clone(), row.clone()),
        None => rows.remove(&key),
    };
    if let Some(before) = before {
        out.push(((key.clone(), before), -1));
    }
    if let Some(row) = to {
        out.push(((key, row), 1));
    }
}

/// The greatest that an epoch says of each key, however its records are interleaved.
pub(super) struct Greatest<K, T>(Slots<K, T>);

impl<K, T> Default for Greatest<K, T> {
    fn default() -> Self {
        Greatest(Slots::default())
    }
}

impl<K: Key, T: Ord> Greatest<K, T> {
    /// Takes something that is said of a key.
    pub fn offer(&mut self, key: &K, said: T) {
        let mut said = Some(said);
        let greatest = self.0.at(key.stable_hash(), key, || said.take().expect("taken here alone"));
        if let Some(said) = said
            && said > *greatest
        {
            *greatest = said;
        }
    }

    /// What was said, in the order of the keys; nothing is left.
    pub fn take(&mut self) -> Vec<(K, T)> {
        let mut said = self.0.take();
        said.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        said
    }
}
