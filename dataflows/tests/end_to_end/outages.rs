//! A broker that goes away while a graph runs.

use tideflow::core::kafka::testing::TestBroker;

use crate::batch::{copy, hostfile};
use crate::fleet::{Fleet, START, at};
use crate::program::{Running, device_health};
use crate::python::{model, python};
use crate::topics::{Topics, dump};

const FLEET: Fleet = Fleet { devices: 200, readings: 120_000, span_ms: 30 * 60_000, partitions: 4 };

#[test]
fn fault_a_broker_killed_while_the_graph_is_busy_is_waited_for_and_nothing_is_lost() {
    let mut broker = TestBroker::start();
    let topics = Topics::new(&broker, FLEET.partitions, 3);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let file = |name: &str| folder.path().join(name);
    let inputs: Vec<_> = FLEET.inputs().collect();
    copy(&file("readings"), &inputs);
    let (first, second) = inputs.split_at(inputs.len() / 2);
    topics.send(first.iter().cloned());

    let mut graph = device_health("run", &topics, &model("health"));
    let flags = [
        "--workers.threads=2",
        "--run.on_stop=drain",
        "--readings.idle_after_ms=100",
        // However long the broker takes to start, it does not end a transaction of the frozen graph.
        "--job.transaction_timeout_ms=600000",
    ];
    let graph = Running::start(graph.args(flags));
    let windowed = |n: usize| {
        let what = format!("{n} read");
        graph.wait_until(&what, |m| m.sum("tideflow_windowed_total", &[]) >= n as f64)
    };
    windowed(1);
    graph.wait_until("all workers run", |m| m.sum("tideflow_epoch", &[]) > 0.0);
    broker.kill();
    graph.wait_for("librdkafka");
    // When the graph looks again its partitions have grown unseen: none of them was idle.
    graph.signal("STOP");
    broker.start_again();
    topics.send(second.iter().cloned());
    graph.signal("CONT");
    windowed(inputs.len());
    graph.signal("TERM");
    let ended = graph.end();
    ended.with_code(0);

    dump(&file("windows"), &topics.read(&topics.windows));
    python("recompute.py", &[&file("readings"), &file("windows"), "3".as_ref()]);
    let found = [&topics.late, &topics.rejects].map(|topic| topics.read(topic).len());
    assert_eq!(found, [0, 0], "late and rejected");
}

#[test]
fn fault_a_stop_without_a_broker_ends_at_once_by_a_second_signal_and_in_time_without() {
    let broker = TestBroker::start();
    let topics = Topics::new(&broker, 1, 1);
    topics.send([at(0, "d", START)]);
    let start = |flags: &[&str]| {
        let mut command = device_health("run", &topics, &model("health"));
        let graph = Running::start(command.arg("--run.on_stop=drain").args(flags));
        graph.wait_until("read", |m| m.sum("tideflow_windowed_total", &[]) == 1.0);
        graph
    };
    let other = format!("--job.name={}", topics.scores);
    let (twice, once) = (start(&[]), start(&["--run.stop_timeout_ms=1500", &other]));
    broker.kill();

    twice.signal("TERM");
    twice.wait_for("stopping, a second signal leaves at once");
    twice.signal("INT");
    let ended = twice.end();
    ended.with_code(130);
    let words = "tideflow: SIGINT while stopping, leaving at once\n";
    assert!(ended.err.ends_with(words), "{}", ended.err);

    once.signal("TERM");
    let ended = once.end();
    ended.with_code(1);
    assert!(ended.err.contains("tideflow: not stopped after 1500 ms"), "{}", ended.err);
}

#[test]
fn fault_a_topic_deleted_while_it_is_read_ends_the_run_and_is_named() {
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 2, 1);
    topics.send([at(0, "d", START)]);
    let mut graph = device_health("run", &topics, &model("health"));
    let graph = Running::start(graph.arg("--readings.refresh_ms=100"));
    graph.wait_until("read", |m| m.sum("tideflow_windowed_total", &[]) == 1.0);
    broker.delete_topic(&topics.readings);
    let ended = graph.end();
    ended.with_code(1);
    let words = format!("`readings`: topic `{}` does not exist on", topics.readings);
    assert!(ended.err.contains(&words), "{}", ended.err);
}

#[test]
fn fault_a_process_that_fails_ends_the_whole_job() {
    for failing in 0..2 {
        let broker = TestBroker::shared();
        let topics = Topics::new(broker, 2, 1);
        topics.send([at(0, "d", START), at(1, "e", START)]);
        let folder = tempfile::tempdir().expect("a folder for a while");
        let hosts = hostfile(folder.path(), 2);
        let [first, second] = [0, 1].map(|process| {
            // Only one of them looks whether the topic is still there.
            let refresh = if process == failing { 100 } else { 3_600_000 };
            let mut command = device_health("run", &topics, &model("health"));
            Running::start(command.args([
                format!("--workers.hostfile={hosts}"),
                format!("--workers.process={process}"),
                format!("--readings.refresh_ms={refresh}"),
            ]))
        });
        first.wait_until("epochs", |m| m.sum("tideflow_epoch", &[]) > 0.0);
        broker.delete_topic(&topics.readings);
        let (first, second) = (first.end(), second.end());
        let (failed, other) = if failing == 0 { (first, second) } else { (second, first) };
        assert_eq!((failed.code, other.code), (1, 5), "{}\n{}", failed.err, other.err);
        assert!(failed.err.contains("does not exist on"), "{}", failed.err);
        let told = |line: &str| line.contains(" is lost: ") && line.contains("does not exist on");
        assert!(other.err.lines().any(told), "{}", other.err);
    }
}
