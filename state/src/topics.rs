//! What each start has read and written: which cluster, which topics, and what its state meant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Generation, SnapshotError, Store};

const FOLDER: &str = "topics";
const VERSION: u32 = 1;

/// What a start reads and writes. The next one goes on at its offsets, so it must read the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// The cluster's own id; empty where the brokers have none.
    pub cluster: String,
    /// The topic of each source, by the source's name.
    pub inputs: BTreeMap<String, String>,
    /// With how many partitions each topic is written.
    pub outputs: BTreeMap<String, usize>,
    /// What the state of operators means beside its form, by their names; of those where something does.
    pub meanings: BTreeMap<String, String>,
}

/// `topics/GENERATION`, the number in twenty digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u32,
    cluster: String,
    inputs: BTreeMap<String, String>,
    outputs: BTreeMap<String, usize>,
    meanings: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl Store {
    /// Records what this generation reads and writes, when it has taken over and before it writes any.
    ///
    /// # Errors
    /// When the store does not do it.
    pub fn write_topics(&self, own: Generation, topics: Topics) -> Result<(), SnapshotError> {
        let Topics { cluster, inputs, outputs, meanings } = topics;
        let text = serde_json::to_vec(&Wire { v: VERSION, cluster, inputs, outputs, meanings });
        let text = text.expect("names and numbers are JSON");
        self.create_as(own, &format!("{FOLDER}/{:020}", own.0), &text)?;
        // Of those before, the last may be asked for by a start that is under way.
        let names = self.names(FOLDER)?;
        for name in names.iter().rev().skip(2) {
            self.remove(&format!("{FOLDER}/{name}"))?;
        }
        Ok(())
    }

    /// What the last generation has recorded that has come so far.
    ///
    /// # Errors
    /// Those of [`Store::topics_before`].
    pub fn topics(&self) -> Result<Option<Topics>, SnapshotError> {
        self.topics_before(Generation(u64::MAX))
    }

    /// What the last generation below this one has recorded; none where none has come so far.
    ///
    /// # Errors
    /// When the store does not answer, or the record is none of this version.
    pub fn topics_before(&self, generation: Generation) -> Result<Option<Topics>, SnapshotError> {
        let (limit, names) = (format!("{:020}", generation.0), self.names(FOLDER)?);
        let last = names.iter().rev().find(|name| **name < limit);
        last.map(|name| self.read_topics(name)).transpose()
    }

    /// What this generation has recorded, if it has yet.
    ///
    /// # Errors
    /// Those of [`Store::topics_before`].
    pub fn topics_of(&self, generation: Generation) -> Result<Option<Topics>, SnapshotError> {
        let name = format!("{:020}", generation.0);
        // A file system may keep for a while that there is none of a name; a listing it must not.
        match self.names(FOLDER)?.contains(&name) {
            true => self.read_topics(&name).map(Some),
            false => Ok(None),
        }
    }

    fn read_topics(&self, name: &str) -> Result<Topics, SnapshotError> {
        let text = self.read(&format!("{FOLDER}/{name}"))?;
        let wrong = |reason: String| SnapshotError::Topics { name: name.to_string(), reason };
        let Version { v } = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if v != VERSION {
            return Err(wrong(format!("expected version {VERSION}, found {v}")));
        }
        let found = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        let Wire { cluster, inputs, outputs, meanings, .. } = found;
        Ok(Topics { cluster, inputs, outputs, meanings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_what_the_last_starts_have_read_and_written_is_found_and_older_records_go() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let store =
            Store::open(folder.path().to_str().expect("plain"), "fleet").expect("it is there");
        let topics = |n: usize| Topics {
            cluster: "c".to_string(),
            inputs: BTreeMap::from([("readings".to_string(), "in".to_string())]),
            outputs: BTreeMap::from([("windows".to_string(), n)]),
            meanings: BTreeMap::from([("minutes".to_string(), "of 60 s".to_string())]),
        };
        let before = |generation| store.topics_before(Generation(generation)).expect("it answers");
        let of = |generation| store.topics_of(Generation(generation)).expect("it answers");
        assert_eq!((before(u64::MAX), of(1)), (None, None));
        for generation in [1, 2, 4] {
            store.create(&format!("generation/{generation:020}"), Vec::new()).expect("it works");
            let topics = topics(generation as usize);
            store.write_topics(Generation(generation), topics).expect("it works");
        }
        let text = store.read("topics/00000000000000000004").expect("it is there");
        let expected = r#"{"v":1,"cluster":"c","inputs":{"readings":"in"},"outputs":{"windows":4},"meanings":{"minutes":"of 60 s"}}"#;
        assert_eq!(String::from_utf8(text).expect("text"), expected);
        assert_eq!(
            (before(5), before(4), of(4)),
            (Some(topics(4)), Some(topics(2)), Some(topics(4)))
        );
        assert_eq!((of(3), store.names("topics").expect("it answers").len()), (None, 2));
        for (text, words) in [
            (r#"{"v":2,"more":1}"#, "expected version 1, found 2"),
            (
                r#"{"v":1,"cluster":"","inputs":{},"outputs":{},"meanings":{},"more":1}"#,
                "unknown field `more`",
            ),
        ] {
            store.create("topics/00000000000000000007", text.into()).expect("it works");
            let told = store.topics_before(Generation(8)).expect_err("another form").to_string();
            assert!(told.contains(words), "{told}");
            store.remove("topics/00000000000000000007").expect("it is there");
        }
    }
}
