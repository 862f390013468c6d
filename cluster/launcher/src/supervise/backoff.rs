//! How long to wait before a start.

use std::time::Duration;

/// A program that has run for so long has started well: the next wait is the first again.
const SETTLED: Duration = Duration::from_secs(10);

/// Waits that double from the first to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits from `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { next: min, min, max: max.max(min) }
    }

    /// The wait before the next start, after a run of this time.
    pub fn after(&mut self, ran: Duration) -> Duration {
        if ran >= SETTLED {
            self.next = self.min;
        }
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_the_longest_and_begin_anew_after_a_good_run() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(200), ms(1_000));
        let waits: Vec<_> = (0..4).map(|_| backoff.after(ms(50)).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_000]);
        assert_eq!(backoff.after(SETTLED), ms(200));
        assert_eq!(backoff.after(ms(1)), ms(400));
    }
}
