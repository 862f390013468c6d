//! Inference in the graph: order, padding, what cannot be scored, a model that fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::{EpochSettings, Event, EventTime, Flow, Job, RecentBindings, execute, timely};
use tideflow_models::{LinearModel, Model, ModelRef, ScoreError, Signature};
use tideflow_operators::{Features, Infer, InferOptions};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Room {
    celsius: f64,
}

impl Event for Room {
    fn event_time(&self) -> EventTime {
        EventTime(0)
    }
}

impl Features for Room {
    const NAMES: &'static [&'static str] = &["celsius"];
    fn row(&self, row: &mut Vec<f32>) {
        row.push(self.celsius as f32);
    }
}

/// What came out: scores in order, and the details of what was rejected.
fn run(
    rooms: &[f64],
    model: impl Into<ModelRef>,
    batch_rows: usize,
) -> (Vec<(f64, f32)>, Vec<String>) {
    let (scored, failed) = (VecSink::new(), VecSink::new());
    let rooms = rooms.iter().map(|celsius| Room { celsius: *celsius }).collect();
    let (source, model) = (VecSource::new(vec![rooms]).chunk(7), model.into());
    let epochs =
        EpochSettings { interval: Duration::from_millis(1), inflight_max: 4, bytes_max: 400 };
    let job = Job { epochs, ..Job::default() };
    let sinks = (scored.clone(), failed.clone());
    let log = Box::new(RecentBindings::new(10));
    execute(
        timely::Config::thread(),
        &job,
        log,
        |_| (),
        move |flow: &Flow<'_>| {
            let (rooms, _) = flow.source("rooms", source.clone())?;
            let options = InferOptions { batch_rows, inflight_max: 2 };
            let inferred = rooms.infer("heat", &model, options)?;
            flow.sink("scored", inferred.scored, sinks.0.clone())?;
            flow.sink("failed", inferred.failed, sinks.1.clone())
        },
    )
    .expect("the graph runs");
    let scored = scored.take().into_iter().map(|(_, s)| (s.of.celsius, s.score)).collect();
    (scored, failed.take().into_iter().map(|(_, r)| r.detail).collect())
}

fn double() -> LinearModel {
    LinearModel::new("double", &[("celsius", "celsius")], &[2.0], 0.0)
}

#[test]
fn every_record_is_scored_once_and_in_order_whatever_the_batch() {
    let rooms: Vec<f64> = (0..1_000).map(f64::from).collect();
    let expected: Vec<(f64, f32)> = rooms.iter().map(|c| (*c, 2.0 * *c as f32)).collect();
    for batch_rows in [1, 3, 64, 5_000] {
        assert_eq!(run(&rooms, double(), batch_rows), (expected.clone(), vec![]));
    }
}

#[test]
fn fault_what_is_not_finite_is_rejected_before_and_after_the_model() {
    let rooms = [1.0, f64::NAN, 3e38, 4.0, f64::INFINITY];
    let (scored, failed) = run(&rooms, double(), 4);
    assert_eq!(scored, [(1.0, 2.0), (4.0, 8.0)]);
    let mut failed = failed;
    failed.sort();
    let expected =
        ["feature `celsius` is NaN", "feature `celsius` is inf", "the model's score is inf"];
    assert_eq!(failed, expected);
}

/// Works while it is warmed and fails when it counts.
struct Broken(LinearModel);

impl Model for Broken {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f32], _: usize, out: &mut Vec<f32>) -> Result<(), ScoreError> {
        // One row too many: the error that a linear model gives of itself.
        self.0.score(rows, rows.len() + 1, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

#[test]
fn fault_a_batch_that_the_model_fails_on_is_rejected_whole() {
    let (scored, failed) = run(&[1.0, 2.0, 3.0], Broken(double()), 2);
    assert_eq!((scored.len(), failed.len()), (0, 3));
}
