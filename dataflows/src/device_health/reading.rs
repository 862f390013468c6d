//! What a device sends, and what a minute of it adds up to.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

/// One reading of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The device.
    pub device: DeviceId,
    /// When it was taken, by the device's clock.
    pub ts: EventTime,
    /// In degrees Celsius.
    pub temperature: f64,
    /// In millimetres a second.
    pub vibration: f64,
    /// In amperes.
    pub current: f64,
}

flat_record!(Reading { device, ts, temperature, vibration, current });

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        self.ts
    }
}

impl Reading {
    /// Refuses numbers beyond what [`Stats`] keep exactly.
    ///
    /// # Errors
    /// Names the field, the limit and the value.
    pub fn check(&self) -> Result<(), DecodeError> {
        let fields = [
            ("temperature", self.temperature),
            ("vibration", self.vibration),
            ("current", self.current),
        ];
        match fields.into_iter().find(|(_, value)| value.abs() >= Stats::LIMIT) {
            None => Ok(()),
            Some((name, value)) => Err(DecodeError {
                reason: Reason::NotFinite,
                detail: format!("`{name}`: expected less than {:e}, found {value:e}", Stats::LIMIT),
            }),
        }
    }
}

/// The statistics of one device and window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReadingStats {
    /// In degrees Celsius.
    pub temperature: Stats,
    /// In millimetres a second.
    pub vibration: Stats,
    /// In amperes.
    pub current: Stats,
}

impl Aggregate<Reading> for ReadingStats {
    fn add(&mut self, reading: &Reading) {
        self.temperature.add(reading.temperature);
        self.vibration.add(reading.vibration);
        self.current.add(reading.current);
    }

    fn show(&self) -> String {
        serde_json::json!({
            "count": self.temperature.count(),
            "temperature": self.temperature.summary(),
            "vibration": self.vibration.summary(),
            "current": self.current.summary(),
        })
        .to_string()
    }
}

impl Features for ReadingStats {
    const NAMES: &'static [&'static str] = &[
        "temperature.mean",
        "temperature.std",
        "temperature.min",
        "temperature.max",
        "vibration.mean",
        "vibration.std",
        "vibration.min",
        "vibration.max",
        "current.mean",
        "current.std",
        "current.min",
        "current.max",
    ];

    fn row(&self, row: &mut Vec<f32>) {
        for stats in [&self.temperature, &self.vibration, &self.current] {
            let s = stats.summary();
            row.extend([s.mean, s.std, s.min, s.max].map(|x| x as f32));
        }
    }
}
