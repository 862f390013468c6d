//! A source, a sink and a job that tests look into.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tideflow_core::{
    Batch, BindingLog, BuildError, Check, Epoch, EpochSettings, EventTime, Flow, Job, LogOnly,
    Part, PartState, RunError, Sink, SinkSpec, SinkStart, Source, SourceSpec, SourceStart, execute,
    timely,
};

/// Numbers from each worker, 100 bytes each; for ever where `each` is `i64::MAX`.
#[derive(Clone)]
pub struct Numbers {
    pub each: i64,
    pub ends: bool,
    /// The last recorded epoch: each worker has one more number in every epoch up to it.
    pub recorded: Epoch,
    /// The newest epoch that was replayed of them.
    pub replayed: Arc<AtomicU64>,
    /// What the sources were told is published.
    pub told: Arc<Mutex<Vec<Part>>>,
}

impl Numbers {
    pub fn of(each: i64) -> Self {
        Numbers { each, ends: true, recorded: 0, replayed: Arc::default(), told: Arc::default() }
    }

    /// They never end, though no more come.
    pub fn for_ever(self) -> Self {
        Numbers { ends: false, ..self }
    }
}

pub struct NumbersReader {
    of: Numbers,
    worker: i32,
    next: i64,
    replayed: Epoch,
}

impl SourceSpec for Numbers {
    type Source = NumbersReader;

    fn about(&self) -> String {
        "numbers".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SourceStart) -> Result<NumbersReader, BuildError> {
        Ok(NumbersReader { of: self, worker: start.worker as i32, next: 0, replayed: 0 })
    }
}

impl Source for NumbersReader {
    type Item = (i32, i64);

    fn poll(&mut self, batch: &mut Batch<(i32, i64)>) -> bool {
        if self.replayed < self.of.recorded {
            self.replayed += 1;
            self.of.replayed.fetch_max(self.replayed, Ordering::AcqRel);
            batch.of(Some(self.replayed)).0.push((self.worker, -1));
            return true;
        }
        if self.next < self.of.each {
            batch.items.push((self.worker, self.next));
            batch.bytes += 100;
            self.next += 1;
        }
        self.next < self.of.each
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        parts.push(Part {
            source: "numbers".to_string(),
            partition: self.worker,
            from: Some(0),
            next: self.next,
            watermark: EventTime(self.next),
            state: match self.of.ends && self.next == self.of.each {
                true => PartState::Ended,
                false => PartState::Active,
            },
        });
    }

    fn replayed(&self) -> Epoch {
        self.replayed
    }

    fn published(&mut self, parts: &[Part]) {
        self.of.told.lock().unwrap().extend_from_slice(parts);
    }
}

/// A worker's number, with the epoch it was published in.
pub type Out = (Epoch, (i32, i64));

/// Keeps what is closed; says that it is published as far as the gate allows.
#[derive(Clone)]
pub struct Gated {
    pub closed: Arc<Mutex<Vec<Out>>>,
    pub gate: Arc<AtomicU64>,
}

impl Gated {
    pub fn new(gate: u64) -> Self {
        Gated { closed: Arc::default(), gate: Arc::new(AtomicU64::new(gate)) }
    }
}

pub struct GatedWriter {
    spec: Gated,
    open: Vec<Out>,
}

impl SinkSpec<(i32, i64)> for Gated {
    type Sink = GatedWriter;

    fn about(&self) -> String {
        "memory".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SinkStart<'_, '_>) -> Result<GatedWriter, BuildError> {
        // Stands for a publisher's thread, which wakes the worker.
        let (gate, waker) = (self.gate.clone(), start.waker);
        std::thread::spawn(move || {
            while gate.load(Ordering::Acquire) != u64::MAX && waker.activate().is_ok() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            let _ = waker.activate();
        });
        Ok(GatedWriter { spec: self, open: Vec::new() })
    }
}

impl Sink<(i32, i64)> for GatedWriter {
    fn take(&mut self, epoch: Epoch, items: &mut Vec<(i32, i64)>) {
        self.open.extend(items.drain(..).map(|item| (epoch, item)));
    }

    fn close(&mut self, epoch: Epoch) {
        let (closed, open) = self.open.drain(..).partition(|(e, _)| *e == epoch);
        self.open = open;
        self.spec.closed.lock().unwrap().extend::<Vec<_>>(closed);
    }

    fn published(&mut self) -> Epoch {
        self.spec.gate.load(Ordering::Acquire).min(u64::MAX - 1)
    }
}

pub fn job(interval_ms: u64, inflight_max: u64, bytes_max: usize) -> Job {
    let interval = Duration::from_millis(interval_ms);
    Job {
        epochs: EpochSettings { interval, inflight_max, bytes_max, ..EpochSettings::default() },
        ..Job::default()
    }
}

pub fn run(
    workers: usize,
    job: &Job,
    log: impl BindingLog + 'static,
    numbers: Numbers,
    sink: Gated,
) -> Result<(), RunError> {
    let config = timely::Config::process(workers);
    execute(
        config,
        job,
        LogOnly::new(log),
        |_| (),
        move |flow: &Flow<'_>| {
            let (items, _) = flow.source("numbers", numbers.clone())?;
            flow.sink("out", items, sink.clone())
        },
    )
}

pub fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
