//! Injected faults against the alarms raised.

use tideflow::sources::simulate::{Fault, FaultKind, Field};
use tideflow_dataflows::device_health::AlarmRecord;

use super::sender::device_name;

/// How long after a fault's end an alarm still belongs to it, in windows.
const AFTER_WINDOWS: i64 = 3;

/// The faults of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindVerdict {
    /// `drift`, `spikes` or `stuck`.
    pub kind: &'static str,
    /// Faults that began before the end of the run.
    pub injected: usize,
    /// Those with an alarm.
    pub alarmed: usize,
    /// For each of those, windows from the one of the onset to the one that raised the alarm.
    pub delays: Vec<i64>,
}

impl KindVerdict {
    fn of(kind: &'static str) -> Self {
        KindVerdict { kind, injected: 0, alarmed: 0, delays: Vec::new() }
    }

    /// The median of the delays, the lower of two.
    pub fn delay_median(&self) -> Option<i64> {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        delays.get(delays.len().saturating_sub(1) / 2).copied()
    }
}

/// What the alarms are worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// By kind of fault.
    pub kinds: Vec<KindVerdict>,
    /// Alarms without a fault.
    pub false_alarms: Vec<AlarmRecord>,
    /// Faults without an alarm.
    pub missed: Vec<Fault>,
}

impl Verdict {
    /// All faults that began before the end of the run.
    pub fn injected(&self) -> usize {
        self.kinds.iter().map(|kind| kind.injected).sum()
    }

    /// All faults with an alarm.
    pub fn alarmed(&self) -> usize {
        self.kinds.iter().map(|kind| kind.alarmed).sum()
    }
}

/// Holds the alarms raised against the faults that began before `until_ms`.
///
/// An alarm belongs to a fault of its device that shows in the alarm's window or in one of the three
/// before it; to none, it is a false one.
pub fn judge(faults: &[Fault], until_ms: i64, raised: &[AlarmRecord]) -> Verdict {
    let kinds = [FaultKind::Drift, FaultKind::Spikes, FaultKind::Stuck(Field::Temperature)];
    let mut kinds = kinds.map(|kind| KindVerdict::of(kind.name()));
    let mut missed = Vec::new();
    let begun = || faults.iter().filter(|fault| fault.from_ms < until_ms);
    for fault in begun() {
        let mine = raised.iter().filter(|alarm| belongs(alarm, fault));
        let first = mine.min_by_key(|alarm| alarm.window_start);
        let kind = kinds.iter_mut().find(|k| k.kind == fault.kind.name()).expect("all are there");
        kind.injected += 1;
        match first {
            Some(alarm) => {
                kind.alarmed += 1;
                kind.delays.push(delay(alarm, fault));
            }
            None => missed.push(*fault),
        }
    }
    let unexplained = |alarm: &&AlarmRecord| !begun().any(|fault| belongs(alarm, fault));
    let false_alarms = raised.iter().filter(unexplained).cloned().collect();
    Verdict { kinds: kinds.to_vec(), false_alarms, missed }
}

fn length_ms(alarm: &AlarmRecord) -> i64 {
    alarm.window_end.0 - alarm.window_start.0
}

fn belongs(alarm: &AlarmRecord, fault: &Fault) -> bool {
    let shortly_before = alarm.window_start.0 - AFTER_WINDOWS * length_ms(alarm);
    alarm.device.as_str() == device_name(fault.device)
        && alarm.window_end.0 > fault.from_ms
        && shortly_before < fault.to_ms
}

/// Windows from the one that holds the onset to the one that raised the alarm.
fn delay(alarm: &AlarmRecord, fault: &Fault) -> i64 {
    let length_ms = length_ms(alarm);
    (alarm.window_start.0 - fault.from_ms.div_euclid(length_ms) * length_ms) / length_ms
}

#[cfg(test)]
mod tests {
    use tideflow::prelude::{AlarmState, EventTime};

    use super::*;

    fn fault(device: u32, kind: FaultKind, from: i64, to: i64) -> Fault {
        Fault { device, kind, from_ms: from * 60_000 + 30_000, to_ms: to * 60_000 }
    }

    fn alarm(device: u32, minute: i64) -> AlarmRecord {
        AlarmRecord {
            device: device_name(device).parse().unwrap(),
            alarm: "unhealthy".into(),
            state: AlarmState::Raised,
            window_start: EventTime(minute * 60_000),
            window_end: EventTime((minute + 1) * 60_000),
            score: 1.0,
            since: EventTime((minute - 1) * 60_000),
        }
    }

    #[test]
    fn a_fault_is_alarmed_from_its_onset_to_three_windows_after_its_end() {
        let faults = [fault(1, FaultKind::Drift, 10, 20)];
        for (minute, alarmed) in [(9, 0), (10, 1), (19, 1), (22, 1), (23, 0)] {
            let verdict = judge(&faults, i64::MAX, &[alarm(1, minute)]);
            assert_eq!(verdict.alarmed(), alarmed, "minute {minute}");
            assert_eq!(verdict.false_alarms.len(), 1 - alarmed, "minute {minute}");
        }
    }

    #[test]
    fn an_alarm_of_another_device_is_false_and_the_fault_is_missed() {
        let faults = [fault(1, FaultKind::Spikes, 10, 20)];
        let verdict = judge(&faults, i64::MAX, &[alarm(2, 12)]);
        assert_eq!((verdict.injected(), verdict.alarmed()), (1, 0));
        assert_eq!((verdict.missed.as_slice(), verdict.false_alarms.len()), (&faults[..], 1));
    }

    #[test]
    fn the_first_alarm_counts_and_the_second_is_not_false() {
        let faults = [fault(1, FaultKind::Drift, 10, 20), fault(2, FaultKind::Drift, 10, 20)];
        let alarms = [alarm(1, 18), alarm(1, 13), alarm(2, 11)];
        let verdict = judge(&faults, i64::MAX, &alarms);
        assert_eq!(verdict.kinds[0].delays, [3, 1]);
        assert_eq!(verdict.kinds[0].delay_median(), Some(1));
        assert_eq!(verdict.kinds[1].delay_median(), None);
        assert_eq!(verdict.false_alarms, []);
    }

    #[test]
    fn a_fault_that_was_to_begin_after_the_end_is_not_counted() {
        let faults = [fault(1, FaultKind::Drift, 10, 20)];
        assert_eq!(judge(&faults, 10 * 60_000, &[]).injected(), 0);
    }
}
