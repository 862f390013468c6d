//! Inputs that are not as they were when a job goes on: records gone, partitions added.

use std::time::Duration;

use serde_json::Value;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::core::kafka::{add_partitions, delete_records};
use tideflow::sinks::kafka::Record;
use tideflow::sinks::kafka::shard::{Note, Shard, ShardConfig, TRANSACTION_TIMEOUT_MS};

use crate::fleet::{START, at};
use crate::program::{Ended, Metrics, Running, device_health, run};
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

    fn checks(&self, more: &[&str]) -> Ended {
        run(device_health("check", &self.topics, &model("health")).args(more))
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

/// Who writes readings of one device in transactions, into the first partition.
struct Writer {
    shard: Shard,
    readings: String,
    written: i64,
}

impl Writer {
    fn of(topics: &Topics) -> Writer {
        let config = ShardConfig {
            transactional_id: format!("{}-writer", topics.readings),
            progress_topic: TestBroker::shared().topic("writer", 1),
            shard: 0,
            generation: 1,
            timeout_ms: TRANSACTION_TIMEOUT_MS,
        };
        let shard = Shard::fence(&topics.kafka, &config, || false).expect("nobody else has it");
        Writer { shard, readings: topics.readings.clone(), written: 0 }
    }

    fn write(&mut self, count: i64, commit: bool) {
        let topic = self.shard.topic(&self.readings).expect("it is there");
        let inputs: Vec<_> = (0..count).map(|n| at(0, "d", START + self.written + n)).collect();
        let records = inputs.iter().map(|input| Record {
            partition: 0,
            key: input.key.as_deref(),
            value: input.value.as_deref(),
        });
        self.written += count;
        self.shard.begin().expect("none is open");
        self.shard.produce_batch(&topic, records, || false).expect("they are small");
        if commit {
            let note = Note::Published(self.written.cast_unsigned());
            self.shard.commit(&[note], || false).expect("nobody else has it");
        } else {
            // What has not left yet would never be on the topic.
            std::thread::park_timeout(Duration::from_millis(200));
            self.shard.abort().expect("it is open");
        }
    }
}

fn counted(counts: &[(&str, i64)]) -> Vec<(String, i64)> {
    counts.iter().map(|(device, count)| ((*device).to_string(), *count)).collect()
}

fn has_read(count: i64) -> impl Fn(&Metrics) -> bool {
    move |m| m.sum("tideflow_windowed_total", &[]) == count as f64
}

/// What it has read so far is recorded by then, and not only read.
fn kill_once_recorded(run: Running) {
    let epoch = |m: &Metrics| m.sum("tideflow_epoch", &[]);
    let seen = epoch(&run.metrics());
    run.wait_until("epochs after it", |m| epoch(m) > seen + 20.0);
    run.signal("KILL");
    run.end();
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

    let words = "partition 0: the job goes on at offset 100, but there are only offsets 140 to 200";
    for Ended { code, out, err, .. } in [job.checks(&[]), job.to_the_end(&[])] {
        let told = out + &err;
        assert!(code == 2 && told.contains(words), "{code}: {told}");
        // Whoever runs is not replaced by a start that cannot go on.
        assert!(!told.contains("taking over"), "{told}");
    }
    job.checks(&["--readings.lost=earliest"]).with_code(0);
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
    kill_once_recorded(run);
    job.send(2, 5);
    job.to_the_end(&[]).with_code(0);
    assert_eq!(job.counts(), counted(&[("d0", 100), ("d1", 50), ("d2", 30)]));
}

#[test]
fn crash_input_with_aborted_transactions_in_it_is_replayed_as_it_was_read() {
    const NO_SNAPSHOT: &str = "--job.snapshot_every=1000000";
    let job = Starts::over(1);
    let mut writer = Writer::of(&job.topics);
    for (count, commit) in [(100, true), (40, false), (50, true), (30, false)] {
        writer.write(count, commit);
    }
    let run = job.start(&[NO_SNAPSHOT]);
    run.wait_until("what is committed", has_read(150));
    kill_once_recorded(run);
    writer.write(20, true);
    writer.write(10, false);
    let run = job.start(&[NO_SNAPSHOT]);
    run.wait_until("that, replayed, and more", has_read(170));
    kill_once_recorded(run);
    job.to_the_end(&[]).with_code(0);
    assert_eq!(job.counts(), counted(&[("d", 170)]));
}
