//! Labelled anomalies against alarms.

use serde::Serialize;
use tideflow::prelude::AlarmState;
use tideflow_dataflows::device_health::AlarmRecord;

use super::date;
use super::recording::Recording;
use super::replay::Replayed;
use crate::screen::{Screen, grouped};

/// Alarms outside the labels that are named one by one.
const NAMED_MAX: usize = 12;

/// An alarm from the window that raised it to the window that ended it, or to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AlarmSpan {
    /// The start of the window that raised it, ms since the Unix epoch.
    pub from: i64,
    /// The end of that window: the moment at which it is known.
    pub known: i64,
    /// The start of the window that cleared it; the end of the last one before it expired, or of the
    /// recording.
    pub to: i64,
}

/// A labelled anomaly and the first alarm raised within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelOutcome {
    /// First row, ms since the Unix epoch.
    pub from: i64,
    /// Last row.
    pub to: i64,
    /// The alarm, if there is one.
    pub first: Option<AlarmSpan>,
    /// An alarm raised before it that was on when it began.
    pub already: Option<AlarmSpan>,
}

/// What the alarms of one recording are worth.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every label.
    pub labels: Vec<LabelOutcome>,
    /// All alarms.
    pub alarms: Vec<AlarmSpan>,
    /// Alarms raised in a window that no label touches.
    pub outside: Vec<AlarmSpan>,
}

impl Outcome {
    /// Holds the alarms against the labels.
    pub fn new(recording: &Recording, replayed: &Replayed) -> Outcome {
        let end = replayed.windows.last().map_or(0, |(_, end, _)| *end);
        let alarms = spans(&replayed.alarms, end);
        let within = |a: &AlarmSpan, from: i64, to: i64| a.from <= to && a.known > from;
        let labels = recording.labels.iter().map(|(from, to)| LabelOutcome {
            from: *from,
            to: *to,
            first: alarms.iter().find(|a| within(a, *from, *to)).copied(),
            already: alarms.iter().find(|a| a.known <= *from && a.to > *from).copied(),
        });
        let touched = |a: &&AlarmSpan| recording.labels.iter().any(|(f, t)| within(a, *f, *t));
        let outside = alarms.iter().filter(|a| !touched(a)).copied().collect();
        Outcome { labels: labels.collect(), outside, alarms }
    }

    /// Labels with an alarm.
    pub fn hit(&self) -> usize {
        self.labels.iter().filter(|label| label.first.is_some()).count()
    }

    /// Says it as a table.
    pub fn say(&self, recording: &Recording, replayed: &Replayed, screen: &mut Screen) {
        let Recording { name, rows, window_ms, probation, .. } = recording;
        screen.say("");
        screen.say(format!(
            "{name}: {} rows, {} windows of {}, trained on the first {probation} rows (to {})",
            grouped(rows.len() as u64),
            grouped(replayed.windows.len() as u64),
            span(*window_ms),
            date::show(recording.probation_end()),
        ));
        screen.say("  labelled from         to                    first alarm");
        for label in &self.labels {
            let (from, to) = (date::show(label.from), date::show(label.to));
            let first = match (label.first, label.already) {
                (None, None) => "MISS".to_string(),
                (None, Some(a)) => {
                    format!("MISS  raised before it, on from {}", date::show(a.known))
                }
                (Some(a), _) => format!(
                    "hit   {}, known {} after the first labelled row",
                    date::show(a.known),
                    span((a.known - label.from).max(0))
                ),
            };
            let learnt = label.from < recording.probation_end();
            let note = if learnt { "; begins among the rows learnt from" } else { "" };
            screen.say(format!("  {from}   {to}   {first}{note}"));
        }
        let (hit, labels, outside) = (self.hit(), self.labels.len(), self.outside.len());
        screen.say(format!("  {hit} of {labels} found; {outside} alarms outside the labels"));
        for alarm in self.outside.iter().take(NAMED_MAX) {
            screen.say(format!("    {} to {}", date::show(alarm.from), date::show(alarm.to)));
        }
        if outside > NAMED_MAX {
            screen.say(format!("    and {} more", outside - NAMED_MAX));
        }
    }
}

