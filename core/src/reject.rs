//! Records that could not be used, and why.

use serde::{Deserialize, Serialize};

use crate::EventTime;

/// Why one record was rejected. The name is the value of the `error` header and the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are not what the format asks for (not JSON, cut off, not UTF-8, empty).
    Malformed,
    /// A field is there with another type or an impossible value.
    WrongType,
    /// A required field is not there.
    MissingField,
    /// A number is NaN, infinite or beyond what is kept exactly.
    NotFinite,
    /// The device id is not 1 to 64 of the allowed characters.
    BadDeviceId,
    /// The record's key is not there, is none of this topic's, or is not the one that its value names.
    BadKey,
    /// The event time lies further after the record's Kafka timestamp than `max_future`.
    FutureTime,
    /// The record has no Kafka timestamp, so that nothing bounds its event time.
    NoTimestamp,
    /// A model could not score the row.
    NotScored,
    /// The record came after all that it is of was over.
    Late,
}

impl Reason {
    /// The name used in headers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::WrongType => "wrong_type",
            Reason::MissingField => "missing_field",
            Reason::NotFinite => "not_finite",
            Reason::BadDeviceId => "bad_device_id",
            Reason::BadKey => "bad_key",
            Reason::FutureTime => "future_time",
            Reason::NoTimestamp => "no_timestamp",
            Reason::NotScored => "not_scored",
            Reason::Late => "late",
        }
    }
}

/// Bytes that did not decode, with the reason and what was expected and found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct DecodeError {
    /// The kind of fault.
    pub reason: Reason,
    /// What was expected and what was found.
    pub detail: String,
}

/// Where a record came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The topic, or the file or test source that stands for one.
    pub topic: String,
    /// The partition within it.
    pub partition: i32,
    /// The record's offset in its partition.
    pub offset: i64,
    /// The record's Kafka timestamp in milliseconds, where it has one.
    pub timestamp: Option<EventTime>,
}

/// One record that goes to the dead-letter topic instead of on through the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rejected {
    /// The name of the operator that gave it up.
    pub operator: String,
    /// The kind of fault.
    pub reason: Reason,
    /// What was expected and what was found.
    pub detail: String,
    /// Where the record came from.
    pub origin: Origin,
    /// The record's own key, unchanged.
    pub key: Option<Vec<u8>>,
    /// The record's own bytes, unchanged.
    pub payload: Option<Vec<u8>>,
    /// The record's own headers, unchanged.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Rejected {
    /// About how many bytes it takes in memory.
    pub fn size(&self) -> usize {
        let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let header = |(name, value): &(String, Option<Vec<u8>>)| 48 + name.len() + len(value);
        let headers: usize = self.headers.iter().map(header).sum();
        let texts = self.operator.len() + self.detail.len() + self.origin.topic.len();
        size_of::<Self>() + texts + len(&self.key) + len(&self.payload) + headers
    }
}
