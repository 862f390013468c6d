//! The workload `window`: count, sum, extremes and mean of the temperature of each device in tumbling
//! windows of one minute.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

use crate::Peer;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    device: DeviceId,
    ts: EventTime,
    temperature: f64,
}

flat_record!(Reading { device, ts, temperature });

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        self.ts
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Temperature(Total);

impl Aggregate<Reading> for Temperature {
    fn add(&mut self, reading: &Reading) {
        self.0.add(reading.temperature);
    }
}

#[derive(Clone, Serialize)]
struct Minute {
    device: DeviceId,
    window_start: EventTime,
    window_end: EventTime,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
}

impl KeyedRecord for Minute {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

impl From<Window<DeviceId, Temperature>> for Minute {
    fn from(window: Window<DeviceId, Temperature>) -> Self {
        let Temperature(total) = window.value;
        Minute {
            device: window.key,
            window_start: window.start,
            window_end: window.end,
            count: total.count(),
            sum: total.sum(),
            min: total.min(),
            max: total.max(),
            mean: total.mean(),
        }
    }
}

pub fn window(flow: &Flow<'_>, peer: &Peer) -> Result<(), BuildError> {
    let (readings, _) = flow.source("readings", peer.source())?;
    let minutes = readings
        .key_by(|r: &Reading| &r.device)
        .tumbling_window::<_, Temperature>("minutes", Tumbling::of(minutes(1)))?;
    let records = minutes.on_time.map("records", Minute::from)?;
    flow.sink("out", records, KafkaSink::json(&peer.kafka, &peer.output))
}
