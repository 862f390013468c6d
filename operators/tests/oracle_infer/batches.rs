//! Rows in batches: how long one waits for others, and how many batches are given out ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tideflow_core::{
    Batch, BuildError, Check, Ending, Epoch, EpochSettings, Event, EventTime, Flow, Job, Part,
    PartState, Source, SourceSpec, SourceStart, execute, timely,
};
use tideflow_models::{LinearModel, Model, ModelRef, ScoreError, Signature};
use tideflow_operators::{Features, Infer, InferOptions};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use crate::Number;
use crate::candidate::Slow;
use crate::memory::Memory;
use crate::rulings::triple;

/// Longest wait for something that comes as soon as a slow machine can.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until it holds.
fn wait_until(holds: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    while !holds() && since.elapsed() < DEADLINE {
        thread::park_timeout(Duration::from_millis(1));
    }
    holds()
}

/// A number, and no other until it is over.
#[derive(Clone)]
struct OneNumber {
    first: Option<i64>,
    over: Arc<AtomicBool>,
}

impl SourceSpec for OneNumber {
    type Source = OneNumber;

    fn about(&self) -> String {
        "one number".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, _: SourceStart) -> Result<OneNumber, BuildError> {
        Ok(self)
    }
}

impl Source for OneNumber {
    type Item = Number;

    fn poll(&mut self, batch: &mut Batch<Number>) -> bool {
        if self.first.is_none() {
            self.first = Some(0);
            batch.items.push(Number { value: 1.0 });
        }
        !self.over.load(Ordering::Relaxed)
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        let state =
            if self.over.load(Ordering::Relaxed) { PartState::Ended } else { PartState::Active };
        let (source, watermark) = ("numbers".to_string(), EventTime(0));
        parts.push(Part { source, partition: 0, from: self.first, next: 1, watermark, state });
    }

    fn replayed(&self) -> Epoch {
        0
    }
}

/// Says when it is called.
struct Telling(LinearModel, Arc<AtomicBool>);

impl Model for Telling {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        self.1.store(true, Ordering::Relaxed);
        self.0.score(rows, count, out)
    }

    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

#[test]
fn a_row_waits_for_others_no_longer_than_it_may() {
    let (over, scored) = (Arc::new(AtomicBool::new(false)), VecSink::new());
    // It ends when the run is stopped, once the model was called: no end of an epoch has it called.
    let epochs = EpochSettings { interval: 10 * DEADLINE, ..EpochSettings::default() };
    let job = Job { epochs, ..Job::default() };
    let options = InferOptions { wait_max: Duration::from_millis(20), ..InferOptions::default() };
    let model = (ModelRef::from(Telling(triple(), over.clone())), options);
    let (source, sink) = (OneNumber { first: None, over: over.clone() }, scored.clone());
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", source.clone())?;
        flow.sink("scored", numbers.infer("scores", &model)?.scored, sink.clone())
    };
    let was_called = thread::scope(|scope| {
        scope.spawn(|| {
            execute(timely::Config::thread(), &job, Memory::default(), |_| (), graph)
                .expect("it runs");
        });
        let was_called = wait_until(|| over.load(Ordering::Relaxed));
        over.store(true, Ordering::Relaxed);
        job.stop.ask(Ending::Suspend);
        was_called
    });
    assert!(was_called, "it waited for the end of its epoch");
    assert_eq!(scored.take().len(), 1);
}

/// Rows that were written down for a call.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// A number that counts how often its row is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counted(f64);

impl Event for Counted {
    fn event_time(&self) -> EventTime {
        EventTime(0)
    }
}

impl Features for Counted {
    const NAMES: &'static [&'static str] = &["value"];

    fn row(&self, row: &mut Vec<f64>) {
        WRITTEN.fetch_add(1, Ordering::Relaxed);
        row.push(self.0);
    }
}

#[test]
fn no_more_batches_are_given_out_than_may_be_in_flight() {
    let (go, scored) = (Arc::new(AtomicBool::new(false)), VecSink::new());
    let options = InferOptions { threads: 2, inflight_max: 3, ..InferOptions::default() };
    let model = (ModelRef::from(Slow(triple(), go.clone())), options);
    let source = VecSource::new(vec![(0..100).map(|n| Counted(f64::from(n))).collect()]);
    let sink = scored.clone();
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", source.clone())?;
        flow.sink("scored", numbers.infer("scores", &model)?.scored, sink.clone())
    };
    let written = || WRITTEN.load(Ordering::Relaxed);
    let in_flight = thread::scope(|scope| {
        scope.spawn(|| {
            execute(timely::Config::thread(), &Job::default(), Memory::default(), |_| (), graph)
                .expect("it runs");
        });
        wait_until(|| written() >= 12);
        thread::park_timeout(Duration::from_millis(200));
        let in_flight = written();
        go.store(true, Ordering::Relaxed);
        in_flight
    });
    // Three batches of four.
    assert_eq!((in_flight, written(), scored.take().len()), (12, 100, 100));
}
