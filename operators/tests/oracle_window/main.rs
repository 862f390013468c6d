//! Windows against a recomputation from scratch: random histories with late records, cut at random
//! places, on one to four workers; and the same when a run goes on where another one was killed.

#[path = "../shared/killed.rs"]
mod killed;
#[path = "../shared/memory.rs"]
mod memory;
#[path = "../shared/reading.rs"]
mod reading;
mod resume;
#[path = "../shared/shape.rs"]
mod shape;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tideflow_core::{
    Binding, EpochSettings, EventTime, Flow, Job, LogOnly, RecentBindings, execute, timely,
};
use tideflow_operators::{Aggregate, KeyBy, Late, Tumbling, Window};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use reading::{Reading, Values};

const LENGTH_MS: i64 = 100;

/// What a run published: with the epoch of each.
#[derive(Debug, PartialEq)]
struct Published {
    windows: BTreeMap<(u64, i64), (u64, Values)>,
    late: Vec<(u64, String)>,
}

fn run(
    history: &[Vec<Reading>],
    bound_ms: u64,
    workers: usize,
    chunk: usize,
    epoch_bytes: usize,
) -> (Published, Vec<Binding>) {
    let (windows, late) = (VecSink::new(), VecSink::new());
    let log = RecentBindings::new(usize::MAX);
    let source = VecSource::new(history.to_vec())
        .out_of_orderness(Duration::from_millis(bound_ms))
        .chunk(chunk);
    let epochs = EpochSettings {
        interval: Duration::from_millis(20),
        inflight_max: 3,
        bytes_max: epoch_bytes,
        ..EpochSettings::default()
    };
    let job = Job { epochs, ..Job::default() };
    let sinks = (windows.clone(), late.clone());
    let graph = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", source.clone())?;
        let windowed = readings
            .key_by(|r| &r.device)
            .tumbling_window::<_, Values>("windows", Tumbling::of(Duration::from_millis(100)))?;
        flow.sink("on time", windowed.on_time, sinks.0.clone())?;
        flow.sink("late", windowed.late, sinks.1.clone())
    };
    let config = timely::Config::process(workers);
    execute(config, &job, LogOnly::new(log.clone()), |_| (), graph).expect("the graph runs");
    (Published::of(windows.take(), late.take()), log.kept())
}

impl Published {
    fn of(windows: Vec<(u64, Window<u64, Values>)>, late: Vec<(u64, Late<Reading>)>) -> Self {
        let mut once = BTreeMap::new();
        for (epoch, Window { key, start, value, .. }) in windows {
            let before = once.insert((key, start.0), (epoch, value));
            assert_eq!(before, None, "window of {key} at {start} came twice");
        }
        let mut late: Vec<_> = late.into_iter().map(|(e, l)| (e, format!("{l:?}"))).collect();
        late.sort();
        Published { windows: once, late }
    }
}

/// The same from the history and the bindings alone.
fn recompute(history: &[Vec<Reading>], bindings: &[Binding]) -> Published {
    let watermark_before = |i: usize| match i {
        0 => EventTime::MIN,
        i => bindings[i - 1].watermark,
    };
    let mut windows: BTreeMap<(u64, i64), (u64, Values)> = BTreeMap::new();
    let mut late = Vec::new();
    for (partition, records) in history.iter().enumerate() {
        for (offset, r) in records.iter().enumerate() {
            let holds = |b: &Binding| b.parts[partition].next > offset as i64;
            let i = bindings.iter().position(holds).expect("every record is in an epoch");
            let (start, end) = (r.ts - r.ts % LENGTH_MS, r.ts - r.ts % LENGTH_MS + LENGTH_MS);
            if EventTime(end) <= watermark_before(i) {
                let (start, end) = (EventTime(start), EventTime(end));
                let watermark = watermark_before(i);
                let late_record = Late { record: r.clone(), start, end, watermark };
                late.push((bindings[i].epoch, format!("{late_record:?}")));
            } else {
                let closes = bindings.iter().find(|b| b.watermark >= EventTime(end));
                let closes = closes.expect("the end of input closes every window").epoch;
                let entry = windows.entry((r.device, start));
                entry.or_insert_with(|| (closes, Values::default())).1.add(r);
            }
        }
    }
    late.sort();
    Published { windows, late }
}

