//! A reading of one value, and what a window keeps of it.

use serde::{Deserialize, Serialize};
use tideflow_core::{Event, EventTime};
use tideflow_operators::{Aggregate, Stats};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub device: u64,
    pub ts: i64,
    pub value: f64,
}

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values(pub Stats);

impl Aggregate<Reading> for Values {
    fn add(&mut self, record: &Reading) {
        self.0.add(record.value);
    }
}
