//! Inference in the graph: order, padding, what cannot be scored, a model that fails.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::{
    EpochSettings, Event, EventTime, Flow, Job, LogOnly, RecentBindings, RunError, execute, timely,
};
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

/// A room that has this says so twice.
const TWICE: f64 = -273.0;

thread_local! {
    /// Set on the threads that make rows: those are the workers.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

impl Features for Room {
    const NAMES: &'static [&'static str] = &["celsius"];
    fn row(&self, row: &mut Vec<f64>) {
        IS_WORKER.set(true);
        row.push(self.celsius);
        if self.celsius == TWICE {
            row.push(self.celsius);
        }
    }
}

/// What came out: scores in order, and the details of what was rejected.
type Outcome = (Vec<(f64, f64)>, Vec<String>);

fn run(rooms: &[f64], model: impl Into<ModelRef>, batch_rows: usize) -> Outcome {
    let options = InferOptions { batch_rows: Some(batch_rows), ..calls() };
    try_run(rooms, model, options).expect("the graph runs")
}

fn try_run(
    rooms: &[f64],
    model: impl Into<ModelRef>,
    options: InferOptions,
) -> Result<Outcome, RunError> {
    let (scored, failed) = (VecSink::new(), VecSink::new());
    let rooms = rooms.iter().map(|celsius| Room { celsius: *celsius }).collect();
    let (source, model) = (VecSource::new(vec![rooms]).chunk(7), model.into());
    let epochs = EpochSettings {
        interval: Duration::from_millis(1),
        inflight_max: 4,
        bytes_max: 400,
        ..Default::default()
    };
    let job = Job { epochs, ..Job::default() };
    let sinks = (scored.clone(), failed.clone());
    let log = LogOnly::new(RecentBindings::new(10));
    execute(
        timely::Config::thread(),
        &job,
        log,
        |_| (),
        move |flow: &Flow<'_>| {
            let (rooms, _) = flow.source("rooms", source.clone())?;
            let inferred = rooms.infer("heat", &(model.clone(), options))?;
            flow.sink("scored", inferred.scored, sinks.0.clone())?;
            flow.sink("failed", inferred.failed, sinks.1.clone())
        },
    )?;
    let scored = scored.take().into_iter().map(|(_, s)| (s.of.celsius, s.score)).collect();
    Ok((scored, failed.take().into_iter().map(|(_, r)| r.detail).collect()))
}

fn calls() -> InferOptions {
    InferOptions { inflight_max: 2, ..InferOptions::default() }
}

fn double() -> LinearModel {
    LinearModel::new("double", &[("celsius", "celsius")], &[2.0], 0.0)
}

#[test]
fn every_record_is_scored_once_and_in_order_whatever_the_batch() {
    let rooms: Vec<f64> = (0..1_000).map(f64::from).collect();
    let expected: Vec<(f64, f64)> = rooms.iter().map(|c| (*c, 2.0 * *c)).collect();
    for batch_rows in [1, 3, 64, 5_000] {
        assert_eq!(run(&rooms, double(), batch_rows), (expected.clone(), vec![]));
    }
}

#[test]
fn fault_what_is_not_finite_is_rejected_before_and_after_the_model() {
    let rooms = [1.0, f64::NAN, 1e308, 4.0, f64::INFINITY];
    let (scored, failed) = run(&rooms, double(), 4);
    assert_eq!(scored, [(1.0, 2.0), (4.0, 8.0)]);
    let mut failed = failed;
    failed.sort();
    let expected =
        ["feature `celsius` is NaN", "feature `celsius` is inf", "the model's `score` is inf"];
    assert_eq!(failed, expected);
}

#[test]
fn fault_a_row_that_is_too_long_is_rejected_and_shifts_no_other() {
    let (scored, failed) = run(&[1.0, TWICE, 4.0, 5.0], double(), 4);
    assert_eq!(scored, [(1.0, 2.0), (4.0, 8.0), (5.0, 10.0)]);
    assert_eq!(failed, ["expected 1 features, found 2"]);
}

/// How the model was called once.
struct Call {
    rows: Vec<f64>,
    count: usize,
    by_worker: bool,
    thread: String,
}

/// Keeps how it is called.
struct Watched {
    model: LinearModel,
    calls: Arc<Mutex<Vec<Call>>>,
    warmed: Arc<Mutex<Vec<usize>>>,
}

impl Model for Watched {
    fn signature(&self) -> &Signature {
        self.model.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        let thread = std::thread::current().name().unwrap_or_default().to_string();
        let call = Call { rows: rows.to_vec(), count, by_worker: IS_WORKER.get(), thread };
        self.calls.lock().expect("nobody panics with it").push(call);
        self.model.score(rows, count, out)
    }