fn histories() -> impl Strategy<Value = Vec<Vec<Reading>>> {
    // Few devices with many readings each, or so many that key groups hold several.
    let device = prop_oneof![0..12u64, 0..4_000u64];
    let record = (device, 0..40i64, 0..200i64, -50.0..50.0f64);
    let partition = prop::collection::vec(record, 0..400).prop_map(|steps| {
        let mut now = 1_000;
        let reading = |(device, step, back, value)| {
            now += step;
            Reading { device, ts: now - back, value }
        };
        steps.into_iter().map(reading).collect::<Vec<_>>()
    });
    prop::collection::vec(partition, 1..5)
}

/// The order of a history's records, given by one number each: a record lies behind an earlier one
/// by `bound_ms` of event time at most.
fn reordered(history: &[Vec<Reading>], delays: &[i64], bound_ms: i64) -> Vec<Vec<Reading>> {
    let mut delays = delays.iter().cycle().map(|delay| delay % (bound_ms + 1));
    let mut order = |records: &Vec<Reading>| {
        let delayed = records.iter().map(|r| (r.ts + delays.next().unwrap_or(0), r.clone()));
        let mut delayed: Vec<_> = delayed.collect();
        delayed.sort_by_key(|(arrives, _)| *arrives);
        delayed.into_iter().map(|(_, record)| record).collect()
    };
    history.iter().map(&mut order).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn oracle_windows_equal_a_recomputation(
        history in histories(),
        bound_ms in 0..250u64,
        workers in 1..5usize,
        chunk in 1..50usize,
        epoch_bytes in 200..8_000usize,
    ) {
        let (published, bindings) = run(&history, bound_ms, workers, chunk, epoch_bytes);
        prop_assert_eq!(&published, &recompute(&history, &bindings));
    }

    #[test]
    fn oracle_one_worker_equals_many_while_disorder_stays_within_the_bound(
        history in histories(), chunk in 1..50usize, epoch_bytes in 200..8_000usize,
    ) {
        let of = |workers| {
            let (published, _) = run(&history, 200, workers, chunk, epoch_bytes);
            assert_eq!(published.late, []);
            published.windows.into_iter().map(|(k, (_, v))| (k, v)).collect::<Vec<_>>()
        };
        let one = of(1);
        for workers in 2..5 {
            prop_assert_eq!(&of(workers), &one, "{} workers", workers);
        }
    }

    #[test]
    fn oracle_any_order_within_the_bound_gives_the_same_windows_and_nothing_late(
        history in histories(),
        delays in prop::collection::vec(0..1_000i64, 1_700),
        bound_ms in 0..250i64,
        workers in 1..5usize,
        chunk in 1..50usize,
        epoch_bytes in 200..8_000usize,
    ) {
        let of = |history: &[Vec<Reading>]| {
            let (published, _) = run(history, bound_ms as u64, workers, chunk, epoch_bytes);
            assert_eq!(published.late, []);
            published.windows.into_iter().map(|(k, (_, v))| (k, v)).collect::<Vec<_>>()
        };
        let in_order = of(&reordered(&history, &[0], bound_ms));
        let shuffled = of(&reordered(&history, &delays, bound_ms));
        prop_assert_eq!(shuffled, in_order);
    }
}

#[test]
fn an_empty_history_ends() {
    let (published, bindings) = run(&[vec![]], 0, 2, 1, 1_000);
    assert_eq!((published.windows.len(), published.late.len()), (0, 0));
    assert_eq!(bindings.last().map(|b| b.watermark), Some(EventTime::MAX));
}
