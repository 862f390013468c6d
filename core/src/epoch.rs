//! Epochs and event time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A cut of the input: the timestamp of every stream. The first is 1; numbers are never reused.
pub type Epoch = u64;

/// Event time in milliseconds since 1970-01-01 UTC, as the device saw it.
///
/// Also used for watermarks, where [`EventTime::MIN`] says that nothing is known yet and
/// [`EventTime::MAX`] that no further record will come.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before every record.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every record.
    pub const MAX: EventTime = EventTime(i64::MAX);

    /// This time moved later; stays within [`EventTime::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        EventTime(self.0.saturating_add(millis(by)))
    }

    /// This time moved earlier; [`EventTime::MAX`] stays as it is.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        if self == Self::MAX { self } else { EventTime(self.0.saturating_sub(millis(by))) }
    }
}

impl std::fmt::Display for EventTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::MIN => f.write_str("none"),
            Self::MAX => f.write_str("end"),
            EventTime(ms) => write!(f, "{ms}"),
        }
    }
}

/// What has a time of its own. Watermarks and windows go by it.
pub trait Event {
    /// Whether records of this kind have a time at all. The partitions of a source whose records have none
    /// count as idle from the start: they neither hold the watermark back nor move it.
    const TIMED: bool = true;

    /// When it happened, by the device's clock.
    fn event_time(&self) -> EventTime;
}

/// A span of `n` minutes.
pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// A span of `n` seconds.
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A span in whole milliseconds, as event time counts.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
