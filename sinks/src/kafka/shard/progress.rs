//! The records of the progress topic, version 1: partition i for shard i, key the shard's number,
//! value JSON. They are written only inside a transaction of their shard.
//!
//! ```text
//! {"v":1,"generation":4,"shard":0,"epoch":17}                  all epochs up to 17 are published
//! {"v":1,"generation":4,"shard":0,"epoch":null}                sentinel: the generation has begun
//! {"v":1,"generation":4,"shard":0,"epoch":null,"manifest":{"generation":4,"epoch":16,"name":"…"}}
//! ```

use serde::{Deserialize, Serialize};
use tideflow_core::Epoch;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// A manifest that counts, since shard 0 has committed its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The generation that wrote it.
    pub generation: u64,
    /// The epoch of its snapshot.
    pub epoch: Epoch,
    /// Its name in the state store.
    pub name: String,
}

/// What a transaction says of its shard's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A generation has begun: what comes before is all that earlier ones have left.
    Sentinel,
    /// All of the shard's records of epochs up to this one are published, by this transaction or
    /// before it.
    Published(Epoch),
    /// A manifest counts from now on; on shard 0 only.
    Manifest(Manifest),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    generation: u64,
    shard: u32,
    epoch: Option<Epoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<Manifest>,
}

impl Note {
    pub(crate) fn encode(&self, generation: u64, shard: u32) -> Vec<u8> {
        let (epoch, manifest) = match self {
            Note::Sentinel => (None, None),
            Note::Published(epoch) => (Some(*epoch), None),
            Note::Manifest(manifest) => (None, Some(manifest.clone())),
        };
        let wire = Wire { v: VERSION, generation, shard, epoch, manifest };
        serde_json::to_vec(&wire).expect("numbers and text")
    }

    /// The note and the generation that wrote it, or what is wrong with the record.
    pub(crate) fn decode(bytes: &[u8], shard: u32) -> Result<(u64, Note), String> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let text = |error: serde_json::Error| error.to_string();
        let Version { v } = serde_json::from_slice(bytes).map_err(text)?;
        if v != VERSION {
            return Err(format!("a record of version {v}, expected {VERSION}"));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(text)?;
        if wire.shard != shard {
            return Err(format!("a record of shard {}, expected {shard}", wire.shard));
        }
        let note = match (wire.epoch, wire.manifest) {
            (None, None) => Note::Sentinel,
            (Some(epoch), None) => Note::Published(epoch),
            (None, Some(manifest)) if shard == 0 => Note::Manifest(manifest),
            (None, Some(_)) => return Err("a manifest, which only shard 0 has".to_string()),
            (Some(_), Some(_)) => return Err("both an epoch and a manifest".to_string()),
        };
        Ok((wire.generation, note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_notes_are_written_and_read_as_documented() {
        let manifest = Manifest { generation: 4, epoch: 16, name: "m/4-16".to_string() };
        for (note, text) in [
            (Note::Published(17), r#"{"v":1,"generation":4,"shard":0,"epoch":17}"#),
            (Note::Sentinel, r#"{"v":1,"generation":4,"shard":0,"epoch":null}"#),
            (
                Note::Manifest(manifest),
                r#"{"v":1,"generation":4,"shard":0,"epoch":null,"manifest":{"generation":4,"epoch":16,"name":"m/4-16"}}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(note.encode(4, 0)).unwrap(), text);
            assert_eq!(Note::decode(text.as_bytes(), 0).unwrap(), (4, note));
        }
    }

    #[test]
    fn a_record_that_none_of_us_wrote_is_refused() {
        for (text, found) in [
            ("x", "expected value"),
            (r#"{"v":2,"more":1}"#, "a record of version 2, expected 1"),
            (r#"{"v":1,"generation":4,"shard":2,"epoch":1}"#, "a record of shard 2, expected 1"),
            (
                r#"{"v":1,"generation":4,"shard":1,"epoch":null,"manifest":{"generation":4,"epoch":1,"name":""}}"#,
                "only shard 0",
            ),
            (r#"{"v":1,"shard":1,"epoch":1}"#, "generation"),
        ] {
            let error = Note::decode(text.as_bytes(), 1).unwrap_err();
            assert!(error.contains(found), "{error}");
        }
    }
}
