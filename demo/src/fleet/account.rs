//! Whether every reading is accounted for: in a window, late, or rejected.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use tideflow::prelude::Reason;
use tideflow::sources::simulate::{Counts, Malformed};

use super::results::Found;

/// The reason for which each kind of malformed bytes must be rejected.
fn reason(how: Malformed) -> Reason {
    match how {
        Malformed::Truncated | Malformed::Empty | Malformed::NotUtf8 => Reason::Malformed,
        Malformed::WrongType => Reason::WrongType,
        Malformed::MissingField => Reason::MissingField,
        Malformed::DeviceShape => Reason::BadDeviceId,
        Malformed::NanLiteral => Reason::NotFinite,
    }
}

/// Dead letters to expect, by reason.
fn expected_rejects(injected: &Counts) -> BTreeMap<String, u64> {
    let mut expected = BTreeMap::new();
    let mut add = |reason: Reason, count: u64| {
        if count > 0 {
            *expected.entry(reason.as_str().to_string()).or_default() += count;
        }
    };
    add(Reason::FutureTime, injected.bad_clock);
    for (how, count) in Malformed::ALL.into_iter().zip(injected.malformed) {
        add(reason(how), count);
    }
    expected
}

/// What was sent beside what was found in the output topics.
#[derive(Debug)]
pub struct Account {
    /// Readings sent.
    pub sent: u64,
    /// Readings in windows.
    pub in_windows: u64,
    /// Late readings found, and sent.
    pub late: (u64, u64),
    /// Dead letters found, and sent, by reason.
    pub rejected: BTreeMap<String, (u64, u64)>,
    /// Windows, and scores of them.
    pub windows_scored: (u64, u64),
    /// Result records that were missing in their topic.
    pub lost: u64,
}

impl Account {
    /// Puts both sides together.
    pub fn new(sent: &Counts, found: &Found) -> Account {
        let mut rejected = BTreeMap::<String, (u64, u64)>::new();
        for (reason, count) in &found.rejected {
            rejected.entry(reason.clone()).or_default().0 = *count;
        }
        for (reason, count) in expected_rejects(sent) {
            rejected.entry(reason).or_default().1 = count;
        }
        Account {
            sent: sent.total(),
            in_windows: found.in_windows,
            late: (found.late, sent.late),
            rejected,
            windows_scored: (found.windows, found.scores),
            lost: found.lost,
        }
    }

    /// All dead letters found.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().map(|(found, _)| found).sum()
    }

    /// What does not add up; nothing when every reading is accounted for.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let found = self.in_windows + self.late.0 + self.rejected_total();
        if found != self.sent {
            let sent = self.sent;
            problems.push(format!("{sent} readings were sent, {found} were found in the results"));
        }
        for (reason, (found, sent)) in &self.rejected {
            if found != sent {
                problems.push(format!("{sent} to be rejected as `{reason}`, {found} were"));
            }
        }
        let (windows, scores) = self.windows_scored;
        if windows != scores {
            problems.push(format!("{windows} windows have {scores} scores"));
        }
        if self.lost > 0 {
            problems.push(format!("{} results are missing in their topics", self.lost));
        }
        problems
    }

    /// What is worth a word and no fault: the account adds up either way.
    pub fn note(&self) -> Option<String> {
        let (found, sent) = self.late;
        let why = match found.cmp(&sent) {
            Ordering::Equal => return None,
            Ordering::Less => "the graph was behind, so that some windows were open longer",
            Ordering::Greater => {
                "readings of a partition came so slowly that time went on without them, and some \
                 windows closed earlier"
            }
        };
        Some(format!("{sent} readings were sent late and {found} came late: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> Counts {
        Counts { good: 100, late: 7, bad_clock: 3, malformed: [1, 2, 4, 8, 16, 32, 64] }
    }

    fn account() -> Account {
        Account {
            sent: sent().total(),
            in_windows: 100,
            late: (7, 7),
            rejected: expected_rejects(&sent()).into_iter().map(|(r, n)| (r, (n, n))).collect(),
            windows_scored: (12, 12),
            lost: 0,
        }
    }

    #[test]
    fn each_injected_fault_has_the_reason_it_must_be_rejected_for() {
        let expected = expected_rejects(&sent());
        let expected: Vec<_> = expected.iter().map(|(r, n)| (r.as_str(), *n)).collect();
        assert_eq!(
            expected,
            [
                ("bad_device_id", 8),
                ("future_time", 3),
                ("malformed", 97),
                ("missing_field", 4),
                ("not_finite", 16),
                ("wrong_type", 2),
            ]
        );
    }

    #[test]
    fn an_account_adds_up_or_says_what_does_not() {
        assert_eq!(account().problems(), Vec::<String>::new());
        let missing = Account { in_windows: 99, ..account() };
        assert_eq!(missing.problems(), ["237 readings were sent, 236 were found in the results"]);
        let unscored = Account { windows_scored: (12, 11), lost: 1, ..account() };
        assert_eq!(
            unscored.problems(),
            ["12 windows have 11 scores", "1 results are missing in their topics"]
        );
    }

    #[test]
    fn a_reading_rejected_for_another_reason_is_told() {
        let mut mixed = account();
        mixed.rejected.insert("malformed".into(), (96, 97));
        mixed.rejected.insert("wrong_type".into(), (3, 2));
        assert_eq!(
            mixed.problems(),
            [
                "97 to be rejected as `malformed`, 96 were",
                "2 to be rejected as `wrong_type`, 3 were"
            ]
        );
    }

    #[test]
    fn more_or_fewer_late_readings_than_were_sent_late_are_a_note_only() {
        let behind = Account { in_windows: 101, late: (6, 7), ..account() };
        let ahead = Account { in_windows: 99, late: (8, 7), ..account() };
        let cases =
            [(behind, "6 came late", "open longer"), (ahead, "8 came late", "closed earlier")];
        for (account, came, why) in cases {
            assert_eq!(account.problems(), Vec::<String>::new());
            let note = account.note().unwrap();
            assert!(note.starts_with("7 readings were sent late"), "{note}");
            assert!(note.contains(came) && note.ends_with(why), "{note}");
        }
        assert_eq!(account().note(), None);
    }
}
