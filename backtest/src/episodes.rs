//! From when to when an alarm stood, and which of one side is which of the other.

use serde::Serialize;
use tideflow_core::EventTime;
use tideflow_operators::AlarmState;

/// An alarm of a device, from when it was raised to when it was cleared or expired. Times are the starts of the
/// windows that made it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Episode {
    /// None: before the time that is compared.
    pub raised: Option<i64>,
    /// None: it stood at the end.
    pub ended: Option<i64>,
    /// It ended because its device was silent: no model's doing.
    pub expired: bool,
}

/// What became of one alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Only the replay has it.
    New(Episode),
    /// Only what was published has it.
    Gone(Episode),
    /// Both have it, raised or cleared at another time: first the published one.
    Moved(Episode, Episode),
    /// Both have it at the same times, as far as they can be compared.
    Unchanged,
    /// It was raised before the time: whether the replay, which begins with nothing, has raised it again.
    Before { again: bool },
}

impl Episode {
    fn of_open(raised: Option<i64>) -> Self {
        Episode { raised, ended: None, expired: false }
    }

    /// Whether both stood at some time.
    fn overlaps(&self, other: &Episode) -> bool {
        let begin = |e: &Episode| e.raised.unwrap_or(i64::MIN);
        // One that expired stood in the last window of its device still.
        let end = |e: &Episode| e.ended.map_or(i64::MAX, |end| end + i64::from(e.expired));
        begin(self) < end(other) && begin(other) < end(self)
    }

    fn cleared(&self) -> Option<i64> {
        self.ended.filter(|_| !self.expired)
    }
}

/// The episodes of one alarm of a device, of its changes in order of time.
pub(crate) fn episodes(
    changes: impl IntoIterator<Item = (EventTime, AlarmState)>,
    from: EventTime,
) -> Vec<Episode> {
    let mut episodes = Vec::<Episode>::new();
    for (at, state) in changes {
        let first = episodes.is_empty();
        let open = episodes.last_mut().filter(|last| last.ended.is_none());
        let raised = (at >= from).then_some(at.0);
        match (state, open) {
            (AlarmState::Raised, None) => episodes.push(Episode::of_open(raised)),
            (AlarmState::Raised, Some(_)) => {}
            (end, open) => {
                let ended = (Some(at.0), end == AlarmState::Expired);
                match open {
                    Some(open) => (open.ended, open.expired) = ended,
                    // Nobody has seen it raised: that was before.
                    None if first => {
                        let before = Episode::of_open(None);
                        episodes.push(Episode { ended: ended.0, expired: ended.1, ..before });
                    }
                    None => {}
                }
            }
        }
    }
    episodes.retain(|e| e.ended.is_none_or(|ended| ended >= from.0));
    episodes
}

/// What became of each alarm: those of both sides that stood at the same time are the same, each with one.
pub(crate) fn changes(published: &[Episode], replayed: &[Episode]) -> Vec<Change> {
    let (mut published, mut replayed) = (published.iter().peekable(), replayed.iter().peekable());
    let mut changes = Vec::new();
    let lonely = |e: &Episode| match e.raised {
        None => Change::Before { again: false },
        Some(_) => Change::Gone(*e),
    };
    loop {
        let change = match (published.peek().copied(), replayed.peek().copied()) {
            (None, None) => return changes,
            (Some(p), Some(r)) if p.overlaps(r) => {
                published.next();
                replayed.next();
                both(p, r)
            }
            (Some(p), r) if r.is_none_or(|r| p.raised <= r.raised) => {
                published.next();
                lonely(p)
            }
            (_, r) => {
                replayed.next();
                Change::New(*r.expect("one of both is there"))
            }
        };
        changes.push(change);
    }
}

fn both(published: &Episode, replayed: &Episode) -> Change {
    let same_end = published.cleared() == replayed.cleared();
    match published.raised {
        None if same_end => Change::Before { again: true },
        Some(_) if same_end && published.raised == replayed.raised => Change::Unchanged,
        _ => Change::Moved(*published, *replayed),
    }
}

#[cfg(test)]
mod tests {
    use AlarmState::{Cleared, Expired, Raised};

    use super::*;

    fn of(changes: &[(i64, AlarmState)]) -> Vec<Episode> {
        episodes(changes.iter().map(|(at, state)| (EventTime(*at), *state)), EventTime(100))
    }

    fn at(raised: i64, ended: Option<i64>) -> Episode {
        Episode { raised: Some(raised), ended, expired: false }
    }

    #[test]
    fn an_alarm_stands_from_its_raising_to_its_end_and_what_is_over_before_is_nothing() {
        let found = of(&[(10, Raised), (20, Cleared), (90, Raised), (110, Cleared), (120, Raised)]);
        let before = Episode { raised: None, ended: Some(110), expired: false };
        assert_eq!(found, [before, at(120, None)]);
        assert_eq!(of(&[(110, Cleared)]), [before]);
        let expired = Episode { expired: true, ..at(100, Some(130)) };
        assert_eq!(of(&[(100, Raised), (130, Expired), (140, Raised)]), [expired, at(140, None)]);
    }

    #[test]
    fn alarms_that_stood_at_the_same_time_are_the_same_and_others_are_new_or_gone() {
        let of = |published: &[Episode], replayed: &[Episode]| changes(published, replayed);
        let (one, two) = (at(100, Some(120)), at(130, Some(140)));
        assert_eq!(of(&[one, two], &[one, two]), [Change::Unchanged, Change::Unchanged]);
        assert_eq!(of(&[one], &[two]), [Change::Gone(one), Change::New(two)]);
        assert_eq!(of(&[two], &[one]), [Change::New(one), Change::Gone(two)]);
        assert_eq!(of(&[], &[one]), [Change::New(one)]);
        let later = at(110, None);
        assert_eq!(of(&[one, two], &[later]), [Change::Moved(one, later), Change::Gone(two)]);
    }

    #[test]
    fn an_alarm_of_before_is_neither_new_nor_gone() {
        let before = Episode { raised: None, ended: Some(120), expired: false };
        let again = at(101, Some(120));
        assert_eq!(changes(&[before], &[again]), [Change::Before { again: true }]);
        assert_eq!(changes(&[before], &[]), [Change::Before { again: false }]);
        let longer = at(101, Some(130));
        assert_eq!(changes(&[before], &[longer]), [Change::Moved(before, longer)]);
    }

    #[test]
    fn that_a_device_was_silent_is_no_change() {
        let expired = Episode { expired: true, ..at(100, Some(130)) };
        assert_eq!(changes(&[expired], &[at(100, None)]), [Change::Unchanged]);
    }
}
