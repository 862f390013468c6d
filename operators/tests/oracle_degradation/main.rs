//! What is found of a model's versions against a recomputation from scratch, of what they have scored and of
//! labels: while the version that scores moves, labels come in any order, on one to four workers, and where a
//! run is killed anywhere and goes on with other workers.

#[path = "../shared/killed.rs"]
mod killed;
#[path = "../shared/memory.rs"]
mod memory;
#[path = "../shared/reading.rs"]
mod reading;
mod recomputed;
#[path = "../shared/registry.rs"]
mod registry;
#[path = "../shared/shape.rs"]
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tideflow_core::{Binding, EpochSettings, Event, EventTime, Flow, Job, execute, timely};
use tideflow_models::ModelRef;
use tideflow_operators::{
    Degraded, Drift, DriftOptions, Features, Hysteresis, Infer, InferOptions, Judge, JudgeOptions,
    KeyBy, Label, Map, Quality, Scored, Tumbling, Window,
};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use killed::Killed;
use memory::Memory;
use reading::{Reading, Values};
use registry::Registry;
use shape::Shape;

impl Features for Values {
    const NAMES: &'static [&'static str] = &["value"];
    fn row(&self, row: &mut Vec<f64>) {
        row.push(self.0.summary().mean);
    }
}

/// A label, which holds no time back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said(Label<u64>);

impl Event for Said {
    const TIMED: bool = false;
    fn event_time(&self) -> EventTime {
        self.0.said
    }
}

/// The length of a device's windows, and of those that are compared.
const DEVICE_MS: i64 = 50;
const DRIFT_MS: i64 = 400;

const DRIFT: DriftOptions = DriftOptions { window: Duration::from_millis(400), rows_min: 3 };

fn judging(labels_within_ms: u64) -> JudgeOptions {
    JudgeOptions {
        every: Duration::from_millis(100),
        over: Duration::from_millis(300),
        labels_within: Duration::from_millis(labels_within_ms),
        threshold: 0.5,
        labelled_min: 2,
    }
}

/// What goes in.
#[derive(Clone, Debug)]
struct History {
    readings: Vec<Vec<Reading>>,
    labels: Vec<Vec<Said>>,
    labels_within_ms: u64,
}

type Score = Scored<Window<u64, Values>>;

/// What comes out, with the epoch of each.
#[derive(Clone, Debug, Default, PartialEq)]
struct Published {
    scores: Vec<(u64, Score)>,
    drift: Vec<(u64, Drift)>,
    quality: Vec<(u64, Quality)>,
    late: Vec<(u64, Label<u64>)>,
    alarms: Vec<(u64, String)>,
}

fn run(history: &History, model: &ModelRef, shape: Shape, memory: &Memory) -> Published {
    let (scores, drift, quality, late, alarms) =
        (VecSink::new(), VecSink::new(), VecSink::new(), VecSink::new(), VecSink::new());
    let readings = VecSource::new(history.readings.clone())
        .out_of_orderness(Duration::from_millis(60))
        .chunk(shape.chunk);
    let labels = VecSource::new(history.labels.clone()).chunk(shape.chunk);
    let epochs = EpochSettings {
        interval: Duration::from_millis(5),
        inflight_max: 3,
        bytes_max: shape.epoch_bytes,
        ..EpochSettings::default()
    };
    let job = Job { epochs, ..Job::default() };
    let calls = InferOptions {
        poll: Duration::from_millis(1),
        wait_max: Duration::from_millis(1),
        ..InferOptions::default()
    };
    let (model, judging) = ((model.clone(), calls), judging(history.labels_within_ms));
    let sinks = (scores.clone(), drift.clone(), quality.clone(), late.clone(), alarms.clone());
    let graph = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", readings.clone())?;
        let (labels, _) = flow.source("labels", labels.clone())?;
        let length = Duration::from_millis(DEVICE_MS as u64);
        let windows = readings
            .key_by(|r: &Reading| &r.device)
            .tumbling_window::<_, Values>("windows", Tumbling::of(length))?;
        let health = windows.on_time.infer("scores", &model)?;
        let drift = health.drift("drift", DRIFT)?;
        let labels = labels.map("said", |said| said.0)?;
        let judged = health.scored.clone().judge("quality", labels, judging)?;
        let lasts = Duration::from_millis(1_200);
        let far = Hysteresis::raise_above(0.3).clear_below(0.1).forget_after(lasts);
        let low = Hysteresis::raise_below(0.5).clear_above(0.6).forget_after(lasts);
        let far = drift.clone().degraded("drifted", |_| true, far)?;
        let low = judged.quality.clone().degraded("f1 low", |figure| figure == "f1", low)?;
        flow.sink("scores out", health.scored, sinks.0.clone())?;
        flow.sink("drift out", drift, sinks.1.clone())?;
        flow.sink("quality out", judged.quality, sinks.2.clone())?;
        flow.sink("late out", judged.late, sinks.3.clone())?;
        flow.sink("alarms out", far.and(low), sinks.4.clone())
    };
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    execute(timely::Config::process(shape.workers), &job, memory, |_| (), graph).expect("it runs");
    let mut published = Published {
        scores: scores.take(),
        drift: drift.take(),
        quality: quality.take(),
        late: late.take(),
        alarms: alarms.take().into_iter().map(|(e, a)| (e, format!("{a:?}"))).collect(),
    };
    published.sort();
    published
}

