//! Epochs as a whole: cuts, bindings, back-pressure, durability, and the ways a run ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tideflow_core::{
    Batch, Binding, BindingLog, BuildError, Check, Ending, Epoch, EpochSettings, EventTime, Flow,
    Job, LogOnly, Part, PartState, RecentBindings, RunError, Sink, SinkSpec, SinkStart, Source,
    SourceSpec, SourceStart, execute, timely,
};

/// Numbers from each worker, 100 bytes each; for ever where `each` is `i64::MAX`.
#[derive(Clone)]
struct Numbers {
    each: i64,
    ends: bool,
    /// What the sources were told is published.
    told: Arc<Mutex<Vec<Part>>>,
}

impl Numbers {
    fn of(each: i64) -> Self {
        Numbers { each, ends: true, told: Arc::default() }
    }

    /// They never end, though no more come.
    fn for_ever(self) -> Self {
        Numbers { ends: false, ..self }
    }
}

struct NumbersReader {
    told: Arc<Mutex<Vec<Part>>>,
    worker: i32,
    next: i64,
    end: i64,
    ends: bool,
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
        let worker = start.worker as i32;
        Ok(NumbersReader { told: self.told, worker, next: 0, end: self.each, ends: self.ends })
    }
}

impl Source for NumbersReader {
    type Item = (i32, i64);

    fn poll(&mut self, batch: &mut Batch<(i32, i64)>) -> bool {
        if self.next < self.end {
            batch.items.push((self.worker, self.next));
            batch.bytes += 100;
            self.next += 1;
        }
        self.next < self.end
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        parts.push(Part {
            source: "numbers".to_string(),
            partition: self.worker,
            from: Some(0),
            next: self.next,
            watermark: EventTime(self.next),
            state: match self.ends && self.next == self.end {
                true => PartState::Ended,
                false => PartState::Active,
            },
        });
    }

    fn replayed(&self) -> Epoch {
        0
    }

    fn published(&mut self, parts: &[Part]) {
        self.told.lock().unwrap().extend_from_slice(parts);
    }
}

/// A worker's number, with the epoch it was published in.
type Out = (Epoch, (i32, i64));

/// Keeps what is closed; says that it is published as far as the gate allows.
#[derive(Clone)]
struct Gated {
    closed: Arc<Mutex<Vec<Out>>>,
    gate: Arc<AtomicU64>,
}

impl Gated {
    fn new(gate: u64) -> Self {
        Gated { closed: Arc::default(), gate: Arc::new(AtomicU64::new(gate)) }
    }
}

