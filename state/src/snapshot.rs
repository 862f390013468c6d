//! Snapshots: one object a worker, and the manifest that says what they mean together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tideflow_core::{Chosen, Epoch, ErrorKind, EventTime, KeyGroup, Part, Restored, Segment};
use xxhash_rust::xxh3::xxh3_64;

use crate::{BindingPlace, Generation, Store, StoreError};

pub(crate) const MANIFESTS: &str = "manifest";
pub(crate) const SEGMENTS: &str = "state";

/// A snapshot that cannot be gone on from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The store did not give what was asked for.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest is none, or of another version.
    #[error("manifest `{name}`: {reason}")]
    Manifest {
        /// Its name.
        name: String,
        /// Expected and found.
        reason: String,
    },
    /// The record of what a start reads and writes is none.
    #[error("topics of generation `{name}`: {reason}")]
    Topics {
        /// The generation.
        name: String,
        /// Expected and found.
        reason: String,
    },
    /// A part of a snapshot is not as it was written.
    #[error(
        "key group {} of operator `{operator}` in `{segment}` is damaged: expected checksum {expected}, \
         found {found}", group.0
    )]
    Damaged {
        /// The operator.
        operator: String,
        /// The key group.
        group: KeyGroup,
        /// The object.
        segment: String,
        /// The checksum in the manifest.
        expected: Box<str>,
        /// That of what was read.
        found: Box<str>,
    },
    /// An object ends before what a snapshot has in it.
    #[error("`{segment}` is cut short: expected {expected} bytes or more, found {found}")]
    CutShort {
        /// The object.
        segment: String,
        /// Where the snapshot's last part of it ends.
        expected: u64,
        /// Where it ends.
        found: u64,
    },
}

impl SnapshotError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            SnapshotError::Store(error) => error.kind(),
            SnapshotError::Manifest { .. }
            | SnapshotError::Topics { .. }
            | SnapshotError::Damaged { .. }
            | SnapshotError::CutShort { .. } => ErrorKind::Fatal,
        }
    }
}

/// What one worker adds to a snapshot: what has changed in its operators, in one piece.
#[derive(Clone, Debug, Default)]
pub struct WorkerState {
    bytes: Vec<u8>,
    places: Vec<(String, KeyGroup, Place)>,
}

/// Where a key group's state lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The object, in the folder `state`.
    pub segment: String,
    /// Its first byte there.
    pub from: u64,
    /// Its length in bytes; 0 where the group has become empty.
    pub len: u64,
    /// XXH3-64 of its bytes, in hexadecimal.
    pub sum: String,
    /// The version of its form.
    pub version: u32,
}

impl WorkerState {
    /// Adds what has changed in an operator, in the form of `version`.
    pub fn add(&mut self, operator: &str, version: u32, segment: &Segment) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&segment.bytes);
        for (group, place) in &segment.groups {
            let (from, len) = ((start + place.start) as u64, place.len() as u64);
            let sum = sum(&segment.bytes[place.clone()]);
            let place = Place { segment: String::new(), from, len, sum, version };
            self.places.push((operator.to_string(), *group, place));
        }
    }
}

/// Where a worker's state was written: what the manifest needs of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written(Vec<(String, KeyGroup, Place)>);

/// A job's state after an epoch, and what a recovery needs to go on from it.
///
/// In the store it is `manifest/GENERATION-EPOCH`, both numbers in twenty digits: a JSON object with these
/// fields and, on a line of its own, the checksum of the text before. It counts once shard 0 has committed
/// its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of its form: [`Manifest::VERSION`].
    pub v: u32,
    /// The generation that took the snapshot.
    pub generation: Generation,
    /// The epoch after which it was taken.
    pub epoch: Epoch,
    /// The watermark after that epoch.
    pub watermark: EventTime,
    /// Where every partition stood.
    pub parts: Vec<Part>,
    /// What held in that epoch of what is chosen outside of the graph.
    #[serde(default, skip_serializing_if = "Chosen::is_empty")]
    pub chosen: Chosen,
    /// The offset of that epoch's record in the log of bindings.
    pub binding_offset: i64,
    /// The generation of that record.
    pub binding_generation: Generation,
    /// The last epoch that each shard had committed, as far as was known.
    pub progress: Vec<Epoch>,
    /// Operators, and their key groups that are not empty.
    pub operators: Operators,
}

