//! When each window could close: the moments from which latency is counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The moment at which the last partition let a window close, for each window.
///
/// A window closes when the watermark reaches its end, and the watermark is that of the slowest
/// partition: each partition's largest event time less the out-of-orderness bound. The reading that
/// makes it so is the one from which the window's results are counted.
pub struct Moments {
    partitions: usize,
    windows: Mutex<BTreeMap<i64, Window>>,
}

struct Window {
    passed: usize,
    last: Instant,
}

impl Moments {
    /// Of a topic of which this many partitions get readings.
    pub fn new(partitions: usize) -> Moments {
        Moments { partitions, windows: Mutex::default() }
    }

    /// The moment at which the window with this end could close; none while a partition holds it
    /// open.
    pub fn of(&self, window_end: i64) -> Option<Instant> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get(&window_end).filter(|w| w.passed == self.partitions)?;
        Some(window.last)
    }

    fn passed(&self, window_end: i64, at: Instant) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(window_end).or_insert(Window { passed: 0, last: at });
        window.passed += 1;
        window.last = window.last.max(at);
    }
}

/// The sender's side: what each partition's readings have let close so far.
pub struct Passing<'a> {
    moments: &'a Moments,
    length_ms: i64,
    bound_ms: i64,
    /// By partition, the largest window end that its watermark has reached.
    reached: Vec<i64>,
}

impl<'a> Passing<'a> {
    /// Before the first reading, which is taken at `start_ms` or later.
    pub fn new(
        moments: &'a Moments,
        partitions: usize,
        length_ms: i64,
        bound_ms: i64,
        start_ms: i64,
    ) -> Self {
        let first = start_ms.div_euclid(length_ms) * length_ms;
        Passing { moments, length_ms, bound_ms, reached: vec![first; partitions] }
    }

    /// Takes note of a reading, before it is given to the producer.
    pub fn saw(&mut self, partition: usize, ts_ms: i64) {
        let reached = (ts_ms - self.bound_ms).div_euclid(self.length_ms) * self.length_ms;
        if reached > self.reached[partition] {
            let now = Instant::now();
            while self.reached[partition] < reached {
                self.reached[partition] += self.length_ms;
                self.moments.passed(self.reached[partition], now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_could_close_when_its_last_partition_is_the_bound_past_its_end() {
        let moments = Moments::new(2);
        let mut passing = Passing::new(&moments, 3, 60_000, 10_000, 120_000);
        passing.saw(0, 189_999);
        assert!(moments.of(180_000).is_none(), "a millisecond short of the bound");
        passing.saw(0, 190_000);
        assert!(moments.of(180_000).is_none(), "the other partition holds it open");
        passing.saw(2, 189_000);
        let before = Instant::now();
        passing.saw(2, 191_000);
        assert!(moments.of(180_000).is_some_and(|at| at >= before));
        assert!(moments.of(120_000).is_none(), "it ended before the first reading");
    }

    #[test]
    fn a_reading_can_let_several_windows_close_and_an_older_one_none() {
        let moments = Moments::new(1);
        let mut passing = Passing::new(&moments, 1, 60_000, 10_000, 0);
        passing.saw(0, 200_000);
        let first = moments.of(60_000);
        assert!(first.is_some());
        assert_eq!((moments.of(120_000), moments.of(180_000)), (first, first));
        passing.saw(0, 100_000);
        assert_eq!(moments.of(60_000), first);
        assert!(moments.of(240_000).is_none());
    }
}
