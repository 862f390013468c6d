//! What a device sends: the input of every graph here.

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