/// Where the state of each operator's key groups lies, by its name.
pub type Operators = BTreeMap<String, BTreeMap<u8, Place>>;

impl Manifest {
    /// The version of the form, for [`Manifest::v`].
    pub const VERSION: u32 = 1;

    /// The operators of a snapshot: what `written` has changed, on top of what `last` had.
    pub fn operators(last: Option<&Manifest>, written: &[Written]) -> Operators {
        let mut operators = last.map_or_else(BTreeMap::new, |last| last.operators.clone());
        for (operator, group, place) in written.iter().flat_map(|w| &w.0) {
            let groups = operators.entry(operator.clone()).or_default();
            match place.len {
                0 => groups.remove(&group.0),
                _ => groups.insert(group.0, place.clone()),
            };
        }
        operators.retain(|_, groups| !groups.is_empty());
        operators
    }

    /// Its name in the store.
    pub fn name(&self) -> String {
        format!("{:020}-{:020}", self.generation.0, self.epoch)
    }

    /// The record of the log of bindings that a replay begins with.
    pub fn binding(&self) -> BindingPlace {
        let (offset, generation) = (self.binding_offset, self.binding_generation);
        BindingPlace { epoch: self.epoch, offset, generation }
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("names and numbers are JSON");
        let line = checksum_line(&text);
        text.extend(line.as_bytes());
        text
    }

    /// What was expected and found, if that is not what [`Manifest::text`] has written.
    fn from_text(text: &[u8]) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Version>();
        let Version { v } =
            values.next().ok_or("it is empty")?.map_err(|error| error.to_string())?;
        if v != Manifest::VERSION {
            return Err(format!("expected version {}, found {v}", Manifest::VERSION));
        }
        let (json, found) = text.split_at(values.byte_offset());
        let expected = checksum_line(json);
        if found != expected.as_bytes() {
            let found = String::from_utf8_lossy(found);
            let (expected, found) = (expected.trim(), found.trim());
            return Err(format!("it is damaged: expected checksum {expected}, found {found}"));
        }
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.operators.values().flat_map(BTreeMap::values).map(|place| place.segment.as_str())
    }
}

impl Store {
    /// Writes what one worker adds to the snapshot after `epoch`: one object, on disk when this returns.
    /// Where nothing has changed there is none.
    ///
    /// # Errors
    /// When the store does not do it.
    pub fn write_state(
        &self,
        generation: Generation,
        epoch: Epoch,
        worker: usize,
        state: WorkerState,
    ) -> Result<Written, StoreError> {
        let WorkerState { bytes, mut places } = state;
        // The generation is in the name, so that a superseded process overwrites nothing.
        let name = format!("{epoch:020}-{:020}-{worker}", generation.0);
        if !bytes.is_empty() {
            self.create_as(generation, &format!("{SEGMENTS}/{name}"), &bytes)?;
        }
        places.iter_mut().for_each(|(_, _, place)| place.segment.clone_from(&name));
        Ok(Written(places))
    }

