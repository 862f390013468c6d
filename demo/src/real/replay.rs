//! One recording through Kafka and the graph, and what came out.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use tideflow::core::kafka::KafkaConfig;
use tideflow::core::timely::Config;
use tideflow::core::{Job, RecentBindings, execute};
use tideflow::models::ModelRef;
use tideflow::prelude::*;
use tideflow::sinks::kafka::{RawProducer, Record};
use tideflow_dataflows::device_health::{AlarmRecord, DeviceHealth, Topics};

use super::graph::{SampleScore, recorded};
use super::recording::{Machine, Recording};
use super::sample::{Pump, Sample, SampleWindow, Temperature};
use crate::setup::prepare;
use crate::tail::Tail;

/// The longest wait for results that are in their topics.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// What the graph made of a recording, by time.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Windows: from, to, and how many rows.
    pub windows: Vec<(i64, i64, u64)>,
    /// Scores: from, to, score.
    pub scores: Vec<(i64, i64, f32)>,
    /// Raised and cleared.
    pub alarms: Vec<AlarmRecord>,
    /// Rows that came after their window had closed.
    pub late: u64,
    /// Rows that could not be used.
    pub rejected: u64,
}

/// Replays a recording with its model: the embedded broker or these.
///
/// # Errors
/// When a part cannot start or fails, or a row is not accounted for.
pub fn replay(
    recording: &Recording,
    model: ModelRef,
    brokers: Option<&str>,
) -> anyhow::Result<Replayed> {
    match recording.machine {
        Machine::Temperature => replay_as::<Temperature>(recording, model, brokers),
        Machine::Pump => replay_as::<Pump>(recording, model, brokers),
    }
}

fn replay_as<S: Sample>(
    recording: &Recording,
    model: ModelRef,
    brokers: Option<&str>,
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
    let (broker, config, framework) = prepare(brokers, 1, model, &flags)?;
    send::<S>(recording, &config)?;

    let job = Job { epochs: (&framework.epochs).into(), ..Job::default() };
    let (log, options) = (Box::new(RecentBindings::new(1)), config.clone());
    let build = move |flow: &Flow<'_>| recorded::<S>(flow, &options);
    execute(Config::thread(), &job, log, |_| (), build).context("running the graph")?;

    let replayed = read::<S>(&config.kafka, &config.topics)?;
    broker.close()?;
    let windowed: u64 = replayed.windows.iter().map(|(_, _, count)| count).sum();
    let (rows, found) = (recording.rows.len() as u64, windowed + replayed.late + replayed.rejected);
    if rows != found || replayed.windows.len() != replayed.scores.len() {
        bail!("{rows} rows were sent, {found} were found in the results");
    }
    Ok(replayed)
}

/// Sends all rows; a row's Kafka timestamp is its own time.
fn send<S: Sample>(recording: &Recording, config: &DeviceHealth) -> anyhow::Result<()> {
    let producer = Arc::new(RawProducer::new(&config.kafka)?);
    let topic = producer.topic(&config.readings.topic)?;
    let device = DeviceId::try_from(recording.name.as_str())?;
    for (ts, values) in &recording.rows {
        let value = serde_json::to_vec(&S::new(&device, EventTime(*ts), values))?;
        let key = Some(device.as_str().as_bytes());
        let record = Record { partition: 0, key, value: Some(&value) };
        producer.produce_at(&topic, record, *ts, || false)?;
    }
    Ok(producer.flush(|| false)?)
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
        records.push(serde_json::from_slice(message.payload.unwrap_or_default())?);
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
