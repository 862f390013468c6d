//! State by key group, what changed of it since the last snapshot, and snapshots in slices.

use std::ops::Range;

use crate::{KEY_GROUPS, KeyGroup, Show};

/// The state of one key group of one operator, and its form in snapshots.
pub trait GroupState: Default {
    /// The version of the form that [`GroupState::encode`] writes.
    const VERSION: u32;
    /// How many entries there are: keys, each as often as something is kept of it by itself. Of none there
    /// is nothing in snapshots.
    fn keys(&self) -> usize;
    /// About how many bytes of memory it holds beside its own size, at a cost that does not grow with the
    /// number of keys. Room that is reserved counts, what the allocator adds does not.
    fn bytes(&self) -> usize;
    /// Appends the state, in the form of this version.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads a state in the form of this or an earlier version.
    ///
    /// # Errors
    /// What was expected, and found.
    fn decode(version: u32, bytes: &[u8]) -> Result<Self, String>;
    /// Shows people what is kept of each key.
    fn show(&self, each: &mut Show<'_>);
    /// Whether there is nothing to keep.
    fn is_empty(&self) -> bool {
        self.keys() == 0
    }
}

/// The state of an operator on one worker: one [`GroupState`] for each key group, those of other workers
/// empty.
///
/// A snapshot holds what changed since the one before. It is written in slices, so that a worker never
/// pauses for all of it; until it is whole, nothing may be changed.
///
/// ```
/// use tideflow_core::{GroupState, Groups, KeyGroup, Show};
/// /// Counts.
/// #[derive(Default)]
/// struct Count(u8);
/// impl GroupState for Count {
///     const VERSION: u32 = 1;
///     fn keys(&self) -> usize { usize::from(self.0 > 0) }
///     fn bytes(&self) -> usize { 0 }
///     fn encode(&self, out: &mut Vec<u8>) { out.push(self.0) }
///     fn decode(_: u32, bytes: &[u8]) -> Result<Self, String> { Ok(Count(bytes[0])) }
///     fn show(&self, each: &mut Show<'_>) { each("\"all\"", &self.0.to_string()) }
/// }
/// let mut counts = Groups::<Count>::new();
/// counts.change(KeyGroup(7)).0 = 1;
/// let snapshot = std::iter::repeat_with(|| counts.snapshot_some(1_000)).find_map(|whole| whole);
/// assert_eq!(snapshot.unwrap().of(KeyGroup(7)), Some(&[1][..]));
/// ```
#[derive(Debug)]
pub struct Groups<S> {
    groups: Vec<S>,
    /// Changed since the last snapshot, or of the one under way and not written yet.
    changed: GroupSet,
    /// What is written of the snapshot under way.
    snapshot: Segment,
}

/// Key groups as they are in a snapshot, one after the other. A group that has become empty has no bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where each group's state lies, in the order of their numbers.
    pub groups: Vec<(KeyGroup, Range<usize>)>,
    /// The states.
    pub bytes: Vec<u8>,
}

impl Segment {
    /// The state of a group, if it is in here.
    pub fn of(&self, group: KeyGroup) -> Option<&[u8]> {
        let (_, place) = self.groups.iter().find(|(found, _)| *found == group)?;
        Some(&self.bytes[place.clone()])
    }
}

impl<S: GroupState> Default for Groups<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: GroupState> Groups<S> {
    /// Empty states.
    pub fn new() -> Self {
        Groups {
            groups: (0..KEY_GROUPS).map(|_| S::default()).collect(),
            changed: GroupSet::default(),
            snapshot: Segment::default(),
        }
    }

    /// The state of a group, to look at.
    #[inline]
    pub fn get(&self, group: KeyGroup) -> &S {
        &self.groups[usize::from(group.0)]
    }

    /// The state of a group, to change it.
    #[inline]
    pub fn change(&mut self, group: KeyGroup) -> &mut S {
        debug_assert!(self.snapshot.groups.is_empty(), "a snapshot is under way");
        self.changed.insert(group);
        &mut self.groups[usize::from(group.0)]
    }

    /// All states, in order of their groups.
    pub fn iter(&self) -> impl Iterator<Item = (KeyGroup, &S)> {
        let numbered = self.groups.iter().enumerate();
        numbered.map(|(number, state)| (KeyGroup(number as u8), state))
    }

    /// How many entries there are.
    pub fn keys(&self) -> usize {
        self.groups.iter().map(S::keys).sum()
    }

    /// About how many bytes of memory they hold, what of a snapshot is written included.
    pub fn bytes(&self) -> usize {
        let held: usize = self.groups.iter().map(S::bytes).sum();
        held + size_of_val(self.groups.as_slice()) + self.snapshot.bytes.capacity()
    }

    /// Writes about so many bytes of what has changed since the last snapshot; the snapshot, once it is
    /// whole.
    pub fn snapshot_some(&mut self, bytes: usize) -> Option<Segment> {
        let full = self.snapshot.bytes.len() + bytes;
        while let Some(group) = self.changed.first() {
            if self.snapshot.bytes.len() >= full {
                return None;
            }
            self.changed.remove(group);
            let (from, state) = (self.snapshot.bytes.len(), &self.groups[usize::from(group.0)]);
            if !state.is_empty() {
                state.encode(&mut self.snapshot.bytes);
            }
            self.snapshot.groups.push((group, from..self.snapshot.bytes.len()));
        }
        Some(std::mem::take(&mut self.snapshot))
    }

