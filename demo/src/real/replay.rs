//! One recording through Kafka and the graph, and what came out.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::Message;
use serde::de::DeserializeOwned;
use tideflow::core::kafka::KafkaConfig;
use tideflow::core::timely::Config;
use tideflow::core::{Ending, Job, LogOnly, RecentBindings, Stop, execute};
use tideflow::models::ModelRef;
use tideflow::prelude::*;
use tideflow::sinks::kafka::{RawProducer, Record};
use tideflow_dataflows::device_health::{AlarmRecord, DeviceHealth, Topics};

use super::graph::{SampleScore, recorded};
use super::recording::{Machine, Recording};
use super::sample::{Pump, Sample, SampleWindow, Temperature};
use crate::setup::{Surroundings, prepare};
use crate::tail::Tail;

/// The longest wait for results that are in their topics.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// What the graph made of a recording, by time.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Windows: from, to, and how many rows.
    pub windows: Vec<(i64, i64, u64)>,
    /// Scores: from, to, score.
    pub scores: Vec<(i64, i64, f64)>,
    /// Raised and cleared.
    pub alarms: Vec<AlarmRecord>,
    /// Rows that came after their window had closed.
    pub late: u64,
    /// Rows that could not be used.
    pub rejected: u64,
}

/// Replays a recording with its model.
///
/// # Errors
/// When a part cannot start or fails, a row is not accounted for, or `stop` was asked.
pub fn replay(
    recording: &Recording,
    model: ModelRef,
    around: &Surroundings,
    stop: &Stop,
) -> anyhow::Result<Replayed> {
    match recording.machine {
        Machine::Temperature => replay_as::<Temperature>(recording, model, around, stop),
        Machine::Pump => replay_as::<Pump>(recording, model, around, stop),
    }
}

fn replay_as<S: Sample>(
    recording: &Recording,
    model: ModelRef,
    around: &Surroundings,
    stop: &Stop,
) -> anyhow::Result<Replayed> {
    let (window_ms, bound_ms) = (recording.window_ms, recording.disorder_ms());
    let (window_ms, bound_ms) = (window_ms.to_string(), bound_ms.to_string());
    let flags = [
        ("window.length_ms", window_ms.as_str()),
        ("readings.out_of_orderness_ms", bound_ms.as_str()),
        ("readings.until", "end"),
        // A recording has one machine and some hundred windows: each counts.
        ("alarm.windows_min", "1"),
    ];
    let (broker, config, framework) = prepare(around, 1, model, &flags)?;
    send::<S>(recording, &config, stop)?;

    let epochs = (&framework.epochs).into();
    let job = Job { epochs, stop: stop.clone(), ..Job::default() };
    let (log, options) = (LogOnly::new(RecentBindings::new(1)), config.clone());
    let build = move |flow: &Flow<'_>| recorded::<S>(flow, &options);
    execute(Config::thread(), &job, log, |_| (), build).context("running the graph")?;
    go_on(stop)?;

    let replayed = read::<S>(&config.kafka, &config.topics)?;
    broker.close()?;
    replayed.account_for(recording.rows.len() as u64)?;
    Ok(replayed)
}

impl Replayed {
    /// Whether every row is in a window, late or rejected, and every window has its score.
    fn account_for(&self, rows: u64) -> anyhow::Result<()> {
        let windowed: u64 = self.windows.iter().map(|(_, _, count)| count).sum();
        let found = windowed + self.late + self.rejected;
        ensure!(rows == found, "{rows} rows were sent, {found} were found in the results");
        let (windows, scores) = (self.windows.len(), self.scores.len());
        ensure!(windows == scores, "{windows} windows have {scores} scores");
        Ok(())
    }
}

fn go_on(stop: &Stop) -> anyhow::Result<()> {
    ensure!(stop.asked() == Ending::No, "stopped before its end");
    Ok(())
}

/// Sends all rows; a row's Kafka timestamp is its own time.
fn send<S: Sample>(
    recording: &Recording,
    config: &DeviceHealth,
    stop: &Stop,
) -> anyhow::Result<()> {
    let stopped = || stop.asked() != Ending::No;
    let producer = Arc::new(RawProducer::new(&config.kafka)?);
    let topic = producer.topic(&config.readings.topic)?;
    let device = DeviceId::try_from(recording.name.as_str())?;
    for (ts, values) in &recording.rows {
        let value = serde_json::to_vec(&S::new(&device, EventTime(*ts), values))?;
        let key = Some(device.as_str().as_bytes());
        let record = Record { partition: 0, key, value: Some(&value) };
        producer.produce_at(&topic, record, *ts, stopped)?;
        go_on(stop)?;
    }
    producer.flush(stopped)?;
    go_on(stop)
}

fn read<S: Sample>(kafka: &KafkaConfig, topics: &Topics) -> anyhow::Result<Replayed> {
    let mut windows = all::<SampleWindow<S::Summaries>>(kafka, &topics.windows)?;
    let mut scores = all::<SampleScore>(kafka, &topics.scores)?;
    let mut alarms = all::<AlarmRecord>(kafka, &topics.alarms)?;
    windows.sort_by_key(|w| w.window_start);
    scores.sort_by_key(|s| s.window_start);
    alarms.sort_by_key(|a| a.window_start);
    let windows = windows.iter().map(|w| (w.window_start.0, w.window_end.0, w.count));
    let scores = scores.iter().map(|s| (s.window_start.0, s.window_end.0, s.score));
    Ok(Replayed {
        windows: windows.collect(),
        scores: scores.collect(),
        alarms,
        late: count(kafka, &topics.late)?,
        rejected: count(kafka, &topics.rejects)?,
    })
}

/// All records of a topic.
fn all<D: DeserializeOwned>(kafka: &KafkaConfig, topic: &str) -> anyhow::Result<Vec<D>> {
    let mut records = Vec::new();
    let mut tail = Tail::new(kafka, topic, thread::current())?;
    tail.read_to_end(Instant::now() + READ_TIME_MAX, |message| {
        records.push(serde_json::from_slice(message.payload().unwrap_or_default())?);
        Ok(())
    })?;
    Ok(records)
}

fn count(kafka: &KafkaConfig, topic: &str) -> anyhow::Result<u64> {
    let mut records = 0;
    let mut tail = Tail::new(kafka, topic, thread::current())?;
    tail.read_to_end(Instant::now() + READ_TIME_MAX, |_| {
        records += 1;
        Ok(())
    })?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_a_missing_row_and_a_missing_score_are_told_apart() {
        let windows = vec![(0, 10, 4), (10, 20, 5)];
        let scores = vec![(0, 10, 0.5)];
        let replayed = Replayed { windows, scores, alarms: vec![], late: 2, rejected: 1 };
        let told = |rows| replayed.account_for(rows).unwrap_err().to_string();
        assert_eq!(told(13), "13 rows were sent, 12 were found in the results");
        assert_eq!(told(12), "2 windows have 1 scores");
        let scores = vec![(0, 10, 0.5), (10, 20, 0.5)];
        Replayed { scores, ..replayed }.account_for(12).unwrap();
    }
}
