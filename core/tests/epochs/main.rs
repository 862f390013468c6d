//! Epochs as a whole: cuts, bindings, back-pressure, durability, and the ways a run ends.

mod doubles;
mod replays;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use doubles::{Gated, Numbers, job, run, wait_for};
use serde::{Deserialize, Serialize};
use tideflow_core::{
    Binding, BindingLog, Bound, BuildError, Emit, Ending, Entries, Epoch, EventTime, Flow, Groups,
    Key, KeyGroup, KeyedState, LogOnly, Part, RecentBindings, Row, Ruling, Stateful, execute,
    timely,
};

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

    fn rule(&mut self, ruling: Ruling) -> u64 {
        self.kept.rule(ruling)
    }

    fn rulings_durable(&mut self) -> u64 {
        self.kept.rulings_durable()
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

/// The last number of a worker, and how often one came that was not behind the one before it.
#[derive(Serialize, Deserialize)]
struct Last(i64, i64);

impl Row for Last {}

/// Says in the end of each worker's numbers how often they were out of order.
struct OutOfOrder(KeyedState<u64, Last>);

impl Stateful<(i32, i64)> for OutOfOrder {
    type Out = (i32, i64);
    type Side = ();
    type State = Entries<u64, Last>;

    fn state(&mut self) -> &mut Groups<Self::State> {
        self.0.groups()
    }

    fn fold(&mut self, numbers: &mut Vec<(i32, i64)>, _: &mut Emit<()>) {
        for (worker, number) in numbers.drain(..) {
            self.0.change(
                &(worker as u64),
                || Last(-1, 0),
                |last| {
                    *last = Last(number, last.1 + i64::from(number <= last.0));
                },
            );
        }
    }

    fn close(&mut self, bound: &Bound, out: &mut Emit<(i32, i64)>, _: &mut Emit<()>) {
        if bound.watermark == EventTime::MAX {
            self.0.iter().for_each(|(worker, last)| out.push((*worker as i32, last.1)));
        }
    }
}

/// Timely's own iteration over what comes in sorts it by time, and mixes what is of one time.
#[test]
fn records_of_a_key_come_in_the_order_in_which_they_were_read() {
    let sink = Gated::new(u64::MAX);
    let (numbers, out) = (Numbers::of(50_000), sink.clone());
    let graph = move |flow: &Flow<'_>| {
        let (numbers, _) = flow.source("numbers", numbers.clone())?;
        let group = |(worker, _): &(i32, i64)| KeyGroup::of((*worker as u64).stable_hash());
        let logic = OutOfOrder(KeyedState::new());
        let (found, _) = numbers.stateful("order", String::new(), "", group, logic)?;
        flow.sink("out", found, out.clone())
    };
    let (config, log) = (timely::Config::process(3), LogOnly::new(RecentBindings::new(1)));
    execute(config, &job(1, 4, 100_000), log, |_| (), graph).unwrap();
    let mut found: Vec<_> = sink.closed.lock().unwrap().iter().map(|(_, found)| *found).collect();
    found.sort_unstable();
    // Time is at its end in the last epochs, if there are two.
    found.dedup();
    assert_eq!(found, [(0, 0), (1, 0), (2, 0)]);
}
