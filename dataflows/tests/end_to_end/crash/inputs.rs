//! Inputs that are not as they were when a job goes on: records gone, partitions added.

use serde_json::Value;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::core::kafka::{add_partitions, delete_records};

use crate::fleet::{START, at};
use crate::program::{Ended, Metrics, Running, device_health};
use crate::python::model;
use crate::topics::Topics;

/// One or more starts of a job, one after the other.
struct Starts {
    topics: Topics,
}

impl Starts {
    fn over(partitions: usize) -> Starts {
        Starts { topics: Topics::new(TestBroker::shared(), partitions, 2) }
    }

    /// So many readings of a minute in a partition.
    fn send(&self, partition: i32, count: i64) {
        self.topics.send((0..count).map(|n| at(partition, &format!("d{partition}"), START + n)));
    }

    fn start(&self, more: &[&str]) -> Running {
        let mut command = device_health("run", &self.topics, &model("health"));
        command.args(["--job.snapshot_every=5", "--epochs.interval_ms=10"]).args(more);
        Running::start(&mut command)
    }

    /// To the end of the input, which closes all windows.
    fn to_the_end(&self, more: &[&str]) -> Ended {
        self.start(&[&["--readings.until=end"], more].concat()).end()
    }

    /// How many readings the windows of each device hold.
    fn counts(&self) -> Vec<(String, i64)> {
        let windows = self.topics.read(&self.topics.windows);
        let of = |window: &Value| {
            let device = window["device"].as_str().expect("a window is of a device");
            (device.to_string(), window["count"].as_i64().expect("it has a count"))
        };
        let mut counts: Vec<_> = windows.iter().map(|sent| of(&sent.json())).collect();
        counts.sort();
        counts
    }
}

fn counted(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts.iter().map(|(device, count)| ((*device).to_string(), *count)).collect()
}

fn has_read(count: i64) -> impl Fn(&Metrics) -> bool {
    move |m| m.sum("tideflow_windowed_total", &[]) == count as f64
}

#[test]
fn fault_input_that_was_deleted_before_it_was_read_stops_a_start_unless_it_may_go_on() {
    let job = Starts::over(2);
    job.send(0, 100);
    job.send(1, 30);
    let run = job.start(&[]);
    run.wait_until("all read", has_read(130));
    run.signal("TERM");
    run.end().with_code(0);
    // Forty of the next hundred are gone.
    job.send(0, 100);
    delete_records(&job.topics.kafka, &job.topics.readings, &[(0, 140)]).expect("it is there");

    let refused = job.to_the_end(&[]);
    refused.with_code(2);
    let words = "partition 0: the job goes on at offset 100, but there are only offsets 140 to 200";
    assert!(refused.err.contains(words), "{}", refused.err);
    let on = job.to_the_end(&["--readings.lost=earliest"]);
    on.with_code(0);
    assert!(on.err.contains("records are lost: going on"), "{}", on.err);
    assert_eq!(job.counts(), counted(&[("d0", 160), ("d1", 30)]));
}

#[test]
fn crash_partitions_added_between_starts_and_before_a_kill_are_read_once() {
    let job = Starts::over(1);
    let grow = |count| {
        add_partitions(&job.topics.kafka, &job.topics.readings, count)
            .expect("the broker adds them");
    };
    job.send(0, 100);
    let run = job.start(&[]);
    run.wait_until("all read", has_read(100));
    run.signal("TERM");
    run.end().with_code(0);
    grow(2);
    job.send(1, 50);
    // No snapshot after this one: what is read from the third partition is replayed.
    let run = job.start(&["--readings.refresh_ms=100", "--job.snapshot_every=1000000"]);
    run.wait_until("the second read", has_read(50));
    grow(3);
    job.send(2, 25);
    run.wait_until("the third read", has_read(75));
    // Recorded, and not only read.
    let epoch = |m: &Metrics| m.sum("tideflow_epoch", &[]);
    let seen = epoch(&run.metrics());
    run.wait_until("epochs after it", |m| epoch(m) > seen + 20.0);
    run.signal("KILL");
    run.end();
    job.send(2, 5);
    job.to_the_end(&[]).with_code(0);
    assert_eq!(job.counts(), counted(&[("d0", 100), ("d1", 50), ("d2", 30)]));
}
