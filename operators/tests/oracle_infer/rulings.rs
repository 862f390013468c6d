//! A model that fails now and then: what becomes of an epoch is decided once, whatever happens to the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tideflow_core::{Flow, Job, Resume, execute, timely};
use tideflow_models::{LinearModel, Model, ModelRef, ScoreError, Signature};
use tideflow_operators::{Infer, InferOptions, OnFailure, Scored};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use crate::job;
use crate::killed::Killed;
use crate::memory::Memory;
use crate::shape::{self, Shape};
use crate::{Number, numbers};

/// Triples, and fails on some of its calls: twice in a row, which a retry does not mend.
pub struct Failing {
    model: LinearModel,
    calls: AtomicUsize,
    /// Of so many calls one; 0 for none.
    one_in: usize,
}

impl Failing {
    pub fn one_in(one_in: usize) -> ModelRef {
        let model = LinearModel::new("numbers", &[("value", "1")], &[3.0], 0.0).batch_rows(4);
        ModelRef::from(Failing { model, calls: AtomicUsize::new(0), one_in })
    }
}

impl Model for Failing {
    fn signature(&self) -> &Signature {
        self.model.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails = self.one_in > 0 && (call / 2).is_multiple_of(self.one_in);
        // One row too many: the error that a linear model gives of itself.
        self.model.score(rows, if fails { count + 1 } else { count }, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

/// What came of a number.
#[derive(Clone, Debug, PartialEq)]
enum Fate {
    Scored(f64),
    Fallback(f64),
    DeadLetter(String),
}

/// What came of every number, and in which epoch.
type Fates = BTreeMap<u64, (u64, Fate)>;

fn run(
    model: ModelRef,
    on_failure: OnFailure,
    shape: Shape,
    memory: &Memory,
) -> Result<Fates, String> {
    let (scored, failed) = (VecSink::new(), VecSink::new());
    let source = VecSource::new(numbers(3, 300)).chunk(shape.chunk);
    let job = job(shape);
    let wait_max = Duration::from_millis(1);
    let options = InferOptions { wait_max, on_failure, ..InferOptions::default() };
    let model = (model, options);
    let sinks = (scored.clone(), failed.clone());
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", source.clone())?;
        let inferred = numbers.infer("scores", &model)?;
        flow.sink("scored", inferred.scored, sinks.0.clone())?;
        flow.sink("failed", inferred.failed, sinks.1.clone())
    };
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    let ended = execute(timely::Config::process(shape.workers), &job, memory, |_| (), graph);
    ended.map_err(|error| error.to_string())?;
    let fallbacks = job.metrics.inference_fallbacks.with_label_values(&["scores"]).get() as usize;
    let mut fates = Fates::new();
    let mut told = |of: f64, epoch, fate| {
        assert_eq!(fates.insert(of as u64, (epoch, fate)), None, "{of} comes twice");
    };
    for (epoch, scored) in scored.take() {
        let fate = if scored.fallback { Fate::Fallback } else { Fate::Scored };
        told(scored.of.value, epoch, fate(scored.score));
    }
    for (epoch, letter) in failed.take() {
        let of: Number =
            serde_json::from_slice(letter.payload.as_deref().expect("the record")).expect("JSON");
        told(of.value, epoch, Fate::DeadLetter(letter.detail));
    }
    assert_eq!(fallbacks, fates.values().filter(|(_, f)| matches!(f, Fate::Fallback(_))).count());
    Ok(fates)
}

/// That an epoch's rows share their fate, which is what was ruled, or their scores.
fn assert_as_ruled(fates: &Fates, ruled: &BTreeMap<u64, String>, on_failure: OnFailure) {
    for (of, (epoch, fate)) in fates {
        let expected = match (ruled.get(epoch), on_failure) {
            (None, _) => Fate::Scored(3.0 * *of as f64),
            (Some(_), OnFailure::Score(score)) => Fate::Fallback(score),
            (Some(text), _) => {
                let ruled: serde_json::Value = serde_json::from_str(text).expect("JSON");
                Fate::DeadLetter(ruled["why"].as_str().expect("a text").to_string())
            }
        };
        assert_eq!(*fate, expected, "{of} in epoch {epoch}");
    }
}

fn policies() -> impl Strategy<Value = OnFailure> {
    prop_oneof![Just(OnFailure::Reject), Just(OnFailure::Score(-1.0))]
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..20, 100..1_000, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn oracle_what_was_ruled_upon_an_epoch_holds_in_every_replay_of_it(
        (first, second) in (shapes(), shapes()),
        on_failure in policies(),
        (one_in, then) in (2..9usize, prop_oneof![Just(0), Just(1), Just(5)]),
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let memory = Memory::default();
        let before = run(Failing::one_in(one_in), on_failure, first, &memory).expect("it runs");
        prop_assert_eq!(before.len(), 900);
        let all = memory.rulings().into_iter().map(|r| (r.epoch, r.ruled)).collect();
        assert_as_ruled(&before, &all, on_failure);

        let Killed { resume, states, .. } = Killed::of(&memory, snapshot, killed);
        let (state_of, last) = (resume.state_of(), resume.last());
        let ruled = resume.ruled("scores");
        let replayed: BTreeSet<_> =
            before.values().map(|(epoch, _)| *epoch).filter(|e| (state_of + 1..=last).contains(e)).collect();
        let all_ruled = replayed.iter().all(|epoch| ruled.contains_key(epoch));
        let memory = Memory::resume(resume, states);
        let again = run(Failing::one_in(then), on_failure, second, &memory);
        // It fails always: what was published with scores cannot be decided anew.
        if then == 1 && !all_ruled {
            let told = again.expect_err("there are scores that it cannot give again");
            prop_assert!(told.starts_with("`scores`: scoring "), "{}", told);
            return Ok(());
        }
        // It fails now and then: either it met such an epoch, or all is as it was.
        let Ok(after) = again else {
            prop_assert!(then == 5);
            return Ok(());
        };
        let within = |fates: &Fates| -> Fates {
            let within = fates.iter().filter(|(_, (epoch, _))| replayed.contains(epoch));
            within.map(|(of, fate)| (*of, fate.clone())).collect()
        };
        prop_assert_eq!(within(&before), within(&after));
        let new = memory.rulings().into_iter().map(|r| (r.epoch, r.ruled));
        let all = ruled.into_iter().chain(new).collect();
        assert_as_ruled(&after, &all, on_failure);
        let done = before.values().filter(|(epoch, _)| *epoch <= state_of).count();
        prop_assert_eq!(done + after.len(), 900);
    }

    /// A ruling that was lost with what had died, before anything of the epoch was published.
    #[test]
    fn oracle_an_epoch_of_which_nothing_is_published_is_ruled_upon_when_it_is_replayed(
        (first, second) in (shapes(), shapes()),
        on_failure in policies(),
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let memory = Memory::default();
        run(Failing::one_in(0), on_failure, first, &memory).expect("it runs");
        let Killed { resume, states, .. } = Killed::of(&memory, snapshot, killed);
        let resume = Resume { published: resume.state_of(), ..resume };
        let memory = Memory::resume(resume, states);
        let fates = run(Failing::one_in(1), on_failure, second, &memory).expect("it runs");
        let ruled: BTreeMap<_, _> = memory.rulings().into_iter().map(|r| (r.epoch, r.ruled)).collect();
        assert_as_ruled(&fates, &ruled, on_failure);
        prop_assert!(fates.values().all(|(_, fate)| !matches!(fate, Fate::Scored(_))));
    }
}

/// Never comes back from the call with this number in it.
struct Stuck(LinearModel, f64);

impl Model for Stuck {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        while rows.contains(&self.1) {
            std::thread::park();
        }
        self.0.score(rows, count, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

/// Never comes back from the first call.
struct StuckOnce(LinearModel, AtomicBool);

impl Model for StuckOnce {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        if !self.1.swap(true, Ordering::Relaxed) {
            loop {
                std::thread::park();
            }
        }
        self.0.score(rows, count, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

/// The scores of 100 numbers by a model that is slow.
fn scores_of(
    model: impl Model + 'static,
    timeout: Duration,
    on_failure: OnFailure,
) -> Vec<(u64, Scored<Number>)> {
    let options = InferOptions { timeout, on_failure, ..InferOptions::default() };
    let (model, scored) = (ModelRef::from(model), VecSink::new());
    let (source, sink) = (VecSource::new(numbers(1, 100)), scored.clone());
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", source.clone())?;
        flow.sink(
            "scored",
            numbers.infer("scores", &(model.clone(), options))?.scored,
            sink.clone(),
        )
    };
    execute(timely::Config::thread(), &Job::default(), Memory::default(), |_| (), graph)
        .expect("it runs");
    scored.take()
}

pub fn triple() -> LinearModel {
    LinearModel::new("numbers", &[("value", "1")], &[3.0], 0.0).batch_rows(4)
}

#[test]
fn fault_a_batch_whose_thread_never_comes_back_is_scored_by_another() {
    let model = StuckOnce(triple(), AtomicBool::new(false));
    let scores = scores_of(model, Duration::from_secs(1), OnFailure::Stop);
    assert_eq!(scores.len(), 100);
    assert!(scores.iter().all(|(_, s)| !s.fallback && s.score == 3.0 * s.of.value));
}

#[test]
fn fault_threads_that_never_come_back_are_given_up_and_the_run_goes_on() {
    let model = Stuck(triple(), 3.0);
    let scores = scores_of(model, Duration::from_millis(20), OnFailure::Score(7.0));
    assert_eq!(scores.len(), 100);
    assert!(scores.iter().all(|(_, s)| s.fallback && s.score == 7.0));
}
