//! The workload `latency`: the running count and mean of the temperature of each device, one record out
//! for each reading.

use serde::{Deserialize, Serialize};
use tideflow::core::{Bound, Emit, Entries, Groups, KeyGroup, KeyedState, Row, Stateful};
use tideflow::prelude::*;

use crate::Peer;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    device: DeviceId,
    ts: EventTime,
    seq: u64,
    temperature: f64,
}

flat_record!(Reading { device, ts, seq, temperature });

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        self.ts
    }
}

#[derive(Clone, Serialize)]
struct Running {
    device: DeviceId,
    seq: u64,
    count: u64,
    mean: f64,
}

impl KeyedRecord for Running {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

/// Of a device.
#[derive(Default, Serialize, Deserialize)]
struct Mean {
    count: u64,
    sum: f64,
}

impl Row for Mean {}

/// A device's readings come from one partition, and so in their order: its sum may be of floats.
struct RunningMean(KeyedState<DeviceId, Mean>);

impl Stateful<Reading> for RunningMean {
    type Out = ();
    type Side = Running;
    type State = Entries<DeviceId, Mean>;

    fn state(&mut self) -> &mut Groups<Self::State> {
        self.0.groups()
    }

    fn fold(&mut self, readings: &mut Vec<Reading>, side: &mut Emit<Running>) {
        for Reading { device, seq, temperature, .. } in readings.drain(..) {
            let (count, mean) = self.0.change(&device, Mean::default, |Mean { count, sum }| {
                *count += 1;
                *sum += temperature;
                (*count, *sum / *count as f64)
            });
            side.push(Running { device, seq, count, mean });
        }
    }

    fn close(&mut self, _: &Bound, _: &mut Emit<()>, _: &mut Emit<Running>) {}
}

pub fn latency(flow: &Flow<'_>, peer: &Peer) -> Result<(), BuildError> {
    let (readings, _) = flow.source("readings", peer.source())?;
    let group = |r: &Reading| KeyGroup::of(r.device.stable_hash());
    let (about, logic) = ("running mean".to_string(), RunningMean(KeyedState::new()));
    let (_, running) = readings.stateful("running", about, "running", group, logic)?;
    flow.sink("out", running, KafkaSink::json(&peer.kafka, &peer.output))
}
