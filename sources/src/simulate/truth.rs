//! What a perfect pipeline would make of the messages sent so far.

use super::fault::Fault;
use super::payload::Malformed;

/// What should become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counted in the window its `ts` falls into, faulty machine or not.
    Good,
    /// A true reading, but its window closed long ago: for the late topic.
    Late,
    /// Its `ts` lies far in the future of its Kafka timestamp: to be rejected.
    BadClock,
    /// No reading: to be rejected.
    Malformed(Malformed),
}

/// Messages sent so far, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings that belong in a window.
    pub good: u64,
    /// Readings far too late.
    pub late: u64,
    /// Readings with a clock far ahead.
    pub bad_clock: u64,
    /// Malformed messages, in the order of [`Malformed::ALL`].
    pub malformed: [u64; Malformed::ALL.len()],
}

impl Counts {
    /// All messages.
    pub fn total(&self) -> u64 {
        self.good + self.late + self.rejected()
    }

    /// Messages for the dead-letter topic: bad clocks and malformed bytes.
    pub fn rejected(&self) -> u64 {
        self.bad_clock + self.malformed.iter().sum::<u64>()
    }

    pub(super) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Good => self.good += 1,
            Kind::Late => self.late += 1,
            Kind::BadClock => self.bad_clock += 1,
            Kind::Malformed(how) => self.malformed[how as usize] += 1,
        }
    }
}

/// The sum of what a fleet has sent so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Messages by kind.
    pub counts: Counts,
    /// The faults of the configuration, by device and onset.
    pub faults: Vec<Fault>,
}
