//! With how many partitions each start has written its topics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Generation, SnapshotError, Store, StoreError};

const FOLDER: &str = "outputs";
const VERSION: u32 = 1;

/// `outputs/GENERATION`, the number in twenty digits.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outputs {
    v: u32,
    /// The number of partitions of each topic.
    partitions: BTreeMap<String, usize>,
}

impl Store {
    /// Records with how many partitions this generation writes each topic, before it writes any.
    ///
    /// # Errors
    /// When the store does not do it.
    pub fn write_outputs(
        &self,
        own: Generation,
        partitions: BTreeMap<String, usize>,
    ) -> Result<(), SnapshotError> {
        let text = serde_json::to_vec(&Outputs { v: VERSION, partitions });
        let text = text.expect("names and numbers are JSON");
        self.create_as(own, &format!("{FOLDER}/{:020}", own.0), &text)?;
        // Of those before, the last may be asked for by a start that is under way.
        let names = self.names(FOLDER)?;
        for name in names.iter().rev().skip(2) {
            self.remove(&format!("{FOLDER}/{name}"))?;
        }
        Ok(())
    }

    /// Whether some generation has recorded its outputs: it had written the job's own topics before.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn has_outputs(&self) -> Result<bool, StoreError> {
        Ok(!self.names(FOLDER)?.is_empty())
    }

    /// What the last generation before this one has recorded that has written anything.
    ///
    /// # Errors
    /// When the store does not answer, or the record is none of this version.
    pub fn outputs_before(
        &self,
        own: Generation,
    ) -> Result<BTreeMap<String, usize>, SnapshotError> {
        let (limit, names) = (format!("{:020}", own.0), self.names(FOLDER)?);
        let Some(name) = names.iter().rev().find(|name| **name < limit) else {
            return Ok(BTreeMap::new());
        };
        let text = self.read(&format!("{FOLDER}/{name}"))?;
        let wrong = |reason: String| SnapshotError::Outputs { name: name.clone(), reason };
        let found: Outputs = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        match found.v {
            VERSION => Ok(found.partitions),
            other => Err(wrong(format!("expected version {VERSION}, found {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_what_the_last_start_has_written_is_found_and_older_records_go() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let store =
            Store::open(folder.path().to_str().expect("plain"), "fleet").expect("it is there");
        let outputs = |n: usize| BTreeMap::from([("windows".to_string(), n)]);
        assert!(!store.has_outputs().expect("it answers"));
        assert_eq!(store.outputs_before(Generation(1)).expect("it answers"), BTreeMap::new());
        for generation in [1, 2, 4] {
            let partitions = outputs(generation as usize);
            store.create(&format!("generation/{generation:020}"), Vec::new()).expect("it works");
            store.write_outputs(Generation(generation), partitions).expect("it works");
        }
        let text = store.read("outputs/00000000000000000004").expect("it is there");
        assert_eq!(String::from_utf8(text).expect("text"), r#"{"v":1,"partitions":{"windows":4}}"#);
        assert_eq!(store.outputs_before(Generation(5)).expect("it answers"), outputs(4));
        assert_eq!(store.outputs_before(Generation(4)).expect("it answers"), outputs(2));
        assert!(store.has_outputs().expect("it answers"));
        assert_eq!(store.names("outputs").expect("it answers").len(), 2);
        store
            .create("outputs/00000000000000000007", b"{\"v\":2,\"partitions\":{}}".to_vec())
            .expect("it works");
        let told = store.outputs_before(Generation(8)).expect_err("another version").to_string();
        assert!(told.contains("expected version 1, found 2"), "{told}");
    }
}
