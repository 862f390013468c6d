//! The last rows of each key against a recomputation from scratch: random histories with silences, cut at random
//! places, on one to four workers; and the same when a run goes on where another one was killed.

#[path = "../shared/killed.rs"]
mod killed;
#[path = "../shared/memory.rs"]
mod memory;
#[path = "../shared/shape.rs"]
mod shape;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tideflow_core::{Binding, EpochSettings, Event, EventTime, Flow, Job, execute, timely};
use tideflow_operators::{Features, KeyBy, LastRows};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use killed::Killed;
use memory::Memory;
use shape::Shape;

/// Rows of each.
const N: usize = 3;
const FORGET_MS: i64 = 400;
/// How far a reading may lie behind the latest: a key that goes on must not have been forgotten.
const BACK_MS: i64 = 200;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    device: u64,
    ts: i64,
    value: f64,
}

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }
}

impl Features for Reading {
    const NAMES: &'static [&'static str] = &["value", "ts"];

    fn row(&self, row: &mut Vec<f64>) {
        row.extend([self.value, self.ts as f64]);
    }
}

/// By key and in the order in which they came: the epoch, and the features of all rows.
type Published = BTreeMap<u64, Vec<(u64, Vec<f64>)>>;

fn run(history: &[Vec<Reading>], shape: Shape, memory: &Memory) -> Published {
    let out = VecSink::new();
    let source = VecSource::new(history.to_vec())
        .out_of_orderness(Duration::from_millis(BACK_MS as u64))
        .chunk(shape.chunk);
    let epochs = EpochSettings {
        interval: Duration::from_millis(20),
        inflight_max: 3,
        bytes_max: shape.epoch_bytes,
        ..EpochSettings::default()
    };
    let (job, sink) = (Job { epochs, ..Job::default() }, out.clone());
    let graph = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", source.clone())?;
        let forget_after = Duration::from_millis(FORGET_MS as u64);
        let last =
            readings.key_by(|r: &Reading| &r.device).last_rows::<_, N>("last", forget_after)?;
        flow.sink("out", last, sink.clone())
    };
    let config = timely::Config::process(shape.workers);
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    execute(config, &job, memory, |_| (), graph).expect("the graph runs");
    let mut published = Published::new();
    for (epoch, last) in out.take() {
        let last: LastRows<Reading, N> = last;
        let mut row = Vec::new();
        last.row(&mut row);
        published.entry(last.of.device).or_default().push((epoch, row));
    }
    published
}

/// The same from the history and the bindings alone.
fn recompute(history: &[Vec<Reading>], bindings: &[Binding]) -> Published {
    let mut rows: BTreeMap<u64, Vec<(u64, &Reading)>> = BTreeMap::new();
    for (partition, records) in history.iter().enumerate() {
        for (offset, reading) in records.iter().enumerate() {
            let holds = |b: &&Binding| b.parts[partition].next > offset as i64;
            let epoch = bindings.iter().find(holds).expect("every record is in an epoch").epoch;
            rows.entry(reading.device).or_default().push((epoch, reading));
        }
    }
    let mut published = Published::new();
    for (device, rows) in rows {
        let mut latest = i64::MIN;
        let mut since = 0;
        for (at, (epoch, reading)) in rows.iter().enumerate() {
            if at > 0 && reading.ts > latest + FORGET_MS {
                (since, latest) = (at, i64::MIN);
            }
            latest = latest.max(reading.ts);
            if at + 1 >= since + N {
                let last = rows[at + 1 - N..=at].iter();
                let row = last.flat_map(|(_, r)| [r.value, r.ts as f64]).collect();
                published.entry(device).or_default().push((*epoch, row));
            }
        }
    }
    published
}

/// What of it lies in these epochs.
fn within(published: &Published, epochs: impl Fn(u64) -> bool) -> Published {
    let those = |rows: &Vec<(u64, Vec<f64>)>| -> Vec<_> {
        rows.iter().filter(|(epoch, _)| epochs(*epoch)).cloned().collect()
    };
    let kept = published.iter().map(|(device, rows)| (*device, those(rows)));
    kept.filter(|(_, rows)| !rows.is_empty()).collect()
}

/// Each device sends to one partition, in no order of time, and is silent now and then.
fn histories() -> impl Strategy<Value = Vec<Vec<Reading>>> {
    let step = prop_oneof![9 => 0..40i64, 1 => FORGET_MS / 2..3 * FORGET_MS];
    let record = (0..12u64, step, 0..BACK_MS, -50.0..50.0f64);
    let partitions = prop::collection::vec(prop::collection::vec(record, 0..300), 1..5);
    partitions.prop_map(|partitions| {
        let of = |(partition, steps): (u64, Vec<(u64, i64, i64, f64)>)| {
            let mut now = 1_000;
            let reading = |(device, step, back, value)| {
                now += step;
                Reading { device: 4 * device + partition, ts: now - back, value }
            };
            steps.into_iter().map(reading).collect()
        };
        (0..).zip(partitions).map(of).collect()
    })
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..50, 200..8_000, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn oracle_last_rows_equal_a_recomputation(history in histories(), shape in shapes()) {
        let memory = Memory::default();
        let published = run(&history, shape, &memory);
        prop_assert_eq!(&published, &recompute(&history, &memory.log()));
    }

    #[test]
    fn oracle_last_rows_go_on_from_any_snapshot_and_any_end_of_the_log(
        history in histories(),
        first in shapes(),
        second in shapes(),
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let memory = Memory::default();
        let before = run(&history, first, &memory);
        let Killed { resume, states, recorded } = Killed::of(&memory, snapshot, killed);
        let (state_of, last) = (resume.state_of(), resume.last());
        let memory = Memory::resume(resume, states);
        let after = run(&history, second, &memory);
        let again = |epoch| epoch > state_of && epoch <= last;
        prop_assert_eq!(within(&after, again), within(&before, again));

        let both: Vec<Binding> = recorded.into_iter().chain(memory.log()).collect();
        let whole = recompute(&history, &both);
        prop_assert_eq!(after, within(&whole, |epoch| epoch > state_of));
    }
}

#[test]
fn a_key_is_forgotten_and_what_is_kept_of_others_is_bounded() {
    let reading = |device, ts| Reading { device, ts, value: 0.0 };
    // One that speaks once, while another goes on for long after it.
    let mut history: Vec<_> = vec![reading(1, 0)];
    history.extend((0..200).map(|n| reading(2, 20 * n)));
    let memory = Memory::default();
    let shape = Shape { workers: 1, chunk: 5, epoch_bytes: 200, snapshot_every: 1 };
    run(&[history], shape, &memory);
    let snapshots = memory.snapshots();
    let sizes = |states: &memory::States| -> Vec<usize> {
        let lengths = states.values().map(|(_, bytes)| bytes.len());
        lengths.filter(|bytes| *bytes > 0).collect()
    };
    let held: Vec<_> = snapshots.iter().map(|(_, states)| sizes(states)).collect();
    assert!(held.iter().any(|groups| groups.len() == 2), "both were there: {held:?}");
    let last = held.last().expect("there are snapshots");
    // Two rows of two features, and the form around them.
    assert!(last.len() == 1 && last[0] < 2 * 2 * 8 + 20, "{last:?}");
}
