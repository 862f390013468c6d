//! Runs that go on behind recorded epochs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tideflow_core::timely::dataflow::operators::Inspect;
use tideflow_core::{
    Binding, BindingLog, BuildError, Durability, Ending, Epoch, EventTime, Flow, Job,
    RecentBindings, Recovered, Resume, execute, timely,
};

use super::doubles::{Gated, Numbers, Out, job, wait_for};

/// A job with so many recorded epochs, of which nothing was published; and how often it takes snapshots.
struct Recorded {
    last: Epoch,
    snapshot_every: u64,
}

impl Durability for Recorded {
    fn snapshot_every(&self) -> u64 {
        self.snapshot_every
    }

    fn recover(&self, _: &Job) -> Result<Recovered, BuildError> {
        let (watermark, ending) = (EventTime(0), Ending::No);
        let binding = |epoch| {
            let (parts, chosen) = (Vec::new(), Default::default());
            Binding { epoch, parts, watermark, wall_ms: 0, ending, chosen }
        };
        let resume =
            Resume { recorded: (1..=self.last).map(binding).collect(), ..Resume::default() };
        Ok(Recovered { resume, notes: Vec::new() })
    }

    fn begin(&self, flow: &Flow<'_>, _: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        Ok(Box::new(RecentBindings::new(10).after(flow.resume().last())))
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        let snapshots = flow.snapshots();
        snapshots.standings.inspect(move |standing| (snapshots.taken)(standing.epoch));
        Ok(())
    }
}

#[test]
fn what_is_replayed_is_read_and_announced_a_little_ahead_of_what_is_published() {
    const LAST: Epoch = 1_000;
    const IN_FLIGHT: Epoch = 3;
    /// Announced ahead: far less than there is.
    const LITTLE: Epoch = 100;
    let (sink, heard) = (Gated::new(0), Arc::new(AtomicU64::new(0)));
    let numbers = Numbers { recorded: LAST, ..Numbers::of(10) };
    let (gate, closed) = (sink.gate.clone(), sink.closed.clone());
    let (replayed, newest) = (numbers.replayed.clone(), heard.clone());
    let graph = move |flow: &Flow<'_>| {
        let newest = newest.clone();
        flow.bound().inspect(move |bound| {
            newest.fetch_max(bound.epoch, Ordering::AcqRel);
        });
        let (items, _) = flow.source("numbers", numbers.clone())?;
        flow.sink("out", items, sink.clone())
    };
    let running = std::thread::spawn(move || {
        let config = timely::Config::process(2);
        execute(
            config,
            &job(1, IN_FLIGHT, 1 << 20),
            Recorded { last: LAST, snapshot_every: 0 },
            |_| (),
            graph,
        )
    });
    let now = |of: &AtomicU64| of.load(Ordering::Acquire);
    for published in [0, 200, 201, 700] {
        gate.store(published, Ordering::Release);
        wait_for("what may be announced", || now(&heard) > published + LITTLE / 2);
        wait_for("what may be read", || now(&replayed) > published + 1);
        let since = Instant::now();
        wait_for("a moment", || since.elapsed() > Duration::from_millis(20));
        let found = (now(&heard), now(&replayed));
        let few = found.0 <= published + LITTLE && found.1 <= published + IN_FLIGHT + 2;
        assert!(few, "announced and read {found:?}, published {published}");
    }
    gate.store(u64::MAX, Ordering::Release);
    running.join().unwrap().unwrap();
    let closed = closed.lock().unwrap();
    let again = |(epoch, (_, number)): &&Out| *number == -1 && *epoch <= LAST;
    assert_eq!(closed.iter().filter(again).count() as u64, 2 * LAST);
    assert_eq!(closed.iter().filter(|(epoch, _)| *epoch > LAST).count(), 20);
}

#[test]
fn a_start_with_much_to_replay_takes_a_snapshot_as_soon_as_it_has_an_epoch_of_its_own() {
    // One that is killed before that leaves no more to the next start than it found.
    for (last, first) in [(10, 50), (49, 50), (50, 51), (120, 121)] {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let heard = taken.clone();
        let numbers = Numbers { recorded: last, ..Numbers::of(20_000) };
        let graph = move |flow: &Flow<'_>| {
            let heard = heard.clone();
            flow.bound().inspect(move |bound| {
                if bound.snapshot {
                    heard.lock().unwrap().push(bound.epoch);
                }
            });
            let (items, _) = flow.source("numbers", numbers.clone())?;
            flow.sink("out", items, Gated::new(u64::MAX))
        };
        let durability = Recorded { last, snapshot_every: 50 };
        execute(timely::Config::process(1), &job(1, 3, 10_000), durability, |_| (), graph).unwrap();
        let taken = taken.lock().unwrap();
        assert_eq!((taken[0], taken[1]), (first, first + 50), "{last} recorded: {taken:?}");
    }
}
