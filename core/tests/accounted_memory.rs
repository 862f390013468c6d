//! What is accounted of an operator's memory, beside what is allocated. Alone in its process: it counts
//! what all threads allocate.

use std::alloc::System;

use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tideflow_core::{DeviceId, Key, KeyedState, Row};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEYS: usize = 100_000;

#[derive(Serialize, Deserialize)]
struct Numbers([u64; 5]);

impl Row for Numbers {}

#[derive(Serialize, Deserialize)]
struct Site(String);

impl Row for Site {
    fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }
}

/// How far what is accounted may lie from what is allocated.
fn agrees<K: Key, V: Row>(what: &str, state: &mut KeyedState<K, V>, since: &Region<'_, System>) {
    let change = since.change();
    let allocated = change.bytes_allocated - change.bytes_deallocated;
    let accounted = state.groups().bytes();
    println!("{what}: {accounted} bytes accounted, {allocated} allocated");
    let apart = accounted.abs_diff(allocated) as f64 / allocated as f64;
    assert!(apart < 0.05, "{what}: {accounted} bytes accounted, {allocated} allocated");
}

fn fill<K: Key, V: Row>(what: &str, key: impl Fn(usize) -> K, row: impl Fn(usize) -> V) {
    let since = Region::new(ALLOCATOR);
    let mut state = KeyedState::new();
    for n in 0..KEYS {
        state.insert(key(n), row(n));
    }
    agrees(what, &mut state, &since);

    let segment = state.groups().snapshot_some(usize::MAX).expect("it may be of any size");
    let since = Region::new(ALLOCATOR);
    let mut restored = KeyedState::<K, V>::new();
    for (group, _) in &segment.groups {
        let bytes = segment.of(*group).expect("it is listed");
        restored.groups().restore(*group, V::VERSION, bytes).expect("it was just written");
    }
    agrees(&format!("{what}, restored"), &mut restored, &since);
    for n in (0..KEYS).filter(|n| n % 10 > 0) {
        restored.remove(&key(n));
    }
    agrees(&format!("{what}, a tenth left"), &mut restored, &since);
}

#[test]
fn what_is_accounted_is_what_is_allocated() {
    let id = |text: String| text.parse::<DeviceId>().expect("well formed");
    fill("numbers", |n| n as u64, |n| Numbers([n as u64; 5]));
    fill("devices", |n| id(format!("d{n:06}")), |n| Numbers([n as u64; 5]));
    fill("long names", |n| id(format!("plant-of-the-north:{n:030}")), |n| Site("s".repeat(n % 40)));
    fill("texts", |n| format!("{n}"), |n| Site("s".repeat(n % 400)));
}