/// Puts raised and cleared together.
fn spans(alarms: &[AlarmRecord], end: i64) -> Vec<AlarmSpan> {
    let mut spans: Vec<AlarmSpan> = Vec::new();
    for alarm in alarms {
        match (alarm.state, spans.last_mut()) {
            (AlarmState::Raised, _) => {
                let (from, known) = (alarm.window_start.0, alarm.window_end.0);
                spans.push(AlarmSpan { from, known, to: end });
            }
            (AlarmState::Cleared, Some(span)) => span.to = alarm.window_start.0,
            // Its window is the last that was seen, and the alarm was on in it.
            (AlarmState::Expired, Some(span)) => span.to = alarm.window_end.0,
            (_, None) => {}
        }
    }
    spans
}

/// A span of time in the largest unit that says it.
fn span(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let (length, unit) = units.into_iter().find(|(length, _)| ms >= *length).unwrap_or((1, "ms"));
    let tenths = ms * 10 / length;
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use tideflow::prelude::EventTime;

    use super::super::recording::Machine;
    use super::*;

    fn record(state: AlarmState, window: i64) -> AlarmRecord {
        AlarmRecord {
            device: "m".parse().unwrap(),
            alarm: "unusual".into(),
            state,
            window_start: EventTime(window * 10),
            window_end: EventTime(window * 10 + 10),
            score: 1.0,
            since: EventTime(window * 10),
        }
    }

    fn outcome(labels: &[(i64, i64)], alarms: Vec<AlarmRecord>) -> Outcome {
        let recording = Recording {
            name: "m".into(),
            machine: Machine::Temperature,
            window_ms: 10,
            rows: vec![(0, vec![1.0])],
            probation: 1,
            labels: labels.to_vec(),
        };
        let windows = vec![(0, 10, 1), (990, 1_000, 1)];
        let replayed = Replayed { windows, scores: vec![], alarms, late: 0, rejected: 0 };
        Outcome::new(&recording, &replayed)
    }

    #[test]
    fn an_alarm_raised_within_a_label_hits_it_and_others_are_outside() {
        use AlarmState::{Cleared, Raised};
        let alarms = [(Raised, 2), (Cleared, 4), (Raised, 20), (Cleared, 22), (Raised, 50)];
        let alarms = alarms.map(|(state, window)| record(state, window)).to_vec();
        let outcome = outcome(&[(205, 300), (600, 700)], alarms);
        let hit = AlarmSpan { from: 200, known: 210, to: 220 };
        assert_eq!(outcome.labels[0].first, Some(hit));
        assert_eq!(outcome.labels[1].first, None, "raised before it, and never cleared");
        assert_eq!(outcome.labels[1].already.map(|a| a.from), Some(500));
        let outside = [
            AlarmSpan { from: 20, known: 30, to: 40 },
            AlarmSpan { from: 500, known: 510, to: 1_000 },
        ];
        assert_eq!(outcome.outside, outside);
    }

    #[test]
    fn an_alarm_that_expires_was_on_in_the_last_window_seen() {
        let alarms = [(AlarmState::Raised, 2), (AlarmState::Expired, 5)];
        let alarms = alarms.map(|(state, window)| record(state, window));
        assert_eq!(spans(&alarms, 1_000), [AlarmSpan { from: 20, known: 30, to: 60 }]);
    }

    #[test]
    fn a_span_is_said_in_its_largest_unit() {
        let cases = [(999, "999 ms"), (10_000, "10 s"), (5_400_000, "1.5 h"), (86_400_000, "1 d")];
        for (ms, text) in cases {
            assert_eq!(span(ms), text);
        }
    }
}
