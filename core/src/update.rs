//! What is said of keys, one after the other: a value, another one, none any more.

use serde::{Deserialize, Serialize};

use crate::{Event, EventTime};

/// What a key's value has become.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Update<K, V> {
    /// The key.
    pub key: K,
    /// Its value from now on; none: the key is gone.
    pub value: Option<V>,
}

/// An [`Update`] as a log tells it, and where in the log.
///
/// It has no time: what a registry says holds until it says something else, however old that is. If it
/// had its record's Kafka timestamp instead, a registry that nobody touches would hold all time back at
/// its last entry, and one that is written anew would push time ahead of the readings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upsert<K, V> {
    /// The partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
    /// The key.
    pub key: K,
    /// Its value from there on; none: the key is gone.
    pub value: Option<V>,
}

impl<K, V> Event for Upsert<K, V> {
    const TIMED: bool = false;

    fn event_time(&self) -> EventTime {
        EventTime::MIN
    }
}
