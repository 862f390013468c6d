//! A candidate beside the champion: what it compares, and what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tideflow_core::{Event, EventTime, Flow, Metrics, execute, timely};
use tideflow_models::{LinearModel, Model, ModelRef, ScoreError, Signature};
use tideflow_operators::{Candidate, Compared, Features, Infer, InferOptions, Scored, Slice};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use crate::job;
use crate::killed::Killed;
use crate::memory::Memory;
use crate::rulings::Failing;
use crate::shape::{self, Shape};

/// A number of some device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    device: u64,
    value: f64,
}

impl Event for Measured {
    fn event_time(&self) -> EventTime {
        EventTime(0)
    }
}

impl Features for Measured {
    const NAMES: &'static [&'static str] = &["value"];
    fn row(&self, row: &mut Vec<f64>) {
        row.push(self.value);
    }
}

const PARTITIONS: u64 = 3;
const EACH: u64 = 300;

/// Numbers without end, every seventh of which no model can score.
fn measured() -> Vec<Vec<Measured>> {
    let value = |n: u64| if n % 7 == 3 { f64::NAN } else { n as f64 };
    let one = |n: u64| Measured { device: n % 40, value: value(n) };
    (0..PARTITIONS).map(|p| (p * EACH..(p + 1) * EACH).map(one).collect()).collect()
}

type At<T> = Vec<(u64, T)>;
/// What counts, and what was compared, with epochs.
type Outcome = (At<Scored<Measured>>, At<Compared<Measured>>);

fn run(candidate: ModelRef, slice: Slice, shape: Shape, memory: &Memory) -> Outcome {
    let sinks = (VecSink::new(), VecSink::new());
    let told = run_into((sinks.0.clone(), Some(sinks.1.clone())), candidate, slice, shape, memory);
    let (scored, compared): Outcome = (sinks.0.take(), sinks.1.take());
    let apart = |c: &Compared<Measured>| {
        c.outcome.as_ref().ok().map(|score| (score - c.champion.score).abs())
    };
    let apart: Vec<f64> = compared.iter().filter_map(|(_, c)| apart(c)).collect();
    let difference = told.candidate_difference.with_label_values(&["candidate"]);
    let unscored = told.candidate_unscored.with_label_values(&["candidate"]).get() as usize;
    assert_eq!(difference.get_sample_count() as usize, apart.len());
    assert!((difference.get_sample_sum() - apart.iter().sum::<f64>()).abs() < 1e-6);
    assert_eq!(unscored, compared.len() - apart.len());
    (scored, compared)
}

type Sinks = (VecSink<Scored<Measured>>, Option<VecSink<Compared<Measured>>>);

fn run_into(
    sinks: Sinks,
    candidate: ModelRef,
    slice: Slice,
    shape: Shape,
    memory: &Memory,
) -> Arc<Metrics> {
    let source = VecSource::new(measured()).chunk(shape.chunk);
    let job = job(shape);
    let model = LinearModel::new("champion", &[("value", "1")], &[1.0], 0.5).batch_rows(4);
    let wait_max = Duration::from_millis(1);
    let options = InferOptions { wait_max, ..InferOptions::default() };
    let (champion, candidate) = ((ModelRef::from(model), options), (candidate, options));
    let graph = move |flow: &Flow<'_>| {
        let (measured, _) = flow.source("measured", source.clone())?;
        let champion = measured.infer("champion", &champion)?.scored;
        let both =
            Candidate::beside(champion, "candidate", &candidate, slice, |m: &Measured| &m.device)?;
        flow.sink("scored", both.scored, sinks.0.clone())?;
        match &sinks.1 {
            Some(sink) => flow.sink("compared", both.compared, sink.clone()),
            None => Ok(()),
        }
    };
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    execute(timely::Config::process(shape.workers), &job, memory, |_| (), graph).expect("it runs");
    job.metrics
}

/// That what counts and what was compared is what the slice says, for every number that can be scored.
fn assert_right((scored, compared): &Outcome, slice: Slice, ruled: &BTreeSet<u64>) {
    for (epoch, Compared { champion, candidate, outcome, published }) in compared {
        assert!(slice.holds(&champion.of.device));
        assert_eq!(champion.score, champion.of.value + 0.5);
        assert_eq!(
            (champion.model.name.as_str(), candidate.name.as_str()),
            ("champion", "numbers")
        );
        assert_eq!(outcome.is_err(), ruled.contains(epoch), "epoch {epoch}: {outcome:?}");
        if let Ok(score) = outcome {
            assert_eq!(*score, 3.0 * champion.of.value);
        }
        assert_eq!(*published, slice.publish && outcome.is_ok());
    }
    for (epoch, Scored { of, score, model, .. }) in scored {
        let by_candidate = slice.publish && slice.holds(&of.device) && !ruled.contains(epoch);
        let (expected, name) = match by_candidate {
            true => (3.0 * of.value, "numbers"),
            false => (of.value + 0.5, "champion"),
        };
        assert_eq!((*score, model.name.as_str()), (expected, name), "{of:?} in epoch {epoch}");
    }
}

