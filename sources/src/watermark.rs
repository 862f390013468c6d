//! How far event time has come in one partition.

use std::time::Duration;

use tideflow_core::EventTime;

/// A partition's watermark: its largest event time less the out-of-orderness bound. A function of
/// what was read, so a replay computes the same.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    largest: EventTime,
    bound: Duration,
}

impl Watermark {
    /// Nothing seen yet.
    pub fn new(out_of_orderness: Duration) -> Self {
        Watermark { largest: EventTime::MIN, bound: out_of_orderness }
    }

    /// As it stood at `value`.
    #[must_use]
    pub fn at(self, value: EventTime) -> Self {
        let largest = if value == EventTime::MIN { value } else { value.plus(self.bound) };
        Watermark { largest, ..self }
    }

    /// Takes a record's event time into account.
    #[inline]
    pub fn saw(&mut self, at: EventTime) {
        self.largest = self.largest.max(at);
    }

    /// The watermark; [`EventTime::MIN`] before the first record.
    pub fn value(&self) -> EventTime {
        self.largest.minus(self.bound)
    }
}
