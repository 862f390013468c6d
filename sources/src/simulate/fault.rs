//! What breaks, where and when: the ground truth that alarms are judged by.

use super::random::Random;

/// One reading's measured fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Motor body, °C.
    Temperature,
    /// Root mean square of the velocity, mm/s.
    Vibration,
    /// Supply current, A.
    Current,
}

/// How a machine or its sensor misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The temperature rises by about 2 °C a minute, whatever the load does.
    Drift,
    /// About four readings in ten show two to four times the vibration.
    Spikes,
    /// The sensor repeats the value it had when the fault began.
    Stuck(Field),
}

impl FaultKind {
    /// `drift`, `spikes` or `stuck`, for tables and labels.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Drift => "drift",
            FaultKind::Spikes => "spikes",
            FaultKind::Stuck(_) => "stuck",
        }
    }
}

/// One fault of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Index of the device; its name is `d` and six digits.
    pub device: u32,
    /// What is wrong.
    pub kind: FaultKind,
    /// Event time of the onset, ms since the Unix epoch.
    pub from_ms: i64,
    /// Event time at which the machine is healthy again (exclusive), ms since the Unix epoch.
    pub to_ms: i64,
}

const MINUTE_MS: i64 = 60_000;
/// Long enough for a model and a hysteresis of two windows, and short enough for several in a run.
const LENGTH_MIN_MS: i64 = 6 * MINUTE_MS;
const LENGTH_MAX_MS: i64 = 10 * MINUTE_MS;
/// Some healthy windows first, so that an alarm before the onset shows as false.
const QUIET_START_MS: i64 = 4 * MINUTE_MS;

impl Fault {
    /// Draws `count` faults on as many different devices, spread evenly over a run.
    ///
    /// Kinds and stuck fields take turns. A fault lasts 6 to 10 minutes of event time, begins 4
    /// minutes after the start at the earliest (a seventh of a run shorter than 28 minutes) and
    /// ends within the run wherever the run is long enough: one of 30 minutes has its onsets
    /// between minutes 4 and 20. Fewer come out where there are fewer devices.
    pub fn spread(
        count: u32,
        devices: u32,
        start_ts_ms: i64,
        length_ms: i64,
        seed: u64,
    ) -> Vec<Fault> {
        let mut random = Random::new(seed, 0xFA_17);
        let count = count.min(devices);
        let first = QUIET_START_MS.min(length_ms / 7);
        let last = (length_ms - LENGTH_MAX_MS).max(first + 1);
        let mut taken = Vec::with_capacity(count as usize);
        (0..count)
            .map(|turn| {
                let mut device = random.below(devices);
                while taken.contains(&device) {
                    device = (device + 1) % devices;
                }
                taken.push(device);
                // One onset in each of `count` equal slots.
                let slot = (f64::from(turn) + random.unit()) / f64::from(count);
                let from_ms = start_ts_ms + first + (slot * (last - first) as f64) as i64;
                let lasts = random.between(LENGTH_MIN_MS as f64, LENGTH_MAX_MS as f64) as i64;
                Fault { device, kind: kind_by_turn(turn), from_ms, to_ms: from_ms + lasts }
            })
            .collect()
    }

    /// Whether a reading taken at `ts_ms` shows the fault.
    pub fn is_active(&self, ts_ms: i64) -> bool {
        (self.from_ms..self.to_ms).contains(&ts_ms)
    }
}

fn kind_by_turn(turn: u32) -> FaultKind {
    match turn % 3 {
        0 => FaultKind::Drift,
        1 => FaultKind::Spikes,
        _ => FaultKind::Stuck(match turn / 3 % 3 {
            0 => Field::Temperature,
            1 => Field::Vibration,
            _ => Field::Current,
        }),
    }
}