impl Published {
    /// Workers publish in no order.
    fn sort(&mut self) {
        self.scores.sort_by_key(|(_, score)| (score.of.key, score.of.start));
        self.drift.sort_by(|(_, a), (_, b)| (&a.model, a.start).cmp(&(&b.model, b.start)));
        self.quality.sort_by(|(_, a), (_, b)| (&a.model, a.start).cmp(&(&b.model, b.start)));
        self.late.sort_by_key(|(epoch, label)| (*epoch, format!("{label:?}")));
        self.alarms.sort();
    }

    /// What of it lies in these epochs.
    fn within(&self, epochs: impl Fn(u64) -> bool) -> Published {
        fn of<T: Clone>(all: &[(u64, T)], epochs: &impl Fn(u64) -> bool) -> Vec<(u64, T)> {
            all.iter().filter(|(epoch, _)| epochs(*epoch)).cloned().collect()
        }
        Published {
            scores: of(&self.scores, &epochs),
            drift: of(&self.drift, &epochs),
            quality: of(&self.quality, &epochs),
            late: of(&self.late, &epochs),
            alarms: of(&self.alarms, &epochs),
        }
    }
}

/// That what was published is what the scores, the labels and the bindings say.
fn assert_as_recomputed(found: &Published, history: &History, bindings: &[Binding], after: u64) {
    let later = |epoch: u64| epoch > after;
    let drift = recomputed::drift(&found.scores, bindings);
    let drift: Vec<_> = drift.into_iter().filter(|((e, ..), _)| later(*e)).collect();
    let published = found.drift.iter().filter(|(epoch, _)| later(*epoch)).map(|(epoch, d)| {
        assert_eq!(d.end.0 - d.start.0, DRIFT_MS);
        ((*epoch, d.model.version.clone(), d.start.0), (d.rows, d.psi.clone()))
    });
    assert_eq!(published.collect::<BTreeMap<_, _>>(), drift.into_iter().collect());

    let recomputed::Judged { quality, late } = recomputed::judge(&found.scores, history, bindings);
    let quality: BTreeMap<_, _> = quality.into_iter().filter(|((e, ..), _)| later(*e)).collect();
    let published = found.quality.iter().filter(|(epoch, _)| later(*epoch));
    let published: BTreeMap<_, _> = published.map(recomputed::shown).collect();
    assert_eq!(published, quality);
    let late: Vec<_> = late.into_iter().filter(|(epoch, _)| later(*epoch)).collect();
    let of = |late: &[(u64, Label<u64>)]| -> Vec<_> {
        let mut texts: Vec<_> = late.iter().map(|l| format!("{l:?}")).collect();
        texts.sort();
        texts
    };
    assert_eq!(of(&found.within(later).late), of(&late));
}

