//! A water-pump loop with eight sensors, as SKAB records it: anomalies against the first 400 rows.
//!
//! Each sensor is standardised by the median and the mean absolute deviation of the calibration rows, and
//! smoothed; an ensemble of autoencoders says how far that lies from what calibration rows look like; and
//! an alarm lasts until the distance has fallen to half of its peak.

use serde::{Deserialize, Serialize};
use tideflow::core::{Emit, Row};
use tideflow::prelude::*;

use super::graph::{Item, Method, Outcome, Reading};

/// Rows that calibrate.
pub const CALIBRATION: usize = 400;
/// The sensors that count: not the temperature of the motor's body, which wanders by degrees while all is well.
const CHANNELS: [usize; 7] = [0, 1, 2, 3, 5, 6, 7];
/// Of the temperature of the fluid only changes count, since it drifts with the room.
const THERMOCOUPLE: usize = 5;
/// How slowly its usual value follows, in rows.
const BASELINE_ROWS: f64 = 300.0;
/// The weight of the newest row.
const SMOOTHING: f64 = 0.25;
/// A sensor's usual deviation is at least this share of its median: that of a usual instrument.
const DEVIATION_SHARE: f64 = 0.005;
/// And at least this, so that one that stands still has some.
const DEVIATION_MIN: f64 = 1e-6;
/// Standardised values lie within, so that recovery from a large fault takes few rows.
const CLIP: f64 = 10.0;
/// A distance above this is an anomaly: the unit is what a tenth of the calibration rows exceed.
const ALARM_ABOVE: f64 = 1.9;
/// After a peak, so much of it must be exceeded.
const PEAK_SHARE: f64 = 0.5;
/// A peak is forgotten by so much a row.
const PEAK_DECAY: f64 = 0.997;

/// The pump.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pump;

impl Method for Pump {
    const FEATURES: &'static [&'static str] = &[
        "accelerometer1_rms.z",
        "accelerometer2_rms.z",
        "current.z",
        "pressure.z",
        "thermocouple.z",
        "voltage.z",
        "volume_flow_rate_rms.z",
    ];
    const RECIPE: &'static str = "pump_anomaly";
    type Trace = PumpTrace;
    type Verdict = PumpVerdict;
}

/// What is kept of a pump.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PumpTrace {
    /// The usual temperature of the fluid.
    baseline: Option<f64>,
    /// The calibration rows, until there are enough.
    calibrating: Vec<Reading>,
    /// Their median and deviation, of the channels that count.
    usual: Vec<(f64, f64)>,
    smoothed: Vec<f64>,
}

impl Row for PumpTrace {}

impl Scan<Reading> for PumpTrace {
    type Out = Item<Pump>;

    fn step(&mut self, mut reading: Reading, out: &mut Emit<Item<Pump>>) {
        if !self.usual.is_empty() {
            self.take_drift(&mut reading.values);
            out.push(self.item(&reading));
            return;
        }
        self.calibrating.push(reading);
        if self.calibrating.len() == CALIBRATION {
            self.calibrate();
            for reading in std::mem::take(&mut self.calibrating) {
                out.push(self.item(&reading));
            }
        }
    }
}

impl PumpTrace {
    /// Leaves of the fluid's temperature what lies beside its usual value, which then follows a little.
    fn take_drift(&mut self, values: &mut [f64]) {
        let value = &mut values[THERMOCOUPLE];
        let baseline = self.baseline.get_or_insert(*value);
        *value -= *baseline;
        *baseline += *value / BASELINE_ROWS;
    }

    fn calibrate(&mut self) {
        let column = |rows: &[Reading], channel: usize| -> Vec<f64> {
            rows.iter().map(|reading| reading.values[channel]).collect()
        };
        let raw = CHANNELS.map(|channel| median(column(&self.calibrating, channel)));
        let mut rows = std::mem::take(&mut self.calibrating);
        rows.iter_mut().for_each(|reading| self.take_drift(&mut reading.values));
        self.usual = CHANNELS
            .iter()
            .zip(raw)
            .map(|(channel, raw)| {
                let values = column(&rows, *channel);
                let middle = median(values.clone());
                let deviations = values.iter().map(|value| (value - middle).abs());
                let mean = deviations.sum::<f64>() / values.len() as f64;
                // A normal distribution's standard deviation, by its mean absolute one.
                let deviation = (std::f64::consts::PI / 2.0).sqrt() * mean;
                (middle, deviation.max(DEVIATION_SHARE * raw.abs()).max(DEVIATION_MIN))
            })
            .collect();
        self.smoothed = vec![0.0; CHANNELS.len()];
        self.calibrating = rows;
    }

    fn item(&mut self, reading: &Reading) -> Item<Pump> {
        let values = CHANNELS.iter().map(|channel| reading.values[*channel]);
        for ((smoothed, value), (middle, deviation)) in
            self.smoothed.iter_mut().zip(values).zip(&self.usual)
        {
            let z = ((value - middle) / deviation).clamp(-CLIP, CLIP);
            *smoothed += SMOOTHING * (z - *smoothed);
        }
        Item::new(reading, self.smoothed.clone(), Vec::new())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// What is kept to judge a pump.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PumpVerdict {
    peak: f64,
}

impl Row for PumpVerdict {}

impl Scan<Scored<Item<Pump>>> for PumpVerdict {
    type Out = Outcome;

    fn step(&mut self, scored: Scored<Item<Pump>>, out: &mut Emit<Outcome>) {
        let (Item { part, row, .. }, distance) = (scored.of, scored.score);
        let mut outcome = Outcome { part, row, score: 0.0, alarm: false };
        if row as usize >= CALIBRATION {
            self.peak *= PEAK_DECAY;
            let limit = ALARM_ABOVE.max(PEAK_SHARE * self.peak);
            outcome.alarm = distance > limit;
            outcome.score = distance / (distance + limit);
            self.peak = self.peak.max(distance);
        }
        out.push(outcome);
    }
}
