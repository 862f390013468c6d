//! A registry of which most is gone before it is read: each entry but the last few of a device.

use std::time::{Duration, Instant};

use tideflow::core::kafka::testing::TestBroker;

use super::start::Start;
use super::view::{Said, Standing, entries, held, over};
use crate::fleet::START;
use crate::fleet_view::Fleet;
use crate::topics::{DEADLINE, Input, read, send};

const COMPACTED_AT_ONCE: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];

#[test]
fn crash_a_registry_that_was_compacted_is_replayed_as_it_was_read() {
    let broker = TestBroker::shared();
    let registry = broker.topic_with("registry", Fleet::PARTITIONS, COMPACTED_AT_ONCE);
    let readings = broker.topic("readings", Fleet::PARTITIONS);
    let fleet = Fleet::reading(broker, &registry, &readings);
    let mut standing = Standing::default();
    let mut said = entries(31).into_iter().take(40_000);
    let mut send_some = |count: usize, timestamp: i64| {
        let some = said.by_ref().take(count).map(|Said { input, what }| {
            what.iter().for_each(|entry| standing.entry(entry));
            Input { timestamp, ..input }
        });
        send(&fleet.kafka, &registry, some);
    };
    send_some(39_000, START);
    // A record of a later time ends the segment before it; only such are compacted.
    send_some(1_000, START + 1_000);
    let since = Instant::now();
    let left = loop {
        let left = read(&fleet.kafka, &registry).len();
        if left < 2_000 {
            break left;
        }
        assert!(since.elapsed() < DEADLINE, "{left} records are left, and not compacted");
        std::thread::park_timeout(Duration::from_millis(200));
    };
    println!("{left} of 40000 records are left after {:?}", since.elapsed());
    let flags = ["--registry.away_max_ms=0", "--job.snapshot_every=1000000"];
    for point in ["binding acknowledged:1", "sent:1", "committed:1"] {
        let run = Start::of(|| over(&fleet, &flags), (1, 2), Some((0, point)), &[]);
        run.wait_until(point, || run.has_ended());
        assert_eq!(run.end()[0].code, -9, "`{point}`");
    }
    Start::of(|| over(&fleet, &flags), (2, 1), None, &[]).end_well();
    let topics = [(&fleet.sites, "site"), (&fleet.regions, "region")];
    for ((topic, field), expected) in topics.into_iter().zip(standing.held()) {
        assert_eq!(held(&read(&fleet.kafka, topic), field), (expected, 0));
    }
}
