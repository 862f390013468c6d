//! A candidate beside the champion: what it compares, and what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tideflow_core::{Event, EventTime, Flow, execute, timely};
use tideflow_models::{LinearModel, ModelRef};
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
    let (scored, compared) = (VecSink::new(), VecSink::new());
    let source = VecSource::new(measured()).chunk(shape.chunk);
    let job = job(shape);
    let model = LinearModel::new("champion", &[("value", "1")], &[1.0], 0.5).batch_rows(4);
    let wait_max = Duration::from_millis(1);
    let options = InferOptions { wait_max, ..InferOptions::default() };
    let (champion, candidate) = ((ModelRef::from(model), options), (candidate, options));
    let sinks = (scored.clone(), compared.clone());
    let graph = move |flow: &Flow<'_>| {
        let (measured, _) = flow.source("measured", source.clone())?;
        let champion = measured.infer("champion", &champion)?.scored;
        let both =
            Candidate::beside(champion, "candidate", &candidate, slice, |m: &Measured| &m.device)?;
        flow.sink("scored", both.scored, sinks.0.clone())?;
        flow.sink("compared", both.compared, sinks.1.clone())
    };
    let memory = memory.clone().snapshots_every(shape.snapshot_every);
    execute(timely::Config::process(shape.workers), &job, memory, |_| (), graph).expect("it runs");
    (scored.take(), compared.take())
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
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..20, 100..1_000, 1..8)
}
