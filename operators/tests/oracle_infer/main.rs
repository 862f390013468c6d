//! Which version scores: while a reference points to another every few milliseconds, and where a run is
//! killed anywhere and goes on with other workers.

mod batches;
mod candidate;
#[path = "../shared/killed.rs"]
mod killed;
#[path = "../shared/memory.rs"]
mod memory;
mod moved;
#[path = "../shared/registry.rs"]
mod registry;
mod rulings;
#[path = "../shared/shape.rs"]
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tideflow_core::{Binding, EpochSettings, Event, EventTime, Flow, Job, execute, timely};
use tideflow_models::{ModelRef, VersionId};
use tideflow_operators::{Features, Infer, InferOptions};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use killed::Killed;
use memory::Memory;
use registry::Registry;
use shape::Shape;

/// A number of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Number {
    value: f64,
}

impl Event for Number {
    fn event_time(&self) -> EventTime {
        EventTime(0)
    }
}

impl Features for Number {
    const NAMES: &'static [&'static str] = &["value"];
    fn row(&self, row: &mut Vec<f64>) {
        row.push(self.value);
    }
}

/// Every score, by the number that it is of: the epoch, the bits, and who gave it.
type Scores = BTreeMap<u64, (u64, u64, VersionId)>;

fn numbers(partitions: usize, each: usize) -> Vec<Vec<Number>> {
    let of = |p: usize| (0..each).map(|n| Number { value: (p * each + n) as f64 }).collect();
    (0..partitions).map(of).collect()
}

/// A job whose epochs are cut so.
fn job(shape: Shape) -> Job {
    let epochs = EpochSettings {
        interval: Duration::from_millis(2),
        inflight_max: 3,
        bytes_max: shape.epoch_bytes,
        ..EpochSettings::default()
    };
    Job { epochs, ..Job::default() }
}

fn run(input: &[Vec<Number>], registry: &Registry, shape: Shape, memory: &Memory) -> Scores {
    let (scored, failed) = (VecSink::new(), VecSink::new());
    let source = VecSource::new(input.to_vec()).chunk(shape.chunk);
    let job = job(shape);
    let options = InferOptions {
        threads: 2,
        poll: Duration::from_millis(1),
        wait_max: Duration::from_millis(1),
        ..InferOptions::default()
    };
    let model = (ModelRef::new("numbers", registry.clone()), options);
    let sinks = (scored.clone(), failed.clone());
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", source.clone())?;
        let inferred = numbers.infer("scores", &model)?;
        flow.sink("scored", inferred.scored, sinks.0.clone())?;
        flow.sink("failed", inferred.failed, sinks.1.clone())
    };
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    execute(timely::Config::process(shape.workers), &job, memory, |_| (), graph).expect("it runs");
    assert_eq!(failed.take().len(), 0);
    let mut scores = Scores::new();
    for (epoch, scored) in scored.take() {
        let of = scored.of.value as u64;
        let score = (epoch, scored.score.to_bits(), (*scored.model).clone());
        assert_eq!(scores.insert(of, score), None, "{of} was scored twice");
    }
    scores
}

/// What the binding of each epoch says of its version.
fn bound(bindings: &[Binding]) -> BTreeMap<u64, VersionId> {
    let version = |b: &Binding| b.chosen.get("scores").expect("it is chosen").parse().expect("one");
    bindings.iter().map(|b| (b.epoch, version(b))).collect()
}

fn assert_as_bound(scores: &Scores, bindings: &[Binding], registry: &Registry) {
    let bound = bound(bindings);
    for (of, (epoch, bits, version)) in scores {
        assert_eq!(*version, bound[epoch], "{of} in epoch {epoch}");
        assert_eq!(f64::from_bits(*bits), registry.expected(&version.version, *of as f64));
    }
}

