//! Where one partition stands: how far it is read, whether it is idle, whether it is held back.

use std::time::Duration;

use tideflow_core::prometheus::Gauge;
use tideflow_core::{Cuts, Epoch, EventTime, PartState, ResumePart};

use crate::Watermark;

/// A partition that is read on this worker.
pub(super) struct Partition {
    /// Where reading it began, until a cut has told it.
    pub first_offset: Option<i64>,
    /// The offset of the next record.
    pub next: i64,
    /// What is to be replayed of it.
    pub cuts: Cuts,
    pub watermark: Watermark,
    /// The watermark after the first record.
    first: EventTime,
    /// Where its end was told, since the last record.
    told_end: Option<i64>,
    /// The clock at the first cut at which it was quiet at its end, while it is.
    quiet_since: Option<i64>,
    /// Where reading ends, in a run over history.
    end: Option<i64>,
    /// Held back, because it is too far ahead of the others.
    pub paused: bool,
    pub lag: Gauge,
}

impl Partition {
    pub fn new(next: i64, end: Option<i64>, out_of_orderness: Duration, lag: Gauge) -> Self {
        Partition {
            first_offset: Some(next),
            next,
            cuts: Cuts::default(),
            watermark: Watermark::new(out_of_orderness),
            first: EventTime::MIN,
            told_end: None,
            quiet_since: None,
            end,
            paused: false,
            lag,
        }
    }

    /// Goes on where an earlier start has been.
    #[must_use]
    pub fn resumed(self, at: ResumePart) -> Self {
        let ResumePart { watermark, cuts, .. } = at;
        let (first, watermark) = (watermark, self.watermark.at(watermark));
        Partition { first_offset: None, first, watermark, cuts, ..self }
    }

    /// Whether the record at `offset` is to be read: false beyond the end of a run over history, which
    /// may lie behind markers of transactions, where no record is.
    #[inline]
    pub fn takes(&mut self, offset: i64) -> bool {
        match self.end {
            Some(end) if offset >= end => {
                self.next = self.next.max(end);
                false
            }
            _ => {
                self.next = offset + 1;
                self.told_end = None;
                true
            }
        }
    }

    /// Takes a good record into account. A rejected one says nothing of time: it makes no partition
    /// wait that was quiet before.
    #[inline]
    pub fn saw(&mut self, at: EventTime) {
        self.watermark.saw(at);
        self.quiet_since = None;
        if self.first == EventTime::MIN {
            self.first = self.watermark.value();
        }
    }

    /// A broker has told the end.
    pub fn end_at(&mut self, offset: i64) {
        self.told_end = Some(offset);
        // Markers of transactions lie behind the last record: nothing of ours is there.
        if self.end.is_some_and(|end| offset >= end) {
            self.next = self.next.max(offset);
        }
    }

    /// Ends it here if all that lies before `time` has come.
    #[inline]
    pub fn end_behind(&mut self, time: EventTime) {
        if self.watermark.value() >= time {
            self.end = Some(self.next);
        }
    }

    /// There may be more: it holds time back until it was quiet at its end anew.
    pub fn doubt_end(&mut self) {
        (self.told_end, self.quiet_since) = (None, None);
    }

    /// How far it is read, with the markers of transactions that lie behind its last record.
    pub fn position(&self) -> i64 {
        self.told_end.map_or(self.next, |end| end.max(self.next))
    }