fn histories() -> impl Strategy<Value = History> {
    let reading = (0..12u64, 0..15i64, 0..60i64, -30.0..30.0f64);
    let partition = prop::collection::vec(reading, 0..300).prop_map(|steps| {
        let mut now = 1_000;
        let reading = |(device, step, back, value)| {
            now += step;
            Reading { device, ts: now - back, value }
        };
        steps.into_iter().map(reading).collect::<Vec<_>>()
    });
    // Of few devices and short times, so that many are of the same; some of no time.
    let label = (0..12u64, 900..4_000i64, -10..400i64, 0..5i64, 0..2u8);
    let said = |(key, from, length, said, value)| {
        let (from, to) = (EventTime(from), EventTime(from + length));
        Said(Label { key, from, to, said: EventTime(said), value: f64::from(value) })
    };
    let labels = prop::collection::vec(label.prop_map(said), 0..120);
    let (readings, labels) =
        (prop::collection::vec(partition, 1..4), prop::collection::vec(labels, 1..3));
    (readings, labels, 0..1_000u64).prop_map(|(readings, labels, labels_within_ms)| History {
        readings,
        labels,
        labels_within_ms,
    })
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..40, 200..6_000, 1..8)
}

#[test]
fn every_version_that_scores_is_compared_and_judged() {
    let reading = |n: i64| Reading { device: n as u64 % 7, ts: 1_000 + 10 * n, value: n as f64 };
    let readings = vec![(0..3_000).map(reading).collect(), (0..3_000).map(reading).collect()];
    let history = History { readings, labels: vec![Vec::new()], labels_within_ms: 0 };
    let shape = Shape { workers: 2, chunk: 5, epoch_bytes: 400, snapshot_every: 5 };
    let (registry, memory) = (Registry::moving_every(200), Memory::default());
    let found = run(&history, &ModelRef::new("numbers", registry), shape, &memory);
    assert_as_recomputed(&found, &history, &memory.log(), 0);
    let versions = |all: Vec<&str>| all.into_iter().map(str::to_string).collect::<BTreeSet<_>>();
    let scored = versions(found.scores.iter().map(|(_, s)| s.model.version.as_str()).collect());
    assert!(scored.len() > 1, "it has moved: {scored:?}");
    let drift = versions(found.drift.iter().map(|(_, d)| d.model.version.as_str()).collect());
    let quality = versions(found.quality.iter().map(|(_, q)| q.model.version.as_str()).collect());
    assert_eq!((&drift, &quality), (&scored, &scored));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn oracle_while_the_version_moves_drift_and_quality_equal_a_recomputation(
        history in histories(), shape in shapes(), moves in 5..60usize,
    ) {
        let (registry, memory) = (Registry::moving_every(moves), Memory::default());
        let found = run(&history, &ModelRef::new("numbers", registry), shape, &memory);
        assert_as_recomputed(&found, &history, &memory.log(), 0);
    }

    #[test]
    fn oracle_a_killed_run_goes_on_with_what_was_counted(
        history in histories(),
        first in shapes(),
        second in shapes(),
        moves in 5..60usize,
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let (registry, memory) = (Registry::moving_every(moves), Memory::default());
        let model = ModelRef::new("numbers", registry);
        let before = run(&history, &model, first, &memory);
        let Killed { resume, states, recorded } = Killed::of(&memory, snapshot, killed);
        let (state_of, last) = (resume.state_of(), resume.last());
        let memory = Memory::resume(resume, states);
        let after = run(&history, &model, second, &memory);
        let again = |epoch| epoch > state_of && epoch <= last;
        prop_assert_eq!(after.within(again), before.within(again));

        let both: Vec<Binding> = recorded.into_iter().chain(memory.log()).collect();
        let mut whole = before.within(|epoch| epoch <= state_of);
        whole.scores.extend(after.scores);
        let found = Published { scores: whole.scores, ..after };
        assert_as_recomputed(&found, &history, &both, state_of);
    }

    #[test]
    fn oracle_any_order_of_labels_on_any_workers_gives_the_same(
        history in histories(), first in shapes(), second in shapes(), turn in 0..100usize,
    ) {
        // Nothing is judged before the end, so that no label is late.
        let history = History { labels_within_ms: 90_000, ..history };
        let mut turned = history.clone();
        turned.labels.reverse();
        for labels in &mut turned.labels {
            labels.reverse();
            let len = labels.len().max(1);
            labels.rotate_left(turn % len);
        }
        let of = |history: &History, shape| {
            let model = ModelRef::from(registry::linear("1"));
            let found = run(history, &model, shape, &Memory::default());
            assert_eq!(found.late, []);
            let drift: Vec<_> = found.drift.into_iter().map(|(_, drift)| drift).collect();
            let quality: Vec<_> = found.quality.into_iter().map(|(_, quality)| quality).collect();
            (drift, quality)
        };
        prop_assert_eq!(of(&turned, second), of(&history, first));
    }
}