#[test]
fn while_the_reference_moves_every_score_is_of_the_version_that_its_epoch_is_bound_to() {
    let shape = Shape { workers: 2, chunk: 3, epoch_bytes: 400, snapshot_every: 5 };
    let (registry, memory) = (Registry::moving_every(300), Memory::default());
    let scores = run(&numbers(4, 2_000), &registry, shape, &memory);
    assert_eq!(scores.len(), 8_000);
    assert_as_bound(&scores, &memory.log(), &registry);
    let versions: BTreeSet<_> = scores.values().map(|(_, _, id)| id.version.clone()).collect();
    assert!(versions.len() > 1, "it has moved: {versions:?}");
}

#[test]
fn fault_a_version_that_cannot_be_opened_changes_nothing() {
    let shape = Shape { workers: 2, chunk: 3, epoch_bytes: 400, snapshot_every: 0 };
    let (registry, memory) = (Registry::moving_every(300).with_broken("2"), Memory::default());
    let scores = run(&numbers(4, 2_000), &registry, shape, &memory);
    assert_eq!(scores.len(), 8_000);
    assert_as_bound(&scores, &memory.log(), &registry);
    let versions: BTreeSet<_> = scores.values().map(|(_, _, id)| id.version.as_str()).collect();
    assert!(!versions.contains("2") && versions.len() > 1, "the others score: {versions:?}");
    assert!(registry.tried("2") > 0, "it was tried");
}

#[test]
fn fault_a_replay_whose_version_is_gone_ends_and_names_it() {
    let shape = Shape { workers: 1, chunk: 3, epoch_bytes: 400, snapshot_every: 0 };
    let (registry, memory) = (Registry::moving_every(1_000_000), Memory::default());
    run(&numbers(1, 100), &registry, shape, &memory);
    let Killed { resume, states, .. } = Killed::of(&memory, 0.0, 0.9);
    registry.move_to("3");
    let registry = registry.with_broken("1");
    let memory = Memory::resume(resume, states);
    let told = try_run(&registry, &memory).expect_err("version 1 has scored these epochs");
    assert!(
        told.contains("`scores`: epoch 1 is scored by a version that is not to be had"),
        "{told}"
    );
    assert!(told.contains("version `1` of model `numbers`"), "{told}");
}

/// A run on one worker: how it ended.
fn try_run(registry: &Registry, memory: &Memory) -> Result<(), String> {
    let source = VecSource::new(numbers(1, 100));
    let model = ModelRef::new("numbers", registry.clone());
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", source.clone())?;
        let inferred = numbers.infer("scores", &model)?;
        flow.sink("scored", inferred.scored, VecSink::new())
    };
    let ended = execute(timely::Config::thread(), &Job::default(), memory.clone(), |_| (), graph);
    ended.map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn oracle_a_killed_run_goes_on_with_the_versions_that_its_epochs_are_bound_to(
        first in shape::shapes(1..20, 100..1_000, 1..8),
        second in shape::shapes(1..20, 100..1_000, 1..8),
        (moves, start) in (50..300usize, 0..3usize),
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let (input, memory) = (numbers(3, 500), Memory::default());
        let registry = Registry::moving_every(moves);
        let before = run(&input, &registry, first, &memory);
        let Killed { resume, states, recorded } = Killed::of(&memory, snapshot, killed);
        let (state_of, last) = (resume.state_of(), resume.last());
        registry.move_to(["1", "2", "3"][start]);
        let memory = Memory::resume(resume, states);
        let after = run(&input, &registry, second, &memory);

        let again = |scores: &Scores| -> Scores {
            let within = |epoch: u64| epoch > state_of && epoch <= last;
            scores.iter().filter(|(_, (e, ..))| within(*e)).map(|(k, v)| (*k, v.clone())).collect()
        };
        prop_assert_eq!(again(&before), again(&after));
        let both: Vec<Binding> = recorded.into_iter().chain(memory.log()).collect();
        assert_as_bound(&after, &both, &registry);
        let done = before.values().filter(|(epoch, ..)| *epoch <= state_of).count();
        prop_assert_eq!(done + after.len(), 1_500);
    }
}
