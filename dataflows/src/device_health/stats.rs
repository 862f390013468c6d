//! What a minute of one device's readings adds up to.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

use crate::Reading;

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

    fn row(&self, row: &mut Vec<f64>) {
        for stats in [&self.temperature, &self.vibration, &self.current] {
            let s = stats.summary();
            row.extend([s.mean, s.std, s.min, s.max]);
        }
    }
}
