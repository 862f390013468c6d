//! Registries of which most is gone: each entry but the last few of a device.

use std::time::{Duration, Instant};

use tideflow::core::kafka::testing::TestBroker;

use super::start::Start;
use super::view::{Entry, Said, Standing, entries, held, over};
use crate::fleet::START;
use crate::fleet_view::Fleet;
use crate::topics::{DEADLINE, Input, read, send};

const COMPACTED_AT_ONCE: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
/// No snapshots: all is replayed.
const FLAGS: &[&str] = &["--registry.away_max_ms=0", "--job.snapshot_every=1000000"];

/// A fleet whose registry is compacted as soon as the broker can, and who sends to it.
struct Registry {
    fleet: Fleet,
    entries: std::vec::IntoIter<Said<Entry>>,
    standing: Standing,
    /// Of the next records.
    timestamp: i64,
}

impl Registry {
    fn new() -> Registry {
        let broker = TestBroker::shared();
        let registry = broker.topic_with("registry", Fleet::PARTITIONS, COMPACTED_AT_ONCE);
        let readings = broker.topic("readings", Fleet::PARTITIONS);
        let fleet = Fleet::reading(broker, &registry, &readings);
        let (entries, standing) = (entries(31).into_iter(), Standing::default());
        Registry { fleet, entries, standing, timestamp: START }
    }

    /// Sends so many entries more. Their time ends the segment before them: only such are compacted.
    fn send(&mut self, count: usize) {
        self.timestamp += 1_000;
        let (timestamp, standing) = (self.timestamp, &mut self.standing);
        let some = self.entries.by_ref().take(count).map(|Said { input, what }| {
            what.iter().for_each(|entry| standing.entry(entry));
            Input { timestamp, ..input }
        });
        send(&self.fleet.kafka, &self.fleet.registry, some);
    }

    /// Waits until no more than so many records are left.
    fn is_compacted_to(&self, most: usize) {
        let since = Instant::now();
        loop {
            let left = read(&self.fleet.kafka, &self.fleet.registry).len();
            if left <= most {
                println!("{left} records are left after {:?}", since.elapsed());
                return;
            }
            assert!(since.elapsed() < DEADLINE, "{left} records are left, and not compacted");
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    /// Starts a job over it that is killed at this point, before it knows of an end.
    fn is_killed_at(&self, point: &str) {
        let flags = [FLAGS, &["--registry.until=never", "--readings.until=never"]].concat();
        let run = Start::of(|| over(&self.fleet, &flags), (1, 2), Some((0, point)), &[]);
        run.wait_until(point, || run.has_ended());
        assert_eq!(run.end()[0].code, -9, "`{point}`");
    }

    /// Has the job come to its end: it says what is so, and nothing twice.
    fn holds_what_is_recomputed(&self) {
        Start::of(|| over(&self.fleet, FLAGS), (2, 1), None, &[]).end_well();
        let topics = [(&self.fleet.sites, "site"), (&self.fleet.regions, "region")];
        for ((topic, field), expected) in topics.into_iter().zip(self.standing.held()) {
            assert_eq!(held(&read(&self.fleet.kafka, topic), field), (expected, 0));
        }
    }
}

#[test]
fn crash_a_registry_that_was_compacted_is_replayed_as_it_was_read() {
    let mut registry = Registry::new();
    registry.send(39_000);
    registry.send(1_000);
    registry.is_compacted_to(2_000);
    for point in ["binding acknowledged:1", "sent:1", "committed:1"] {
        registry.is_killed_at(point);
    }
    registry.holds_what_is_recomputed();
}

#[test]
fn crash_a_registry_that_is_compacted_before_a_replay_is_read_to_where_it_was_cut() {
    let mut registry = Registry::new();
    registry.send(5_000);
    registry.is_killed_at("binding acknowledged:1");
    // The last records before the cuts go too.
    registry.send(5_000);
    registry.send(500);
    registry.is_compacted_to(1_500);
    registry.holds_what_is_recomputed();
}
