//! What a truck sends, and what five minutes of it add up to.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

/// One reading of one truck, as it stands in the topic: `{"truck":"M-AB 123","at":1700000000000,
/// "celsius":3.5}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CargoReading {
    /// The truck's number plate.
    pub truck: String,
    /// When it was taken, in milliseconds since 1970.
    pub at: EventTime,
    /// The temperature of the cargo, in degrees Celsius.
    pub celsius: f64,
}

// Reads plain records in place, without serde; whatever is not plain goes to serde.
flat_record!(CargoReading { truck, at, celsius });

impl Event for CargoReading {
    fn event_time(&self) -> EventTime {
        self.at
    }
}

impl CargoReading {
    /// Refuses what no thermometer in a truck can have measured.
    ///
    /// # Errors
    /// Names the field, the limits and the value: the reading becomes a dead letter.
    pub fn check(&self) -> Result<(), DecodeError> {
        if (-80.0..=80.0).contains(&self.celsius) {
            return Ok(());
        }
        let detail = format!("`celsius`: expected -80 to 80, found {}", self.celsius);
        Err(DecodeError { reason: Reason::WrongType, detail })
    }
}

/// What a window keeps of its readings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CargoStats {
    /// In degrees Celsius.
    pub celsius: Total,
}

impl Aggregate<CargoReading> for CargoStats {
    fn add(&mut self, reading: &CargoReading) {
        self.celsius.add(reading.celsius);
    }
}

impl Features for CargoStats {
    const NAMES: &'static [&'static str] = &["celsius.mean"];

    fn row(&self, row: &mut Vec<f64>) {
        row.push(self.celsius.mean());
    }
}
