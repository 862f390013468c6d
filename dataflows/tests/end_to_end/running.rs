//! A graph that follows its topic: new and quiet partitions, where it begins, how it stops.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tideflow::core::kafka::add_partitions;
use tideflow::core::kafka::testing::TestBroker;

use crate::batch::{Copy, hostfile};
use crate::fleet::{Fleet, MINUTE, START, at};
use crate::program::{Metrics, Running, device_health};
use crate::python::{model, python};
use crate::topics::{DEADLINE, Input, Sent, Topics, dump};

fn start(topics: &Topics, flags: &[&str]) -> Running {
    Running::start(device_health("run", topics, &model("health")).args(flags))
}

fn windowed(metrics: &Metrics) -> f64 {
    metrics.sum("tideflow_windowed_total", &[])
}

/// Ends a graph with a signal: well, and in time.
fn stop(graph: Running) {
    let since = Instant::now();
    graph.signal("TERM");
    let ended = graph.end();
    ended.with_code(0);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

/// Device and start of windows or scores, in order.
fn keys(records: &[Sent]) -> Vec<(String, i64)> {
    let key = |sent: &Sent| {
        let value = sent.json();
        let device = value["device"].as_str().expect("a name").to_owned();
        (device, value["window_start"].as_i64().expect("a time"))
    };
    let mut keys: Vec<_> = records.iter().map(key).collect();
    keys.sort();
    keys
}

fn named(keys: &[(&str, i64)]) -> Vec<(String, i64)> {
    let mut keys: Vec<_> = keys.iter().map(|(name, start)| (name.to_string(), *start)).collect();
    keys.sort();
    keys
}

/// The minute after the first, and so on.
fn minute(n: i64) -> i64 {
    START + n * MINUTE
}

/// A reading that closes the minutes before the `n`th for its partition.
fn closing(partition: i32, n: i64) -> Input {
    at(partition, "closer", minute(n) + 10_000)
}

#[test]
fn new_partitions_are_read_as_soon_as_they_are_seen() {
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 1, 1);
    let graph = start(&topics, &["--readings.refresh_ms=100", "--workers.threads=2"]);
    topics.send([at(0, "old", START), closing(0, 1)]);
    assert_eq!(keys(&topics.read_some(&topics.windows, 1)), named(&[("old", START)]));

    add_partitions(&broker.config(), &topics.readings, 3).expect("the broker adds them");
    topics.send([at(1, "new", minute(1)), at(2, "newer", minute(1) + 5)]);
    graph.wait_until("both read", |m| windowed(m) == 4.0);
    topics.send((0..3).map(|p| closing(p, 2)));
    let windows = keys(&topics.read_some(&topics.windows, 4));
    let second = [("new", minute(1)), ("newer", minute(1)), ("closer", minute(1))];
    assert_eq!(windows, named(&[&second[..], &[("old", START)]].concat()));
    assert_eq!(topics.read(&topics.late), []);
    stop(graph);
}

#[test]
fn a_partition_without_readings_holds_time_back_until_it_was_idle_for_long_enough() {
    let topics = Topics::new(TestBroker::shared(), 2, 1);
    topics.send([at(0, "d", START), closing(0, 1)]);
    let patient = start(&topics, &["--readings.idle_after_ms=3600000"]);
    let epoch = |m: &Metrics| m.sum("tideflow_epoch", &[]);
    let seen = epoch(&patient.wait_until("both read", |m| windowed(m) == 2.0));
    let later = patient.wait_until("many epochs later", |m| epoch(m) > seen + 30.0);
    assert_eq!(later.sum("tideflow_windows_total", &[]), 0.0);
    stop(patient);
    assert_eq!(topics.read(&topics.windows), []);

    let graph = start(&topics, &["--readings.idle_after_ms=200"]);
    // The other one keeps sending: time goes by it alone, once the quiet one counts as idle.
    let mut sent = 10_000;
    graph.wait_until("a window closed", |m| {
        sent += 1;
        topics.send([at(0, "closer", minute(1) + sent)]);
        m.sum("tideflow_windows_total", &[]) == 1.0
    });
    assert_eq!(keys(&topics.read_some(&topics.windows, 1)), named(&[("d", START)]));
    // When it speaks again, it takes part again.
    topics.send([at(1, "late", minute(1) - 1), at(1, "d", minute(1)), closing(1, 2)]);
    topics.send([closing(0, 2)]);
    let second = [("d", START), ("d", minute(1)), ("closer", minute(1))];
    assert_eq!(keys(&topics.read_some(&topics.windows, 3)), named(&second));
    assert_eq!(keys(&topics.read_some(&topics.late, 1)), named(&[("late", START)]));
    stop(graph);
}

#[test]
fn when_all_partitions_are_idle_time_is_that_of_the_one_furthest_on() {
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 2, 1);
    topics.send([at(0, "d", START), closing(0, 1), at(1, "e", START)]);
    let graph = start(&topics, &["--readings.idle_after_ms=200", "--readings.group=fleet"]);
    let closed = named(&[("d", START), ("e", START)]);
    assert_eq!(keys(&topics.read_some(&topics.windows, 2)), closed);
    // Tools that show lag find the group there, too.
    let (deadline, lag) =
        (Instant::now() + DEADLINE, |p| broker.committed("fleet", &topics.readings, p));
    while [lag(0), lag(1)] != [Some(2), Some(1)] {
        assert!(Instant::now() < deadline, "committed: {:?}", [lag(0), lag(1)]);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    stop(graph);
}

