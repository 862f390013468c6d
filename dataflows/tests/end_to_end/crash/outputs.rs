//! Outputs: several topics at once, and more partitions while there is something to replay.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tideflow::core::kafka::add_partitions;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::sinks::kafka::partition_for;

use super::job::{Job, OUTPUTS};
use super::start::{Killed, SMALL, Start, newest_manifest};
use crate::fleet::{MINUTE, START, at};
use crate::program::device_health;
use crate::python::model;
use crate::topics::{Sent, Topics};

/// How often a running job's outputs are looked at.
const LOOKS: usize = 25;

/// The windows that a topic has something of.
fn windows_on(job: &Job<'_>, topic: &str) -> BTreeSet<(String, i64)> {
    let of = |value: serde_json::Value| {
        let device = value["device"].as_str().expect("a device").to_owned();
        (device, value["window_start"].as_i64().expect("a time"))
    };
    job.topics.read(topic).iter().map(|sent| of(sent.json())).collect()
}

#[test]
fn what_an_epoch_says_on_several_topics_is_visible_together() {
    let job = Job::shared();
    let run = job.start((1, 2));
    run.must_publish();
    let (windows, scores) = (&job.topics.windows, &job.topics.scores);
    let mut seen = 0;
    for look in 0..LOOKS {
        // What is read first was visible first: nothing of it may be missing in what is read then.
        let (first, then) = if look % 2 == 0 { (windows, scores) } else { (scores, windows) };
        let (before, after) = (windows_on(&job, first), windows_on(&job, then));
        let missing = before.difference(&after).count();
        assert_eq!(missing, 0, "{look}: of {} on `{first}` on `{then}`", before.len());
        seen += usize::from(before.len() < after.len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert!(seen > 2, "only {seen} of {LOOKS} looks had something new in between");
    run.end_well();
    job.check();
}

/// Each time one of two shards has published an epoch, and the other has not.
#[test]
fn crash_outputs_that_get_more_partitions_have_every_result_once() {
    let job = Job::shared();
    for kill in 1..4 {
        let run = job.start_with((1, 2), &[], Some((0, &format!("committed:{kill}"))));
        run.wait_until("a commit", || run.has_ended());
        assert_eq!(run.end()[0].code, -9);
        if kill == 1 {
            for topic in [&job.topics.windows, &job.topics.scores] {
                let added = add_partitions(&job.topics.kafka, topic, OUTPUTS + 1);
                added.unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    job.start((1, 1)).end_well();
    job.check();
}

/// All of a device went to one of two shards. Once there is another partition it goes to the other one, which has
/// published nothing; then a start goes back behind what is published.
#[test]
fn crash_a_start_from_an_earlier_snapshot_after_outputs_have_grown_publishes_nothing_again() {
    let moves = |name: &String| {
        partition_for(name.as_bytes(), 2) == 0 && partition_for(name.as_bytes(), 3) == 1
    };
    let device = (0..).map(|n| format!("d{n}")).find(moves).expect("one of three does");
    let topics = Topics::new(TestBroker::shared(), 1, 2);
    let store = Path::new(&topics.state).join(&topics.windows);
    let start = |more: &[&str], crash| {
        let command = || {
            let mut command = device_health("run", &topics, &model("health"));
            // The snapshots are those that a stop takes.
            command.args(SMALL).arg("--job.snapshot_every=30000").args(more);
            command
        };
        Start::of(command, (1, 2), crash, &[])
    };
    let mut minutes = 0_i64..;
    let mut run = |more: &[&str], closed: usize| {
        let run = start(more, None);
        // The last one's window stays open.
        let next = minutes.by_ref().take(4).map(|n| START + n * MINUTE + MINUTE / 2);
        topics.send(next.map(|ts| at(0, &device, ts)).collect::<Vec<_>>());
        run.wait_until("windows", || topics.read(&topics.windows).len() >= closed);
        run.signal("TERM");
        run.end_well();
        newest_manifest(&store).expect("a stop takes one")
    };
    let first = run(&[], 3);
    assert_ne!(run(&[], 7), first);
    for topic in [&topics.windows, &topics.scores] {
        add_partitions(&topics.kafka, topic, 3).unwrap_or_else(|error| panic!("{error}"));
    }
    let killed = start(&[], Some((0, "files settled:1"))).end();
    assert_eq!(killed[0].code, -9);
    run(&[&format!("--job.snapshot={first}")], 11);
    for topic in [&topics.windows, &topics.scores] {
        let published = topics.read(topic);
        let of = |sent: &Sent| sent.json()["window_start"].as_i64().expect("a time");
        let all: BTreeSet<_> = published.iter().map(of).collect();
        assert_eq!((published.len(), all.len()), (11, 11), "{published:?}");
    }
}