    fn warm(&self, count: usize) -> Result<(), ScoreError> {
        self.warmed.lock().expect("nobody panics with it").push(count);
        Ok(())
    }
}

#[test]
fn the_model_is_called_beside_the_worker_and_always_with_a_full_batch() {
    let rooms: Vec<f64> = (1..=1_000).map(f64::from).collect();
    let (calls, warmed) = (Arc::default(), Arc::default());
    let model = Watched { model: double(), calls: Arc::clone(&calls), warmed: Arc::clone(&warmed) };
    let (scored, failed) = run(&rooms, model, 64);
    assert_eq!((scored.len(), failed.len()), (1_000, 0));

    assert_eq!(*warmed.lock().unwrap(), [64]);
    let calls = calls.lock().unwrap();
    let mut seen = Vec::new();
    for Call { rows, count, by_worker, thread } in calls.iter() {
        assert_eq!((*count, rows.len()), (64, 64));
        assert_eq!((*by_worker, thread.as_str()), (false, "heat"));
        // No room has zero degrees: what follows the last room is what it was filled up with.
        let used = rows.iter().rposition(|celsius| *celsius != 0.0).map_or(0, |last| last + 1);
        seen.extend(rows[..used].iter().copied());
    }
    assert_eq!(seen, rooms);
    assert!(calls.len() > 1_000 / 64, "the last batch was filled up: {} calls", calls.len());
}

/// Works while it is warmed and fails when it counts.
struct Broken(LinearModel);

impl Model for Broken {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], _: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        // One row too many: the error that a linear model gives of itself.
        self.0.score(rows, rows.len() + 1, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

#[test]
fn fault_a_batch_that_the_model_fails_on_ends_the_run() {
    let options = InferOptions { batch_rows: Some(2), ..calls() };
    let error = try_run(&[1.0, 2.0, 3.0], Broken(double()), options).expect_err("it has failed");
    assert!(error.to_string().starts_with("`heat`: scoring "), "{error}");
}

/// Fails on batches with this many degrees in them.
struct FailsAt(LinearModel, f64);

impl Model for FailsAt {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        let count = if rows.contains(&self.1) { count + 1 } else { count };
        self.0.score(rows, count, out)
    }
}

#[test]
fn fault_an_epoch_with_a_batch_that_fails_is_not_published_without_it() {
    let scored = VecSink::new();
    let rooms = [1.0, 2.0, 3.0].map(|celsius| Room { celsius }).to_vec();
    let (source, sink) = (VecSource::new(vec![rooms]), scored.clone());
    let options = InferOptions { batch_rows: Some(2), ..calls() };
    let model = (ModelRef::from(FailsAt(double(), 3.0)), options);
    let graph = move |flow: &Flow<'_>| {
        let (rooms, _) = flow.source("rooms", source.clone())?;
        flow.sink("scored", rooms.infer("heat", &model)?.scored, sink.clone())
    };
    let log = LogOnly::new(RecentBindings::new(10));
    let ended = execute(timely::Config::thread(), &Job::default(), log, |_| (), graph);
    assert!(ended.expect_err("a batch fails").to_string().starts_with("`heat`: scoring "));
    assert_eq!(scored.take().len(), 0, "two of three are scored, and nobody may see them");
}

/// Gives a score that depends on the row's neighbours.
struct Leaning(LinearModel);

impl Model for Leaning {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        out.extend((0..count).map(|place| rows[0] + place as f64));
        Ok(())
    }
}

#[test]
fn fault_a_model_that_breaks_its_promises_ends_the_run_and_is_named() {
    let rooms: Vec<f64> = (0..1_000).map(f64::from).collect();
    let options = InferOptions { batch_rows: Some(4), ..calls() };
    let error = try_run(&rooms, Leaning(double()), options).expect_err("it is found out");
    assert!(error.to_string().starts_with("`heat`: "), "{error}");
}

#[test]
fn fault_options_of_zero_are_refused() {
    let refused = |options| {
        let error = try_run(&[1.0], double(), options).expect_err("it would wait for ever");
        assert!(error.to_string().contains("found InferOptions"), "{error}");
    };
    for (batch_rows, threads, inflight_max) in [(0, 1, 2), (4, 1, 0), (4, 0, 2), (4, 3, 2)] {
        let batch_rows = Some(batch_rows);
        refused(InferOptions { batch_rows, threads, inflight_max, ..calls() });
    }
    refused(InferOptions { timeout: Duration::ZERO, ..calls() });
    refused(InferOptions { poll: Duration::ZERO, ..calls() });
}