#[test]
fn a_start_at_the_latest_reading_knows_nothing_of_what_was_before() {
    let topics = Topics::new(TestBroker::shared(), 2, 1);
    topics.send((0..2).flat_map(|p| [at(p, "before", START), closing(p, 1)]));
    let graph = start(&topics, &["--readings.start=latest", "--workers.threads=2"]);
    graph.wait_until("started", |m| m.sum("tideflow_epoch", &[]) > 0.0);
    topics.send((0..2).flat_map(|p| [at(p, "after", minute(5)), closing(p, 6)]));
    assert_eq!(keys(&topics.read_some(&topics.windows, 1)), named(&[("after", minute(5))]));
    graph.wait_until("all read", |m| m.sum("tideflow_readings_total", &[]) == 4.0);
    stop(graph);
}

#[test]
fn a_start_at_a_time_reads_from_the_first_record_of_that_kafka_timestamp() {
    let topics = Topics::new(TestBroker::shared(), 3, 1);
    topics.send([at(0, "old", START), at(0, "old", minute(3) - 1), at(1, "old", START)]);
    // Event time and Kafka timestamp are two things: the second decides.
    topics.send([Input { timestamp: minute(3), ..at(0, "new", minute(2)) }]);
    topics.send([at(1, "new", minute(4)), at(2, "new", minute(5))]);
    let from = format!("--readings.start={}", minute(3));
    let ended = start(&topics, &[&from, "--readings.until=end"]).end();
    ended.with_code(0);
    let expected = named(&[2, 4, 5].map(|n| ("new", minute(n))));
    assert_eq!(keys(&topics.read(&topics.windows)), expected);
}

#[test]
fn a_signal_leaves_open_windows_open_or_closes_them_as_configured() {
    for (on_stop, expected) in [("suspend", vec![]), ("drain", vec![("d", START), ("e", START)])] {
        let topics = Topics::new(TestBroker::shared(), 2, 1);
        topics.send([at(0, "d", START), at(1, "e", START), at(1, "e", START + 9)]);
        let graph = start(&topics, &["--run.on_stop", on_stop]);
        graph.wait_until("all read", |m| windowed(m) == 3.0);
        stop(graph);
        assert_eq!(keys(&topics.read(&topics.windows)), named(&expected), "{on_stop}");
        assert_eq!(keys(&topics.read(&topics.scores)), named(&expected), "{on_stop}");
    }
}

/// A fleet that does not stop: 5,000 readings a minute of event time.
const ENDLESS: Fleet =
    Fleet { devices: 500, readings: 100_000_000, span_ms: 20_000 * 60_000, partitions: 4 };

/// The fleet may pause on a slow machine, and is not idle then.
const PATIENT: &str = "--readings.idle_after_ms=600000";

/// Tells the sender to end, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Does `f` while the fleet sends, and lets it send for some minutes more; what was sent is copied.
fn while_sending(topics: &Topics, path: &Path, f: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let send = || {
        let (mut copy, mut inputs) = (Copy::new(path), ENDLESS.inputs());
        let mut more = || topics.send(inputs.by_ref().take(5_000).inspect(|input| copy.add(input)));
        while !stop.load(Ordering::Acquire) {
            more();
        }
        (0..3).for_each(|_| more());
    };
    std::thread::scope(|threads| {
        threads.spawn(send);
        let _stop = Stop(&stop);
        f();
    });
}

/// All windows up to the last one published are published, each once and right; and there would
/// have been more.
fn assert_complete_so_far(topics: &Topics, folder: &Path, at_least: f64) {
    let windows = topics.read(&topics.windows);
    assert!(windows.len() as f64 >= at_least, "{} of {at_least}", windows.len());
    let (readings, published) = (folder.join("readings"), folder.join("windows"));
    dump(&published, &windows);
    let found = python("recompute.py", &[&readings, &published, "2".as_ref(), "so far".as_ref()]);
    assert!(!found.contains("\"later\": 0"), "it was not stopped while it was busy: {found}");
    assert_eq!(keys(&topics.read(&topics.scores)), keys(&windows));
    assert_eq!(topics.read(&topics.late).len() + topics.read(&topics.rejects).len(), 0);
}

fn closed(metrics: &Metrics) -> f64 {
    metrics.sum("tideflow_windows_total", &[])
}

#[test]
fn oracle_a_signal_while_busy_publishes_every_window_closed_so_far() {
    let topics = Topics::new(TestBroker::shared(), ENDLESS.partitions, 2);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let mut before = 0.0;
    while_sending(&topics, &folder.path().join("readings"), || {
        let graph = start(&topics, &["--workers.threads=2", PATIENT]);
        before = closed(&graph.wait_until("busy", |m| closed(m) > 0.0));
        stop(graph);
    });
    assert_complete_so_far(&topics, folder.path(), before);
}

#[test]
fn oracle_a_signal_to_one_process_stops_the_whole_job() {
    let topics = Topics::new(TestBroker::shared(), ENDLESS.partitions, 2);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = format!("--workers.hostfile={}", hostfile(folder.path(), 2));
    let mut before = 0.0;
    while_sending(&topics, &folder.path().join("readings"), || {
        let processes = ["0", "1"]
            .map(|n| start(&topics, &[&hosts, &format!("--workers.process={n}"), PATIENT]));
        before = closed(&processes[0].wait_until("busy", |m| closed(m) > 0.0));
        let since = Instant::now();
        processes[1].signal("TERM");
        for ended in processes.map(Running::end) {
            ended.with_code(0);
        }
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    });
    assert_complete_so_far(&topics, folder.path(), before);
}
