//! What a perfect pipeline would make of the messages sent so far.

use super::fault::Fault;
use super::payload::Malformed;

/// Length of the windows that [`Truth`] counts, ms.
pub(super) const WINDOW_MS: i64 = 60_000;

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

/// One minute of event time, over all devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowTruth {
    /// Start of the minute, ms since the Unix epoch; a multiple of 60,000.
    pub start_ms: i64,
    /// Good readings with their `ts` in it.
    pub readings: u64,
    /// Devices with at least one of them: the number of window records to expect.
    pub devices: u64,
}

/// The sum of what a fleet has sent so far; 24 bytes a minute of event time.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// Messages by kind.
    pub counts: Counts,
    /// Minutes without a gap from the first to the last with a good reading.
    pub windows: Vec<WindowTruth>,
    /// The faults of the configuration, by device and onset.
    pub faults: Vec<Fault>,
}

/// Tells a device's first good reading in a window from its later ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowsSeen {
    /// One more than the index of the newest window seen, or 0.
    newest: u32,
    /// Whether the window before the newest was seen too.
    previous: bool,
}

impl WindowsSeen {
    /// Right while disorder stays within one window, which the configuration holds.
    fn is_first(&mut self, index: u32) -> bool {
        let window = index + 1;
        if window > self.newest {
            self.previous = window == self.newest + 1 && self.newest > 0;
            self.newest = window;
            return true;
        }
        window + 1 == self.newest && !std::mem::replace(&mut self.previous, true)
    }
}

impl Truth {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        Truth { counts: Counts::default(), windows: Vec::new(), faults }
    }

    /// Counts a message; `first_ms` is the earliest `ts` a good reading can have.
    pub(super) fn add(&mut self, kind: Kind, ts_ms: i64, first_ms: i64, seen: &mut WindowsSeen) {
        self.counts.add(kind);
        if kind != Kind::Good {
            return;
        }
        let first_window = first_ms.div_euclid(WINDOW_MS);
        let index = (ts_ms.div_euclid(WINDOW_MS) - first_window) as usize;
        while self.windows.len() <= index {
            let start_ms = (first_window + self.windows.len() as i64) * WINDOW_MS;
            self.windows.push(WindowTruth { start_ms, readings: 0, devices: 0 });
        }
        self.windows[index].readings += 1;
        self.windows[index].devices += u64::from(seen.is_first(index as u32));
    }
}
