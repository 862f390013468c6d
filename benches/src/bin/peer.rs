//! Tideflow as one of the engines of a side-by-side comparison:
//! `tideflow-peer WORKLOAD BROKERS IN_TOPIC OUT_TOPIC MODE PARALLELISM RUN_ID`, until SIGTERM.
//!
//! The workload `window`: count, sum, extremes and mean of the temperature of each device in tumbling
//! windows of one minute.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tideflow::core::timely::{CommunicationConfig, Config, WorkerConfig};
use tideflow::core::{EpochSettings, Job, RecentBindings, execute};
use tideflow::prelude::*;
use tideflow::sinks::kafka::KafkaSinkConfig;
use tideflow::sources::kafka::{Start, Until};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    device: DeviceId,
    ts: EventTime,
    temperature: f64,
}

flat_record!(Reading { device, ts, temperature });

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        self.ts
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Temperature(Total);

impl Aggregate<Reading> for Temperature {
    fn add(&mut self, reading: &Reading) {
        self.0.add(reading.temperature);
    }
}

#[derive(Clone, Serialize)]
struct Minute {
    device: DeviceId,
    window_start: EventTime,
    window_end: EventTime,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
}

impl KeyedRecord for Minute {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

impl From<Window<DeviceId, Temperature>> for Minute {
    fn from(window: Window<DeviceId, Temperature>) -> Self {
        let Temperature(total) = window.value;
        Minute {
            device: window.key,
            window_start: window.start,
            window_end: window.end,
            count: total.count(),
            sum: total.sum(),
            min: total.min(),
            max: total.max(),
            mean: total.mean(),
        }
    }
}

struct Topics {
    kafka: KafkaConfig,
    input: KafkaSourceConfig,
    output: KafkaSinkConfig,
}

fn window(flow: &Flow<'_>, topics: &Topics) -> Result<(), BuildError> {
    let source = KafkaSource::flat_json(&topics.kafka, &topics.input);
    let (readings, _) = flow.source("readings", source)?;
    let minutes = readings
        .key_by(|r: &Reading| &r.device)
        .tumbling_window::<_, Temperature>("minutes", Tumbling::of(minutes(1)))?;
    let records = minutes.on_time.map("records", Minute::from)?;
    flow.sink("out", records, KafkaSink::json(&topics.kafka, &topics.output))
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [workload, brokers, input, output, mode, parallelism, run_id] = args.as_slice() else {
        bail!("expected WORKLOAD BROKERS IN_TOPIC OUT_TOPIC MODE PARALLELISM RUN_ID");
    };
    if workload != "window" {
        bail!("workload `{workload}`: expected `window`, the others do not exist yet");
    }
    if mode != "at_least_once" && mode != "none" {
        bail!("mode `{mode}`: expected `at_least_once`, the only one there is yet");
    }
    let threads = parallelism.parse().context("PARALLELISM: expected a number")?;
    let topics = Topics {
        kafka: KafkaConfig::plaintext(brokers),
        input: KafkaSourceConfig {
            topic: input.clone(),
            partitions: 0,
            start: Start::Earliest,
            until: Until::Never,
            out_of_orderness_ms: 0,
            max_future_ms: u64::MAX,
            idle_after_ms: 2_000,
            max_ahead_ms: 3_600_000,
            refresh_ms: 5_000,
            queue_kb: 65_536,
            group: run_id.clone(),
        },
        output: KafkaSinkConfig { topic: output.clone(), partitions: 0 },
    };
    let interval = std::env::var("TIDEFLOW_EPOCH_MS").map_or(Ok(50), |ms| ms.parse())?;
    let epochs =
        EpochSettings { interval: Duration::from_millis(interval), ..EpochSettings::default() };
    let job = Job { epochs, ..Job::default() };
    let communication = match threads {
        1 => CommunicationConfig::Thread,
        n => CommunicationConfig::Process(n),
    };
    let config = Config { communication, worker: WorkerConfig::default() };
    let log = Box::new(RecentBindings::new(100));
    execute(config, &job, log, |_| (), move |flow| window(flow, &topics))?;
    Ok(())
}
