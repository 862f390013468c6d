//! What a registry and its devices say.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tideflow_core::{Event, EventTime, Upsert};
use tideflow_operators::Row;

/// Where a device is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    pub site: u64,
    pub region: u64,
}

impl Row for Place {}

/// What a device measures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reading {
    pub ts: i64,
    pub device: u64,
    pub value: i64,
}

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }
}

impl Row for Reading {}

/// All of it, by partition.
#[derive(Clone, Debug)]
pub struct History {
    pub registry: Vec<Vec<Upsert<u64, Place>>>,
    pub readings: Vec<Vec<Reading>>,
    /// How far readings may lie behind the latest.
    pub bound_ms: u64,
}

/// A log of these, each a device, where it is, and a place for those few that leave their partition.
pub fn registry(
    said: impl IntoIterator<Item = (u64, Option<(u64, u64)>, u64)>,
    partitions: usize,
) -> Vec<Vec<Upsert<u64, Place>>> {
    let mut log = vec![Vec::new(); partitions];
    for (key, place, stray) in said {
        let partition = if stray < 5 { stray } else { key } as usize % partitions;
        let value = place.map(|(site, region)| Place { site, region });
        let offset = log[partition].len() as i64;
        log[partition].push(Upsert { partition: partition as i32, offset, key, value });
    }
    log
}

pub fn histories() -> impl Strategy<Value = History> {
    let device = || prop_oneof![4 => 0..12u64, 1 => 0..1_000u64];
    let place = prop_oneof![3 => (0..5u64, 0..3u64).prop_map(Some), 1 => Just(None)];
    let said = prop::collection::vec((device(), place, 0..100u64), 0..300);
    let registry = (said, 1..4usize).prop_map(|(said, partitions)| registry(said, partitions));
    let reading = (device(), 0..40i64, 0..200i64, -50..50i64);
    let partition = prop::collection::vec(reading, 0..300).prop_map(|steps| {
        let mut now = 1_000;
        let reading = |(device, step, back, value)| {
            now += step;
            Reading { device, ts: now - back, value }
        };
        steps.into_iter().map(reading).collect::<Vec<_>>()
    });
    let readings = prop::collection::vec(partition, 1..4);
    (registry, readings, 0..250u64).prop_map(|(registry, readings, bound_ms)| History {
        registry,
        readings,
        bound_ms,
    })
}