struct GatedWriter {
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

fn job(interval_ms: u64, inflight_max: u64, bytes_max: usize) -> Job {
    let interval = Duration::from_millis(interval_ms);
    Job {
        epochs: EpochSettings { interval, inflight_max, bytes_max, ..EpochSettings::default() },
        ..Job::default()
    }
}

fn run(
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

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn every_record_is_published_in_the_epoch_that_its_binding_says() {
    for workers in 1..4 {
        let (log, sink) = (RecentBindings::new(usize::MAX), Gated::new(u64::MAX));
        let job = job(1, 4, 5_000);
        run(workers, &job, log.clone(), Numbers::of(3_000), sink.clone()).unwrap();
        let bindings = log.kept();
        let next = |b: &Binding, worker: i32| b.parts[worker as usize].next;
        assert!(bindings.iter().all(|b| b.parts.len() == workers));
        let mut published = sink.closed.lock().unwrap().clone();
        assert_eq!(published.len(), 3_000 * workers);
        for (epoch, (worker, number)) in &published {
            let binding = &bindings[*epoch as usize - 1];
            let before = (*epoch as usize).checked_sub(2).map(|i| next(&bindings[i], *worker));
            let before = before.unwrap_or(0);
            assert!((before..next(binding, *worker)).contains(number), "{epoch} {worker} {number}");
        }
        published.sort_by_key(|(_, record)| *record);
        published.dedup_by_key(|(_, record)| *record);
        assert_eq!(published.len(), 3_000 * workers, "each once");
        let last = bindings.last().unwrap();
        assert_eq!((last.watermark, last.ending), (EventTime::MAX, Ending::Drain));
    }
}

#[test]
fn a_full_epoch_ends_early_so_that_its_length_limits_no_rate() {
    let (log, sink) = (RecentBindings::new(usize::MAX), Gated::new(u64::MAX));
    let job = job(60_000, 8, 10_000);
    let started = Instant::now();
    let numbers = Numbers::of(100_000);
    let asked = job.stop.clone();
    let runs = std::thread::spawn({
        let (job, log, sink) = (job.clone(), log.clone(), sink.clone());
        move || run(2, &job, log, numbers, sink).unwrap()
    });
    // The last epoch is not full: it would end by the clock.
    wait_for("all full epochs", || log.kept().last().is_some_and(|b| b.epoch >= 990));
    asked.ask(Ending::Suspend);
    runs.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(59));
    for pair in log.kept().windows(2) {
        for (a, b) in pair[0].parts.iter().zip(&pair[1].parts) {
            assert!(b.next - a.next <= 100, "an epoch holds at most its bytes");
        }
    }
}

#[test]
fn reading_stops_while_too_many_epochs_wait_for_publication() {
    let (log, sink) = (RecentBindings::new(usize::MAX), Gated::new(0));
    let job = job(1, 3, 1_000);
    let runs = std::thread::spawn({
        let (job, log, sink) = (job.clone(), log.clone(), sink.clone());
        move || run(2, &job, log, Numbers::of(i64::MAX), sink)
    });
    // Epoch 1 is out nowhere: the fourth is the last that may be bound, the fifth the last read into.
    wait_for("the last epoch allowed", || log.kept().len() == 4);
    // For long enough that a clock of a millisecond would have ticked many times.
    let since = Instant::now();
    wait_for("a while", || since.elapsed() > Duration::from_millis(200));
    assert_eq!(log.kept().len(), 4);
    job.stop.ask(Ending::Suspend);
    sink.gate.store(u64::MAX, Ordering::Release);
    runs.join().unwrap().unwrap();
    assert_eq!(log.kept().last().map(|b| b.ending), Some(Ending::Suspend));
}

#[test]
fn a_source_is_told_of_what_is_published_and_of_no_more() {
    let (log, sink) = (RecentBindings::new(usize::MAX), Gated::new(3));
    let (job, numbers) = (job(1, 3, 1_000), Numbers::of(i64::MAX));
    let runs = std::thread::spawn({
        let (job, log, numbers, sink) = (job.clone(), log.clone(), numbers.clone(), sink.clone());
        move || run(2, &job, log, numbers, sink)
    });
    // Epoch 3 is out, epoch 4 is not: the seventh is the last that may be bound.
    wait_for("the last epoch allowed", || log.kept().len() == 7);
    let told = || numbers.told.lock().unwrap().clone();
    let published = log.kept()[2].parts.clone();
    let beyond = |part: &Part| part.next > published[part.partition as usize].next;
    assert!(!told().iter().any(beyond), "{:?} of {published:?}", told());
    sink.gate.store(u64::MAX, Ordering::Release);
    wait_for("news of what is published", || {
        (0..2).all(|worker| told().iter().any(|part| part.partition == worker && beyond(part)))
    });
    job.stop.ask(Ending::Suspend);
    runs.join().unwrap().unwrap();
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// Durable as far as a test says.
#[derive(Clone)]
struct SlowLog {
    kept: RecentBindings,
    durable: Arc<AtomicU64>,
    wake: Arc<Mutex<Option<Wake>>>,
}

impl BindingLog for SlowLog {
    fn append(&mut self, binding: Binding) {
        self.kept.append(binding);
    }

    fn durable(&mut self) -> Epoch {
        self.durable.load(Ordering::Acquire).min(self.kept.durable())
    }

    fn wake_with(&mut self, wake: Wake) {
        *self.wake.lock().unwrap() = Some(wake);
    }
}

#[test]
fn nothing_is_published_before_its_binding_is_durable() {
    let kept = RecentBindings::new(usize::MAX);
    let log = SlowLog { kept, durable: Arc::default(), wake: Arc::default() };
    let (sink, job) = (Gated::new(u64::MAX), job(1, 5, 1_000));
    let runs = std::thread::spawn({
        let (job, log, sink) = (job.clone(), log.clone(), sink.clone());
        move || run(2, &job, log, Numbers::of(200), sink)
    });
    for durable in [0, 1, 3] {
        log.durable.store(durable, Ordering::Release);
        log.wake.lock().unwrap().iter().for_each(|wake| wake());
        wait_for("the epochs in flight", || log.kept.kept().len() as u64 > durable + 5);
        let closed = sink.closed.lock().unwrap();
        // Less where an epoch came out empty.
        assert!(closed.iter().all(|(e, _)| *e <= durable), "{closed:?}");
    }
    log.durable.store(u64::MAX, Ordering::Release);
    wait_for("the end", || {
        log.wake.lock().unwrap().iter().for_each(|wake| wake());
        runs.is_finished()
    });
    runs.join().unwrap().unwrap();
    assert_eq!(sink.closed.lock().unwrap().len(), 400);
}

#[test]
fn a_stop_suspends_or_drains() {
    for ending in [Ending::Suspend, Ending::Drain] {
        let (log, sink) = (RecentBindings::new(usize::MAX), Gated::new(u64::MAX));
        let job = job(1, 8, 1_000);
        let runs = std::thread::spawn({
            let (job, log, sink) = (job.clone(), log.clone(), sink.clone());
            move || run(2, &job, log, Numbers::of(i64::MAX), sink)
        });
        wait_for("some epochs", || log.kept().len() > 3);
        job.stop.ask(ending);
        runs.join().unwrap().unwrap();
        let last = log.kept().pop().unwrap();
        assert_eq!(last.ending, ending);
        assert_eq!(last.watermark == EventTime::MAX, ending == Ending::Drain);
        let read: i64 = last.parts.iter().map(|p| p.next).sum();
        assert_eq!(sink.closed.lock().unwrap().len() as i64, read, "all that was read is out");
    }
}

#[test]
fn a_stop_is_heard_at_once_however_long_an_epoch_is() {
    let (log, job) = (RecentBindings::new(10), job(600_000, 8, 1_000_000));
    let runs = std::thread::spawn({
        let (job, log) = (job.clone(), log.clone());
        move || run(2, &job, log, Numbers::of(10).for_ever(), Gated::new(u64::MAX))
    });
    wait_for("all that is there", || {
        job.metrics.text().contains("readings_total{source=\"numbers\"} 20")
    });
    job.stop.ask(Ending::Suspend);
    wait_for("the end", || runs.is_finished());
    runs.join().unwrap().unwrap();
    assert_eq!(log.kept().len(), 1);
}

#[test]
fn fault_a_failure_while_running_ends_the_run_with_its_error() {
    let (sink, job, log) = (Gated::new(u64::MAX), job(1, 8, 1_000), RecentBindings::new(10));
    let runs = std::thread::spawn({
        let (job, log) = (job.clone(), log.clone());
        move || run(2, &job, log, Numbers::of(i64::MAX), sink)
    });
    wait_for("some epochs", || log.kept().len() > 3);
    job.failure.set(BuildError::invalid("numbers", "no more numbers"));
    let error = runs.join().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "`numbers`: no more numbers");
}
