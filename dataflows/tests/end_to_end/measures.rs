//! What is measured of a run: that the figures are those of what it did.

use std::time::{SystemTime, UNIX_EPOCH};

use tideflow::core::kafka::testing::TestBroker;

use crate::fleet::{MINUTE, START, at};
use crate::pages::run_with_everything;
use crate::program::{Metrics, Running, device_health};
use crate::python::model;
use crate::topics::Topics;

const SINKS: [&str; 5] = ["windows out", "scores out", "alarms out", "late out", "rejects out"];

/// The clock, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a measure of the clock is held against the clock")]
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs_f64()
}

/// How often a histogram's figure was taken, and the sum of all.
fn taken(page: &Metrics, name: &str, labels: &[(&str, &str)]) -> (f64, f64) {
    let part = |part: &str| page.sum(&format!("tideflow_{name}_{part}"), labels);
    (part("count"), part("sum"))
}

#[test]
fn batches_calls_and_publications_are_measured() {
    let (topics, graph) = run_with_everything(&[]);
    topics.read_some(&topics.late, 1);
    topics.read_some(&topics.alarms, 5);
    let published = |page: &Metrics, sink| taken(page, "sink_seconds", &[("sink", sink)]);
    let page = graph.wait_until("all is published", |page| {
        page.sum("tideflow_inference_rows_total", &[]) == 3.0
            && SINKS.iter().all(|sink| published(page, sink).0 > 0.0)
    });
    for sink in SINKS {
        let (epochs, seconds) = published(&page, sink);
        let records = page.sum("tideflow_sink_records_total", &[("sink", sink)]);
        assert!(epochs <= records, "{sink}: {epochs} epochs with {records} records");
        assert!(0.0 < seconds && seconds < 60.0 * epochs, "{sink}: {seconds} s");
    }
    let (batches, rows) = taken(&page, "inference_batch_rows", &[("operator", "health")]);
    let (calls, seconds) = taken(&page, "inference_seconds", &[("operator", "health")]);
    assert!((1.0..=3.0).contains(&batches), "{batches} batches");
    assert_eq!((rows, calls), (3.0, batches));
    assert!(0.0 < seconds && seconds < 60.0 * calls, "{seconds} s");
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
}

#[test]
fn the_delay_of_the_watermark_is_the_clock_less_the_watermark() {
    let started = now();
    let (_topics, graph) = run_with_everything(&[]);
    // Both partitions end with the same time; a reading may lie ten seconds behind it.
    let expected = (START + 9 * MINUTE - 10_000) as f64 / 1e3;
    let watermark = |page: &Metrics| page.sum("tideflow_watermark_seconds", &[]);
    let page = graph.wait_until("at its last reading", |page| watermark(page) == expected);
    let clock = page.sum("tideflow_watermark_delay_seconds", &[]) + expected;
    assert!((started - 1.0..=now() + 1.0).contains(&clock), "{started} to {}: {clock}", now());
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
}

#[test]
fn the_lag_of_a_partition_is_what_lies_between_its_position_and_its_end() {
    const COUNT: i64 = 20_000;
    let topics = Topics::new(TestBroker::shared(), 2, 1);
    topics.send((0..COUNT).map(|n| at(0, "d", START + n * 10_000)));
    topics.send([at(1, "e", START)]);
    // The second holds the first back, in time: one epoch does not take all of it.
    let flags = [
        "--readings.idle_after_ms=3600000",
        "--readings.max_ahead_ms=60000",
        "--epochs.bytes_max=65536",
    ];
    let mut graph = device_health("run", &topics, &model("health"));
    let graph = Running::start(graph.args(flags));
    let lag = |page: &Metrics, partition| {
        page.sum("tideflow_consumer_lag", &[("source", "readings"), ("partition", partition)])
    };
    let read = |page: &Metrics| page.sum("tideflow_readings_total", &[("source", "readings")]);
    let all = COUNT as f64 + 1.0;
    graph.wait_until("held back", |page| {
        lag(page, "0") > 0.0 && lag(page, "1") == 0.0 && read(page) + lag(page, "0") == all
    });
    topics.send([at(1, "e", START + COUNT * 10_000)]);
    graph.wait_until("let go", |page| read(page) == all + 1.0 && lag(page, "0") == 0.0);
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
}

#[test]
fn epochs_that_wait_to_be_published_are_counted_up_to_as_many_as_may_be_under_way() {
    const UNDER_WAY: f64 = 5.0;
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    topics.send((0..20_000).map(|n| at(0, "d", START + n * MINUTE)));
    let mut graph = device_health("run", &topics, &model("health"));
    let flags = ["--epochs.inflight_max=5", "--epochs.interval_ms=1", "--epochs.bytes_max=65536"];
    let graph = Running::start(graph.args(flags));
    let lag = |page: &Metrics| page.sum("tideflow_epoch_lag", &[]);
    let busy = graph.wait_until("busy", |page| lag(page) > 0.0);
    assert!(lag(&busy) <= UNDER_WAY, "{}", lag(&busy));
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
}