    /// Writes a manifest. All that it names must have been written before.
    ///
    /// # Errors
    /// When the store does not do it.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let name = format!("{MANIFESTS}/{}", manifest.name());
        self.create_as(manifest.generation, &name, &manifest.text())
    }

    /// Makes an object whose name is this generation's own: a try that was made before, and failed when the
    /// object was there already, is no other's.
    pub(crate) fn create_as(
        &self,
        own: Generation,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        // A store that is away would be made anew, and filled: nobody would find it in there.
        self.generation_since(own)?;
        match self.create(name, bytes.to_vec()) {
            Err(StoreError::Taken { .. }) if self.read(name)? == bytes => {}
            other => other?,
        }
        self.generation_since(own).map(drop)
    }

    /// Reads a manifest by its name.
    ///
    /// # Errors
    /// When it is missing, or none of this version.
    pub fn manifest(&self, name: &str) -> Result<Manifest, SnapshotError> {
        self.read_manifest(MANIFESTS, name)
    }

    pub(crate) fn read_manifest(
        &self,
        folder: &str,
        name: &str,
    ) -> Result<Manifest, SnapshotError> {
        let wrong = |reason: String| SnapshotError::Manifest { name: name.to_string(), reason };
        let text = match self.read(&format!("{folder}/{name}")) {
            Err(StoreError::Missing { .. }) => return Err(wrong("it is missing".to_string())),
            other => other?,
        };
        Manifest::from_text(&text).map_err(wrong)
    }

    /// Reads an operator's state in these key groups, those of one worker.
    ///
    /// # Errors
    /// When a part is missing or damaged: the error names it.
    pub fn read_state(
        &self,
        manifest: &Manifest,
        operator: &str,
        wanted: impl Fn(KeyGroup) -> bool,
    ) -> Result<Vec<Restored>, SnapshotError> {
        let Some(groups) = manifest.operators.get(operator) else { return Ok(Vec::new()) };
        let groups = groups.iter().map(|(group, place)| (KeyGroup(*group), place));
        let mut by_segment = BTreeMap::<&str, Vec<(KeyGroup, &Place)>>::new();
        for (group, place) in groups.filter(|(group, _)| wanted(*group)) {
            by_segment.entry(&place.segment).or_default().push((group, place));
        }
        let mut restored = Vec::new();
        for (segment, places) in by_segment {
            let ranges: Vec<_> = places.iter().map(|(_, p)| p.from..p.from + p.len).collect();
            let read = self.read_parts(&format!("{SEGMENTS}/{segment}"), &ranges)?;
            for ((group, place), bytes) in places.into_iter().zip(read) {
                let found = sum(&bytes);
                if found != place.sum {
                    return Err(SnapshotError::Damaged {
                        operator: operator.to_string(),
                        group,
                        segment: format!("{SEGMENTS}/{segment}"),
                        expected: place.sum.as_str().into(),
                        found: found.into(),
                    });
                }
                restored.push((group, place.version, bytes));
            }
        }
        restored.sort_by_key(|(group, ..)| *group);
        Ok(restored)
    }

    /// An operator's state, one key group after the other: all of it may be more than fits into memory.
    pub fn groups<'a>(
        &'a self,
        manifest: &'a Manifest,
        operator: &'a str,
    ) -> impl Iterator<Item = Result<Restored, SnapshotError>> + 'a {
        let numbers = manifest.operators.get(operator).into_iter().flat_map(|of| of.keys());
        numbers.flat_map(move |number| {
            match self.read_state(manifest, operator, |group| group.0 == *number) {
                Ok(groups) => groups.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// Reads all of a snapshot.
    ///
    /// # Errors
    /// When a part is missing or damaged: the error names the first that is.
    pub fn check(&self, manifest: &Manifest) -> Result<(), SnapshotError> {
        let mut operators = manifest.operators.keys();
        operators.try_for_each(|name| self.groups(manifest, name).try_for_each(|g| g.map(drop)))
    }

    /// The first object that a snapshot needs and that is not there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn missing(&self, manifest: &Manifest) -> Result<Option<String>, StoreError> {
        let there = BTreeSet::from_iter(self.names(SEGMENTS)?);
        let missing = manifest.segments().find(|segment| !there.contains(*segment));
        Ok(missing.map(|segment| format!("{SEGMENTS}/{segment}")))
    }

    /// The names of all manifests, in order: newest last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn manifests(&self) -> Result<Vec<String>, StoreError> {
        self.names(MANIFESTS)
    }

    /// Parts of an object; one that is too short is not asked again.
    fn read_parts(&self, name: &str, parts: &[Range<u64>]) -> Result<Vec<Vec<u8>>, SnapshotError> {
        let error = match self.read_ranges(name, parts) {
            Err(error @ StoreError::Failed { .. }) => error,
            other => return Ok(other?),
        };
        let expected = parts.iter().map(|part| part.end).max().unwrap_or_default();
        match self.size(name) {
            Ok(found) if found < expected => {
                Err(SnapshotError::CutShort { segment: name.to_string(), expected, found })
            }
            _ => Err(error.into()),
        }
    }
}

fn sum(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// The end of a manifest: JSON, too, so that tools read on.
fn checksum_line(bytes: &[u8]) -> String {
    format!("\n\"{}\"\n", sum(bytes))
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
