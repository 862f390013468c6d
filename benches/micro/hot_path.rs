//! The pieces of the hot path, one at a time.

use divan::Bencher;
use divan::counter::ItemsCount;
use tideflow::core::Key;
use tideflow::operators::{Aggregate, Stats, Total};
use tideflow::prelude::DeviceId;
use tideflow::sinks::kafka::partition_for;
use tideflow::sources::kafka::{FlatRecord, decode_json};
use tideflow_dataflows::Reading;
use tideflow_dataflows::device_health::ReadingStats;

fn main() {
    divan::main();
}

const READING: &[u8] = br#"{"device":"d000123","ts":1700000000000,"temperature":21.37,"vibration":0.81,"current":4.2}"#;

#[divan::bench(sample_size = 1000)]
fn decode_with_serde(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(1u32))
        .bench(|| decode_json::<Reading>(divan::black_box(READING)).unwrap());
}

#[divan::bench(sample_size = 1000)]
fn decode_flat(bencher: Bencher) {
    bencher
        .counter(ItemsCount::new(1u32))
        .bench(|| Reading::read(divan::black_box(READING)).unwrap());
}

#[divan::bench(sample_size = 1000)]
fn add_to_total(bencher: Bencher) {
    let mut total = Total::default();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| total.add(divan::black_box(21.37)));
}

#[divan::bench(sample_size = 1000)]
fn add_to_stats(bencher: Bencher) {
    let mut stats = Stats::default();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| stats.add(divan::black_box(21.37)));
}

#[divan::bench(sample_size = 1000)]
fn add_a_reading(bencher: Bencher) {
    let (mut stats, reading) = (ReadingStats::default(), Reading::read(READING).unwrap());
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| stats.add(divan::black_box(&reading)));
}

#[divan::bench(sample_size = 1000)]
fn hash_a_device(bencher: Bencher) {
    let device: DeviceId = "d000123".parse().unwrap();
    bencher.counter(ItemsCount::new(1u32)).bench(|| divan::black_box(&device).stable_hash());
}

#[divan::bench(sample_size = 1000)]
fn place_a_key(bencher: Bencher) {
    bencher.counter(ItemsCount::new(1u32)).bench(|| partition_for(divan::black_box(b"d000123"), 4));
}