    pub fn ended(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Its part in the watermark at a cut. `high` is the offset behind its newest record, as far as is
    /// known: an end told before it is that of the records which can be read, with a transaction open
    /// behind them.
    pub fn state(&mut self, wall_ms: i64, idle_after: Duration, high: Option<i64>) -> PartState {
        if self.ended() {
            return PartState::Ended;
        }
        if self.told_end.zip(high).is_none_or(|(end, high)| end < high) {
            return PartState::Active;
        }
        let since = *self.quiet_since.get_or_insert(wall_ms);
        let quiet = i64::try_from(idle_after.as_millis()).unwrap_or(i64::MAX);
        if wall_ms - since >= quiet { PartState::Idle } else { PartState::Active }
    }

    /// Whether reading on would be of no use yet, or ever.
    fn is_ahead(&self, watermark: EventTime, max_ahead: Duration) -> bool {
        if self.ended() {
            return true;
        }
        // Before the graph has a watermark, this partition's own beginning stands for it.
        let from = if watermark == EventTime::MIN { self.first } else { watermark };
        // Let go only at half the distance: a pause throws away what was fetched ahead.
        let limit = if self.paused { max_ahead / 2 } else { max_ahead };
        self.watermark.value() > from.plus(limit)
    }
}

/// Which of these partitions to hold back and which to let go from where, now that the graph is at
/// `watermark`. One held back is unread, so its end is in doubt.
pub(super) fn hold_back(
    partitions: &mut [Option<Partition>],
    watermark: EventTime,
    max_ahead: Duration,
) -> (Vec<i32>, Vec<(i32, i64)>) {
    let (mut pause, mut resume) = (Vec::new(), Vec::new());
    for (number, partition) in partitions.iter_mut().enumerate() {
        let Some(p) = partition else { continue };
        let ahead = p.is_ahead(watermark, max_ahead);
        if ahead != p.paused {
            p.paused = ahead;
            p.doubt_end();
            if ahead { pause.push(number as i32) } else { resume.push((number as i32, p.next)) }
        }
    }
    (pause, resume)
}

/// As [`hold_back`], while epochs up to `to` are replayed: no partition is read beyond them, nor further
/// ahead of the others than when they were cut.
pub(super) fn hold_back_replay(
    partitions: &mut [Option<Partition>],
    to: Epoch,
    ahead_max: u64,
) -> (Vec<i32>, Vec<(i32, i64)>) {
    let limit = replayed(partitions, to) + ahead_max;
    let (mut pause, mut resume) = (Vec::new(), Vec::new());
    for (number, partition) in partitions.iter_mut().enumerate() {
        let Some(p) = partition else { continue };
        let ahead = p.cuts.is_empty() || p.cuts.reached(to) > limit;
        if ahead != p.paused {
            p.paused = ahead;
            p.doubt_end();
            if ahead { pause.push(number as i32) } else { resume.push((number as i32, p.next)) }
        }
    }
    (pause, resume)
}

/// The last epoch of which all partitions are read again, of those up to `to`.
pub(super) fn replayed(partitions: &[Option<Partition>], to: Epoch) -> Epoch {
    let reached = partitions.iter().flatten().map(|p| p.cuts.reached(to));
    reached.min().unwrap_or(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE_AFTER: Duration = Duration::from_millis(100);
    const MAX_AHEAD: Duration = Duration::from_millis(5_000);

    fn from(next: i64, end: Option<i64>) -> Partition {
        let lag = Gauge::new("lag", "lag").expect("well formed");
        Partition::new(next, end, Duration::ZERO, lag)
    }

    fn at(times: &[i64]) -> Option<Partition> {
        let mut partition = from(0, None);
        times.iter().for_each(|at| partition.saw(EventTime(*at)));
        Some(partition)
    }

    #[test]
    fn a_partition_that_runs_ahead_is_held_back_until_the_others_are_near() {
        let mut partitions = [at(&[1_000]), None, at(&[9_000])];
        let mut ask = |watermark| hold_back(&mut partitions, EventTime(watermark), MAX_AHEAD);
        assert_eq!(ask(1_000), (vec![2], vec![]));
        assert_eq!(ask(5_000), (vec![], vec![]));
        assert_eq!(ask(7_000), (vec![], vec![(2, 0)]));
        assert_eq!(ask(EventTime::MAX.0), (vec![], vec![]));
    }

    #[test]
    fn before_the_graph_has_a_watermark_a_partition_runs_ahead_of_its_own_beginning() {
        let mut partitions = [at(&[]), at(&[1_000, 5_900]), at(&[1_000, 6_100])];
        let mut ask = |watermark| hold_back(&mut partitions, EventTime(watermark), MAX_AHEAD);
        assert_eq!(ask(EventTime::MIN.0), (vec![2], vec![]));
        assert_eq!(ask(5_000), (vec![], vec![(2, 0)]));
    }

    #[test]
    fn a_partition_is_idle_only_after_it_was_quiet_at_its_end() {
        let mut p = from(0, None);
        let mut ask = |read: bool, end: Option<i64>, wall| {
            if read {
                assert!(p.takes(0));
                p.saw(EventTime(1));
            }
            end.into_iter().for_each(|end| p.end_at(end));
            p.state(wall, IDLE_AFTER, Some(1))
        };
        assert_eq!(ask(true, None, 0), PartState::Active);
        assert_eq!(ask(false, Some(1), 1_000), PartState::Active);
        assert_eq!(ask(false, None, 1_099), PartState::Active);
        assert_eq!(ask(false, None, 1_100), PartState::Idle);
        // Between two cuts it was read to its end again: it was not quiet.
        assert_eq!(ask(true, Some(1), 1_200), PartState::Active);
        assert_eq!(ask(false, None, 1_299), PartState::Active);
        assert_eq!(ask(false, None, 1_300), PartState::Idle);
        assert_eq!(ask(true, None, 1_400), PartState::Active);
    }

    #[test]
    fn a_partition_ends_where_all_before_a_time_has_come_and_is_read_no_further() {
        let mut p = from(0, Some(9));
        for (offset, at) in [(0, 1_000), (1, 4_999)] {
            assert!(p.takes(offset));
            p.saw(EventTime(at));
            p.end_behind(EventTime(5_000));
        }
        assert!(!p.ended());
        assert!(p.takes(2));
        p.saw(EventTime(5_000));
        p.end_behind(EventTime(5_000));
        assert!(p.ended() && !p.takes(3));
        let mut partitions = [Some(p)];
        let held = hold_back(&mut partitions, EventTime::MAX, MAX_AHEAD);
        assert_eq!(held, (vec![0], vec![]), "the others may take long");
    }

    #[test]
    fn records_that_cannot_be_read_yet_keep_a_partition_from_being_idle() {
        let mut p = from(5, None);
        p.end_at(5);
        assert_eq!(p.state(0, IDLE_AFTER, Some(5)), PartState::Active);
        assert_eq!(p.state(200, IDLE_AFTER, Some(6)), PartState::Active);
        p.end_at(7);
        assert_eq!(p.state(400, IDLE_AFTER, Some(7)), PartState::Idle);
        assert_eq!(p.state(400, IDLE_AFTER, None), PartState::Active);
    }

    #[test]
    fn markers_behind_the_last_record_are_not_left_to_be_read() {
        let mut p = from(3, None);
        assert!(p.takes(3));
        assert_eq!((p.next, p.position()), (4, 4));
        p.end_at(5);
        assert_eq!((p.next, p.position()), (4, 5));
        assert!(p.takes(5));
        assert_eq!(p.position(), 6);
    }

    #[test]
    fn a_partition_that_was_held_back_at_its_end_is_not_idle() {
        let mut partitions = [at(&[1_000, 9_000])];
        let state = |partitions: &mut [Option<Partition>], wall| {
            partitions[0].as_mut().expect("made").state(wall, IDLE_AFTER, Some(0))
        };
        partitions[0].as_mut().expect("made").end_at(0);
        assert_eq!(state(&mut partitions, 0), PartState::Active);
        assert_eq!(state(&mut partitions, 100), PartState::Idle);
        hold_back(&mut partitions, EventTime(1_000), MAX_AHEAD);
        assert_eq!(state(&mut partitions, 200), PartState::Active);
        hold_back(&mut partitions, EventTime(9_000), MAX_AHEAD);
        assert_eq!(state(&mut partitions, 300), PartState::Active);
    }

    #[test]
    fn rejected_records_make_no_quiet_partition_wait() {
        let mut p = from(0, None);
        p.end_at(0);
        assert_eq!(p.state(0, IDLE_AFTER, Some(0)), PartState::Active);
        assert_eq!(p.state(100, IDLE_AFTER, Some(0)), PartState::Idle);
        assert!(p.takes(0));
        p.end_at(1);
        assert_eq!(p.state(150, IDLE_AFTER, Some(1)), PartState::Idle);
    }

    #[test]
    fn a_run_over_history_takes_nothing_beyond_its_end() {
        // The last record before the end lies at 3; markers follow, then a newer record.
        let mut p = from(0, Some(5));
        assert!(p.takes(3) && !p.ended());
        assert!(!p.takes(5) && p.ended());
        assert_eq!((p.next, p.state(0, IDLE_AFTER, Some(6))), (5, PartState::Ended));
        let mut p = from(0, Some(5));
        assert!(p.takes(3));
        p.end_at(5);
        assert!(p.ended());
    }
}
