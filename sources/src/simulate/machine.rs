//! One device: how load, current, vibration and temperature hang together.

use super::fault::{Fault, FaultKind, Field};
use super::payload::Values;
use super::random::Random;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// One site an hour of the day, so that a short run already shows every load.
const SITES: u32 = 24;

/// Share by which current and vibration follow the load.
const CURRENT_BY_LOAD: f64 = 0.12;
const VIBRATION_BY_LOAD: f64 = 0.15;
/// °C a motor warms for each ampere above its base, once it has settled.
const WARMTH_C_PER_A: f64 = 5.0;

/// Noise of one reading, one standard deviation.
const NOISE_C: f64 = 0.08;
const NOISE_MM_S: f64 = 0.02;
const NOISE_A: f64 = 0.04;

/// How long each memory lasts, in seconds of event time.
const NOISE_TAU_S: f64 = 8.0;
const DUTY_TAU_S: f64 = 900.0;
const WARMTH_TAU_S: f64 = 240.0;
/// How much a device's own duty adds to its site's load, one standard deviation.
const DUTY_SHARE: f64 = 0.2;

/// How far the past counts from one reading of a device to its next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    noise: f64,
    noise_kick: f64,
    duty: f64,
    duty_kick: f64,
    warmth: f64,
}

impl Memory {
    /// `period_s`: mean event time between two readings of one device.
    pub(super) fn new(period_s: f64) -> Self {
        // 1 / (1 + p / tau) for exp(-p / tau): plain arithmetic is the same on every machine.
        let keep = |tau: f64| 1.0 / (1.0 + period_s / tau);
        let kick = |keep: f64| (1.0 - keep * keep).sqrt();
        let (noise, duty) = (keep(NOISE_TAU_S), keep(DUTY_TAU_S));
        Memory {
            noise,
            noise_kick: kick(noise),
            duty,
            duty_kick: kick(duty),
            warmth: keep(WARMTH_TAU_S),
        }
    }
}

/// The state of one device between two of its readings.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    base_c: f64,
    base_mm_s: f64,
    base_a: f64,
    drift_c_per_min: f64,
    site: u32,
    duty: f64,
    /// Current above base that the motor's warmth has settled to, A.
    warmth: f64,
    /// First-order noise of temperature, vibration and current, in standard deviations.
    noise: [f64; 3],
    /// Onset of the latest stuck fault of each sensor, ms, and the value it shows since.
    stuck: [Option<(i64, f64)>; 3],
}

impl Machine {
    pub(super) fn new(seed: u64, device: u32, start_ts_ms: i64) -> Self {
        let mut random = Random::new(seed, 1 + u64::from(device));
        let mut machine = Machine {
            base_c: random.between(20.0, 24.0),
            base_mm_s: random.between(0.6, 1.0),
            base_a: random.between(3.8, 4.6),
            drift_c_per_min: random.between(1.5, 2.5),
            site: random.below(SITES),
            duty: random.normal(),
            warmth: 0.0,
            noise: [random.normal(), random.normal(), random.normal()],
            stuck: [None; 3],
        };
        machine.warmth = machine.load(start_ts_ms) * CURRENT_BY_LOAD * machine.base_a;
        machine
    }

    /// Site and device load at `ts_ms`, mostly within ±1.
    fn load(&self, ts_ms: i64) -> f64 {
        let shifted = ts_ms + i64::from(self.site) * HOUR_MS;
        let day = shifted.rem_euclid(DAY_MS) as f64 / DAY_MS as f64;
        // A parabola for each half of the day in place of a sine.
        let wave =
            if day < 0.5 { 16.0 * day * (0.5 - day) } else { -16.0 * (day - 0.5) * (1.0 - day) };
        0.7 * wave + DUTY_SHARE * self.duty
    }

    /// Lives on to the next reading, taken at `ts_ms`, and reads the sensors.
    pub(super) fn read(
        &mut self,
        ts_ms: i64,
        memory: &Memory,
        faults: &[Fault],
        random: &mut Random,
    ) -> Values {
        self.duty = memory.duty * self.duty + memory.duty_kick * random.normal();
        for noise in &mut self.noise {
            *noise = memory.noise * *noise + memory.noise_kick * random.normal();
        }
        let load = self.load(ts_ms);
        let above_base = load * CURRENT_BY_LOAD * self.base_a;
        self.warmth = memory.warmth * self.warmth + (1.0 - memory.warmth) * above_base;
        let mut values = Values {
            temperature: self.base_c + WARMTH_C_PER_A * self.warmth + NOISE_C * self.noise[0],
            vibration: self.base_mm_s * (1.0 + VIBRATION_BY_LOAD * load)
                + NOISE_MM_S * self.noise[1],
            current: self.base_a + above_base + NOISE_A * self.noise[2],
        };
        for fault in faults {
            self.apply(fault, ts_ms, &mut values, random);
        }
        values
    }

    fn apply(&mut self, fault: &Fault, ts_ms: i64, values: &mut Values, random: &mut Random) {
        if !fault.is_active(ts_ms) {
            return;
        }
        match fault.kind {
            FaultKind::Drift => {
                let minutes = (ts_ms - fault.from_ms) as f64 / 60_000.0;
                values.temperature += self.drift_c_per_min * minutes;
            }
            FaultKind::Spikes => {
                if random.unit() < 0.4 {
                    values.vibration *= random.between(2.0, 4.0);
                }
            }
            FaultKind::Stuck(field) => {
                let (slot, value) = match field {
                    Field::Temperature => (0, &mut values.temperature),
                    Field::Vibration => (1, &mut values.vibration),
                    Field::Current => (2, &mut values.current),
                };
                match self.stuck[slot] {
                    Some((onset, shown)) if onset == fault.from_ms => *value = shown,
                    _ => self.stuck[slot] = Some((fault.from_ms, *value)),
                }
            }
        }
    }
}
