//! A record of the log of bindings, and its form in Kafka.

use serde::{Deserialize, Serialize};
use tideflow_core::{Binding, Ruling};

use crate::Generation;

/// What the log of bindings holds, in the order of its offsets.
///
/// In Kafka each is a record without a key whose value is a JSON object:
///
/// ```text
/// {"v":1,"generation":3,"marker":true}
/// {"v":1,"generation":3,"ruling":{"epoch":17,"operator":"health","ruled":"…"}}
/// {"v":1,"generation":3,"binding":{"epoch":17,"parts":[{"source":"readings","partition":0,
///   "from":4000,"next":4711,"watermark":1700000000000,"state":"active"}],"watermark":1700000000000,
///   "wall_ms":1700000010000,"ending":"no","chosen":{"health":"4f2a:256:health/7"}}}
/// ```
///
/// `v` is the version of the form: another one is refused, never guessed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// This generation has fenced all before it: what they add behind this does not count.
    Marker(Generation),
    /// What an epoch holds, as this generation has cut it.
    Binding(Generation, Binding),
    /// What becomes of records of an epoch that this generation, or one before, has cut.
    Ruling(Generation, Ruling),
}

/// A record that is no entry of this version.
#[derive(Debug, thiserror::Error)]
#[error("expected an entry of version {VERSION} of the log of bindings: {0}")]
pub struct EntryError(String);

const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Form {
    v: u32,
    generation: Generation,
    #[serde(default, skip_serializing_if = "is_false")]
    marker: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    binding: Option<Binding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ruling: Option<Ruling>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Entry {
    /// Who wrote it.
    pub fn generation(&self) -> Generation {
        match self {
            Entry::Marker(generation)
            | Entry::Binding(generation, _)
            | Entry::Ruling(generation, _) => *generation,
        }
    }

    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let (marker, binding, ruling) = match self {
            Entry::Marker(_) => (true, None, None),
            Entry::Binding(_, binding) => (false, Some(binding.clone()), None),
            Entry::Ruling(_, ruling) => (false, None, Some(ruling.clone())),
        };
        let form = Form { v: VERSION, generation: self.generation(), marker, binding, ruling };
        serde_json::to_vec(&form).expect("numbers and texts are JSON")
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// When it is not one of [`Entry::encode`], of this version.
    pub fn decode(value: &[u8]) -> Result<Entry, EntryError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let version: Version = read(value)?;
        if version.v != VERSION {
            return Err(EntryError(format!("found version {}", version.v)));
        }
        match read(value)? {
            Form { generation, marker: true, binding: None, ruling: None, .. } => {
                Ok(Entry::Marker(generation))
            }
            Form { generation, marker: false, binding: Some(binding), ruling: None, .. } => {
                Ok(Entry::Binding(generation, binding))
            }
            Form { generation, marker: false, binding: None, ruling: Some(ruling), .. } => {
                Ok(Entry::Ruling(generation, ruling))
            }
            _ => Err(EntryError(
                "found none of marker, binding and ruling, or more than one".to_string(),
            )),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, EntryError> {
    serde_json::from_slice(value).map_err(|error| EntryError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use tideflow_core::{Chosen, Ending, EventTime, Part, PartState};

    use super::*;

    fn binding() -> Binding {
        let (source, watermark) = ("readings".to_string(), EventTime(1_700_000_000_000));
        let state = PartState::Active;
        let part = Part { source, partition: 0, from: Some(4_000), next: 4_711, watermark, state };
        let wall_ms = 1_700_000_010_000;
        let (parts, ending) = (vec![part], Ending::No);
        Binding { epoch: 17, parts, watermark, wall_ms, ending, chosen: Chosen::default() }
    }

    #[test]
    fn golden_entries_are_written_as_documented_and_read_back() {
        let part = r#"{"source":"readings","partition":0,"from":4000,"next":4711,"watermark":1700000000000,"state":"active"}"#;
        let binding_text = format!(
            r#"{{"v":1,"generation":3,"binding":{{"epoch":17,"parts":[{part}],"watermark":1700000000000,"wall_ms":1700000010000,"ending":"no","chosen":{{}}}}}}"#
        );
        let chosen = [("health", "4f2a:256:health/7")].into_iter().collect();
        let (operator, ruled) = ("health".to_string(), "none".to_string());
        let ruling = Ruling { epoch: 17, operator, ruled };
        let with_choice = binding_text.replace("{}", r#"{"health":"4f2a:256:health/7"}"#);
        for (entry, text) in [
            (Entry::Binding(Generation(3), Binding { chosen, ..binding() }), with_choice.as_str()),
            (Entry::Marker(Generation(3)), r#"{"v":1,"generation":3,"marker":true}"#),
            (
                Entry::Ruling(Generation(3), ruling),
                r#"{"v":1,"generation":3,"ruling":{"epoch":17,"operator":"health","ruled":"none"}}"#,
            ),
            (Entry::Binding(Generation(3), binding()), binding_text.as_str()),
        ] {
            assert_eq!(String::from_utf8(entry.encode()).expect("JSON is text"), text);
            assert_eq!(Entry::decode(text.as_bytes()).expect("it is one"), entry);
        }
        // As it was before anything was chosen.
        let before = binding_text.replace(",\"chosen\":{}", "");
        let decoded = Entry::decode(before.as_bytes()).expect("it is one");
        assert_eq!(decoded, Entry::Binding(Generation(3), binding()));
    }

    #[test]
    fn what_is_no_entry_of_this_version_is_refused() {
        for (text, why) in [
            (r#"{"v":2,"era":3}"#, "found version 2"),
            (r#"{"v":1,"generation":3}"#, "found none of marker"),
            (r#"{"v":1,"generation":3,"marker":true,"more":1}"#, "unknown field `more`"),
            (
                r#"{"v":1,"generation":3,"binding":{"epoch":1,"models":{}}}"#,
                "unknown field `models`",
            ),
            (r#"{"generation":3,"marker":true}"#, "missing field `v`"),
            ("", "EOF"),
        ] {
            let error = Entry::decode(text.as_bytes()).expect_err("it is none").to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
