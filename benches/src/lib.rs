//! What several benches run on.

pub mod feed;
pub mod pixels;
pub mod program;

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

/// A reading of one value, all of one minute.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reading {
    /// The device.
    pub device: DeviceId,
    /// The value.
    pub value: f64,
}

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        EventTime(1_700_000_000_000)
    }
}

/// What a window keeps of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Values(Stats);

impl Aggregate<Reading> for Values {
    fn add(&mut self, reading: &Reading) {
        self.0.add(reading.value);
    }
}
