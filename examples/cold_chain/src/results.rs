//! What the graph writes: JSON, with the truck as key.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

use crate::CargoReading;

/// A truck's cargo has become too warm, or is cold again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmCargo {
    /// The truck.
    pub truck: String,
    /// `raised`, `cleared`, or `expired` when the truck fell silent.
    pub state: AlarmState,
    /// The start of the first window that was too warm.
    pub since: EventTime,
    /// The end of the window that raised or cleared it.
    pub at: EventTime,
    /// How far that window's mean lay above the limit, in degrees.
    pub excess: f64,
}

impl From<Alarm<String>> for WarmCargo {
    fn from(alarm: Alarm<String>) -> Self {
        let Alarm { key, state, since, end, score, .. } = alarm;
        WarmCargo { truck: key, state, since, at: end, excess: score }
    }
}

impl KeyedRecord for WarmCargo {
    fn key(&self) -> &[u8] {
        self.truck.as_bytes()
    }
}

/// A reading that came after its window had closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateReading {
    /// The reading; its fields stand beside the other.
    #[serde(flatten)]
    pub reading: CargoReading,
    /// The end of the window it missed.
    pub window_end: EventTime,
}

impl From<Late<CargoReading>> for LateReading {
    fn from(late: Late<CargoReading>) -> Self {
        LateReading { reading: late.record, window_end: late.end }
    }
}

impl KeyedRecord for LateReading {
    fn key(&self) -> &[u8] {
        self.reading.truck.as_bytes()
    }
}
