//! What is said at the end.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::account::Account;
use super::results::Found;
use super::sender::{Sent, device_name};
use super::verdict::{Verdict, judge};
use super::view::milliseconds;
use crate::screen::{Screen, grouped};

/// Missed faults and false alarms that are named one by one.
const NAMED_MAX: usize = 10;

/// The last line, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Readings sent.
    pub readings: u64,
    /// Readings in windows.
    pub in_windows: u64,
    /// Readings on the late topic.
    pub late: u64,
    /// Dead letters.
    pub rejected: u64,
    /// Window records.
    pub windows: u64,
    /// Score records.
    pub scores: u64,
    /// Alarms raised.
    pub alarms: u64,
    /// Faults that began before the end of the run.
    pub faults_injected: usize,
    /// Those with an alarm.
    pub faults_alarmed: usize,
    /// Alarms without a fault.
    pub false_alarms: usize,
    /// Readings sent a second.
    pub readings_per_s: f64,
    /// Half the results took less, milliseconds.
    pub latency_p50_ms: f64,
    /// All but one in a hundred took less, milliseconds.
    pub latency_p99_ms: f64,
    /// Whether every reading is accounted for.
    pub accounted: bool,
}

/// The end of a run.
pub struct Report {
    account: Account,
    verdict: Verdict,
    windows: u64,
    scores: u64,
    alarms: u64,
    latency: Histogram<u64>,
    untimed: u64,
    took: Duration,
}

impl Report {
    /// Puts together what was sent and what was found.
    pub fn new(sent: &Sent, found: Found) -> Report {
        Report {
            account: Account::new(&sent.truth.counts, &found),
            verdict: judge(&sent.truth.faults, sent.until_ms, &found.raised),
            windows: found.windows,
            scores: found.scores,
            alarms: found.raised.len() as u64,
            latency: found.latency,
            untimed: found.untimed,
            took: sent.took,
        }
    }

    /// The figures.
    pub fn summary(&self) -> Summary {
        let Report { account, verdict, latency, .. } = self;
        let seconds = self.took.as_secs_f64().max(1e-3);
        Summary {
            readings: account.sent,
            in_windows: account.in_windows,
            late: account.late.0,
            rejected: account.rejected_total(),
            windows: self.windows,
            scores: self.scores,
            alarms: self.alarms,
            faults_injected: verdict.injected(),
            faults_alarmed: verdict.alarmed(),
            false_alarms: verdict.false_alarms.len(),
            readings_per_s: tenths(account.sent as f64 / seconds),
            latency_p50_ms: tenths(milliseconds(latency, 50.0)),
            latency_p99_ms: tenths(milliseconds(latency, 99.0)),
            accounted: account.problems().is_empty(),
        }
    }

    /// Says all of it; the last line is the summary.
    pub fn say(&self, screen: &mut Screen) {
        screen.say("");
        self.say_account(screen);
        self.say_faults(screen);
        self.say_latency(screen);
        let json = serde_json::to_string(&self.summary()).expect("a struct of numbers");
        screen.say(json);
    }

    fn say_account(&self, screen: &mut Screen) {
        let account = &self.account;
        let mut row = |name: &str, count: u64, more: &str| {
            screen.say(format!("  {name:<22}{:>12}{more}", grouped(count)));
        };
        row("readings sent", account.sent, "");
        row("in windows", account.in_windows, "");
        let (late, sent_late) = account.late;
        row("late", late, &format!("   {} sent late", grouped(sent_late)));
        row("rejected", account.rejected_total(), "");
        for (reason, (found, sent)) in &account.rejected {
            row(&format!("  {reason}"), *found, &format!("   {} injected", grouped(*sent)));
        }
        let problems = account.problems();
        if problems.is_empty() {
            screen
                .say("  every reading is in a window, late or rejected; every window has a score");
        }
        for problem in problems {
            screen.say(format!("  DOES NOT ADD UP: {problem}"));
        }
        if let Some(note) = account.note() {
            screen.say(format!("  note: {note}"));
        }
    }

    fn say_faults(&self, screen: &mut Screen) {
        let verdict = &self.verdict;
        screen.say("");
        screen.say("  fault     injected   alarmed   median delay");
        for kind in &verdict.kinds {
            let delay = match kind.delay_median() {
                None => "-".to_string(),
                Some(1) => "1 window".to_string(),
                Some(windows) => format!("{windows} windows"),
            };
            let (injected, alarmed) = (kind.injected, kind.alarmed);
            screen.say(format!("  {:<8}{injected:>10}{alarmed:>10}   {delay}", kind.kind));
        }
        for fault in verdict.missed.iter().take(NAMED_MAX) {
            let (device, kind) = (device_name(fault.device), fault.kind);
            let (from, to) = (fault.from_ms, fault.to_ms);
            screen.say(format!("  not found: {kind:?} of {device} from {from} to {to}"));
        }
        let count = verdict.false_alarms.len();
        screen.say(format!(
            "  {} alarms in {} windows, {count} of them false; a fault may raise more than one",
            grouped(self.alarms),
            grouped(self.windows)
        ));
        for alarm in verdict.false_alarms.iter().take(NAMED_MAX) {
            let (device, at, score) = (&alarm.device, alarm.window_start, alarm.score);
            screen.say(format!("  false: {device}, window at {at}, score {score:.3}"));
        }
    }

    fn say_latency(&self, screen: &mut Screen) {
        let results = grouped(self.latency.len());
        let (p50, p99) = (milliseconds(&self.latency, 50.0), milliseconds(&self.latency, 99.0));
        screen.say("");
        screen.say(format!(
            "  latency of {results} scores and alarms: p50 {p50:.1} ms, p99 {p99:.1} ms"
        ));
        screen.say(
            "  from: the reading that let the window close is given to the producer, before it is",
        );
        screen.say("        appended (on the partition where it comes last)");
        screen
            .say("  to:   the result is read from its topic by a consumer, after it was appended");
        if self.untimed > 0 {
            let untimed = grouped(self.untimed);
            screen.say(format!(
                "  without {untimed} results of windows that the end of the run closed"
            ));
        }
        screen.say("");
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::screen::Written;

    fn report(sent: u64) -> Report {
        Report {
            account: Account {
                sent,
                in_windows: 100,
                late: (0, 0),
                rejected: BTreeMap::new(),
                windows_scored: (10, 10),
                lost: 0,
            },
            verdict: judge(&[], i64::MAX, &[]),
            windows: 10,
            scores: 10,
            alarms: 0,
            latency: Histogram::new(3).expect("three digits are few"),
            untimed: 0,
            took: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_report_says_whether_the_counts_add_up_in_words_and_in_its_summary() {
        for (sent, accounted) in [(100, true), (101, false)] {
            let written = Written::default();
            report(sent).say(&mut Screen::to(written.clone()));
            let text = written.text();
            let problem = "DOES NOT ADD UP: 101 readings were sent, 100 were found in the results";
            assert_eq!(text.contains(problem), !accounted, "{text}");
            assert_eq!(text.contains("every reading is in a window"), accounted, "{text}");
            assert_eq!(report(sent).summary().accounted, accounted);
        }
    }
}