    /// Takes on a group's state from a snapshot. It counts as changed, so that the next snapshot holds it
    /// whoever wrote this one.
    ///
    /// # Errors
    /// What was expected of the bytes, and found.
    pub fn restore(&mut self, group: KeyGroup, version: u32, bytes: &[u8]) -> Result<(), String> {
        let state = if bytes.is_empty() { S::default() } else { S::decode(version, bytes)? };
        *self.change(group) = state;
        Ok(())
    }
}

/// A set of key groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct GroupSet([u64; KEY_GROUPS / 64]);

impl GroupSet {
    #[inline]
    fn place(group: KeyGroup) -> (usize, u64) {
        (usize::from(group.0 >> 6), 1 << (group.0 & 63))
    }

    #[inline]
    fn insert(&mut self, group: KeyGroup) {
        let (word, bit) = Self::place(group);
        self.0[word] |= bit;
    }

    fn remove(&mut self, group: KeyGroup) {
        let (word, bit) = Self::place(group);
        self.0[word] &= !bit;
    }

    fn first(&self) -> Option<KeyGroup> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(KeyGroup((word * 64) as u8 + self.0[word].trailing_zeros() as u8))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A text, with its form of two versions.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Text(String);

    impl GroupState for Text {
        const VERSION: u32 = 2;

        fn keys(&self) -> usize {
            usize::from(!self.0.is_empty())
        }

        fn bytes(&self) -> usize {
            self.0.capacity()
        }

        fn encode(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.0.as_bytes());
        }

        fn decode(version: u32, bytes: &[u8]) -> Result<Self, String> {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            Ok(Text(if version == 1 { text.to_lowercase() } else { text.to_string() }))
        }

        fn show(&self, each: &mut Show<'_>) {
            each("null", &format!("{:?}", self.0));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(u8, char),
        Clear(u8),
        Snapshot(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Few groups, of all words of the set.
        let group = || prop_oneof![0..3u8, 62..66u8, 253..=255u8];
        let step = prop_oneof![
            6 => (group(), prop::char::range('a', 'z')).prop_map(|(g, c)| Step::Append(g, c)),
            1 => group().prop_map(Step::Clear),
            1 => (0..4usize).prop_map(Step::Snapshot),
        ];
        prop::collection::vec(step, 0..300)
    }

    fn content(groups: &Groups<Text>) -> BTreeMap<u8, String> {
        let kept = groups.iter().filter(|(_, text)| !text.is_empty());
        kept.map(|(group, text)| (group.0, text.0.clone())).collect()
    }

    /// A snapshot, and in how many slices it was written.
    fn snapshot(groups: &mut Groups<Text>, bytes: usize) -> (Segment, usize) {
        let slices = std::iter::repeat_with(|| groups.snapshot_some(bytes)).take(10_000);
        let whole = slices.enumerate().find_map(|(i, whole)| Some((whole?, i + 1)));
        whole.expect("every slice has a group at least")
    }

    proptest! {
        #[test]
        fn oracle_snapshots_one_after_the_other_give_the_state(steps in steps()) {
            let mut groups = Groups::<Text>::new();
            let mut stored = BTreeMap::new();
            // And the last one, of all that is left.
            for step in steps.into_iter().chain([Step::Snapshot(1)]) {
                match step {
                    Step::Append(group, c) => groups.change(KeyGroup(group)).0.push(c),
                    Step::Clear(group) => groups.change(KeyGroup(group)).0.clear(),
                    Step::Snapshot(bytes) => {
                        let (segment, _) = snapshot(&mut groups, bytes.max(1));
                        for (group, _) in &segment.groups {
                            let bytes = segment.of(*group).expect("it is listed").to_vec();
                            match String::from_utf8(bytes).expect("it is a text") {
                                text if text.is_empty() => drop(stored.remove(&group.0)),
                                text => drop(stored.insert(group.0, text)),
                            }
                        }
                        prop_assert_eq!(&stored, &content(&groups));
                    }
                }
            }
        }
    }

    #[test]
    fn only_what_changed_is_written_again() {
        let mut groups = Groups::<Text>::new();
        groups.change(KeyGroup(1)).0.push('a');
        groups.change(KeyGroup(200)).0.push('b');
        let written = |groups: &mut Groups<Text>| snapshot(groups, 1_000).0.groups;
        assert_eq!(written(&mut groups), [(KeyGroup(1), 0..1), (KeyGroup(200), 1..2)]);
        groups.change(KeyGroup(200)).0.push('c');
        assert_eq!(written(&mut groups), [(KeyGroup(200), 0..2)]);
        assert_eq!(written(&mut groups), []);
    }

    #[test]
    fn a_snapshot_is_written_in_slices() {
        let mut groups = Groups::<Text>::new();
        (0..=255).for_each(|g| groups.change(KeyGroup(g)).0.push_str("0123456789"));
        let (segment, slices) = snapshot(&mut groups, 100);
        assert_eq!((segment.bytes.len(), slices), (2_560, 26));
    }

    #[test]
    fn an_earlier_version_is_migrated_and_what_is_none_is_told() {
        let mut groups = Groups::<Text>::new();
        groups.restore(KeyGroup(1), 1, b"ABC").expect("an earlier version");
        groups.restore(KeyGroup(2), 2, b"ABC").expect("this version");
        groups.restore(KeyGroup(3), 2, b"").expect("an empty group");
        assert_eq!(content(&groups), BTreeMap::from([(1, "abc".into()), (2, "ABC".into())]));
        assert!(groups.restore(KeyGroup(4), 2, b"\xff").unwrap_err().contains("utf-8"));
    }
}