/// By number: where it came out, and what came.
fn by_number<T: Clone>(records: &At<T>, of: impl Fn(&T) -> f64) -> BTreeMap<u64, (u64, T)> {
    let named: BTreeMap<_, _> =
        records.iter().map(|(epoch, r)| (of(r) as u64, (*epoch, r.clone()))).collect();
    assert_eq!(named.len(), records.len(), "a record comes twice");
    named
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn oracle_a_candidate_scores_its_slice_and_counts_where_it_is_published(
        (first, second) in (shapes(), shapes()),
        (share, publish) in (prop_oneof![Just(0.0), Just(0.3), Just(1.0)], any::<bool>()),
        one_in in prop_oneof![Just(0), 2..9usize],
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let (slice, memory) = (Slice { share, publish }, Memory::default());
        let before = run(Failing::one_in(one_in), slice, first, &memory);
        let all_scored: Vec<u64> = (0..PARTITIONS * EACH).filter(|n| n % 7 != 3).collect();
        let scored = by_number(&before.0, |s| s.of.value);
        prop_assert!(scored.keys().eq(all_scored.iter()), "each has a score that counts");
        let within = all_scored.iter().filter(|n| slice.holds(&(**n % 40)));
        let compared = by_number(&before.1, |c| c.champion.of.value);
        prop_assert!(compared.keys().eq(within), "each of the slice is compared");
        let ruled = memory.rulings().iter().map(|r| r.epoch).collect();
        assert_right(&before, slice, &ruled);

        // In a replay the candidate works: what was ruled upon is as it was all the same.
        let Killed { resume, states, .. } = Killed::of(&memory, snapshot, killed);
        let replayed = resume.state_of() + 1..=resume.last();
        let memory = Memory::resume(resume, states);
        let after = run(Failing::one_in(0), slice, second, &memory);
        let again = |named: BTreeMap<u64, (u64, Compared<Measured>)>| -> Vec<_> {
            named.into_values().filter(|(epoch, _)| replayed.contains(epoch)).collect()
        };
        prop_assert_eq!(
            again(compared),
            again(by_number(&after.1, |c| c.champion.of.value))
        );
        let ruled = ruled.into_iter().filter(|epoch| replayed.contains(epoch)).collect();
        assert_right(&after, slice, &ruled);
    }

    /// Nothing rests on it, though what it said in these epochs has been published.
    #[test]
    fn oracle_a_shadow_that_fails_in_a_replay_changes_nothing_and_ends_nothing(
        (first, second) in (shapes(), shapes()),
        share in prop_oneof![Just(0.3), Just(1.0)],
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let (slice, memory) = (Slice { share, publish: false }, Memory::default());
        run(Failing::one_in(0), slice, first, &memory);
        let Killed { resume, states, .. } = Killed::of(&memory, snapshot, killed);
        let memory = Memory::resume(resume, states);
        let after = run(Failing::one_in(1), slice, second, &memory);
        let all = after.1.iter().map(|(epoch, _)| *epoch).collect();
        assert_right(&after, slice, &all);
    }
}

/// Scores nothing until it is let go.
pub struct Slow(pub LinearModel, pub Arc<AtomicBool>);

impl Model for Slow {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        while !self.1.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(5));
        }
        self.0.score(rows, count, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

#[test]
fn a_shadow_that_is_slow_holds_the_clock_back_though_it_is_published_nowhere() {
    let shape = Shape { workers: 1, chunk: 4, epoch_bytes: 100, snapshot_every: 0 };
    let model = LinearModel::new("numbers", &[("value", "1")], &[3.0], 0.0).batch_rows(4);
    let (go, scored) = (Arc::new(AtomicBool::new(false)), VecSink::new());
    let candidate = ModelRef::from(Slow(model, go.clone()));
    let all = (0..PARTITIONS * EACH).filter(|n| n % 7 != 3).count();
    let sinks = (scored.clone(), None);
    let before = thread::scope(|scope| {
        scope.spawn(|| run_into(sinks, candidate, Slice::SHADOW, shape, &Memory::default()));
        thread::park_timeout(Duration::from_millis(500));
        let before = scored.take().len();
        go.store(true, Ordering::Relaxed);
        before
    });
    assert!(before < all, "all were scored, none compared");
    assert_eq!(before + scored.take().len(), all);
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..20, 100..1_000, 1..8)
}
