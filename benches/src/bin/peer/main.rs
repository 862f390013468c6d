//! Tideflow as one of the engines of a side-by-side comparison:
//! `tideflow-peer WORKLOAD BROKERS IN_TOPIC OUT_TOPIC MODE PARALLELISM RUN_ID`, until SIGTERM.
//!
//! `TIDEFLOW_EPOCH_MS` is the time between two epochs (50); `TIDEFLOW_DECODE=serde` reads records with a
//! general JSON library, and not with a decoder that knows their fields. State goes to `PEER_STATE_DIR`,
//! which must be there and empty. `TIDEFLOW_MODEL` is the folder of the model of `score`. What it says of itself goes to standard error.

mod latency;
mod score;
mod window;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tideflow::core::timely::{CommunicationConfig, Config, ExchangeData, WorkerConfig};
use tideflow::core::{Durability, EpochSettings, Job, LogOnly, RecentBindings, execute};
use tideflow::job::JobConfig;
use tideflow::prelude::*;
use tideflow::sinks::kafka::KafkaSinkConfig;
use tideflow::sources::kafka::{FlatRecord, Lost, Start, Until};

/// What the graphs are made of.
struct Peer {
    kafka: KafkaConfig,
    input: KafkaSourceConfig,
    output: KafkaSinkConfig,
    decode_with_serde: bool,
}

type Build = fn(&Flow<'_>, &Peer) -> Result<(), BuildError>;

impl Peer {
    fn source<D>(&self) -> KafkaSource<D>
    where
        D: Event + ExchangeData + Clone + FlatRecord + DeserializeOwned,
    {
        match self.decode_with_serde {
            true => KafkaSource::json(&self.kafka, &self.input),
            false => KafkaSource::flat_json(&self.kafka, &self.input),
        }
    }
}

/// Milliseconds from one snapshot to the next.
const SNAPSHOT_EVERY_MS: u64 = 10_000;

/// What survives, in a mode of this name.
fn durability(
    mode: &str,
    job: &str,
    epoch_ms: u64,
    kafka: &KafkaConfig,
) -> Result<Arc<dyn Durability>> {
    if mode != "exactly_once" {
        return Ok(Arc::new(LogOnly::new(RecentBindings::new(100))));
    }
    let state = std::env::var("PEER_STATE_DIR").context("`PEER_STATE_DIR`: an empty folder")?;
    let config = JobConfig {
        snapshot_every: (SNAPSHOT_EVERY_MS / epoch_ms.max(1)).max(1),
        ..JobConfig::exactly_once(job, state)
    };
    Ok(config.durability(job, kafka))
}

fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [workload, brokers, input, output, mode, parallelism, run_id] = args.as_slice() else {
        bail!("expected WORKLOAD BROKERS IN_TOPIC OUT_TOPIC MODE PARALLELISM RUN_ID");
    };
    let build: Build = match workload.as_str() {
        "window" => window::window,
        "latency" => latency::latency,
        "score" => score::score,
        _ => bail!("workload `{workload}`: expected `window`, `latency` or `score`"),
    };
    if !["at_least_once", "exactly_once"].contains(&mode.as_str()) {
        bail!("mode `{mode}`: expected `at_least_once` or `exactly_once`");
    }
    let threads = parallelism.parse().context("PARALLELISM: expected a number")?;
    let kafka = KafkaConfig::plaintext(brokers);
    let epoch_ms = std::env::var("TIDEFLOW_EPOCH_MS").map_or(Ok(50), |ms| ms.parse())?;
    let durability = durability(mode, run_id, epoch_ms, &kafka)?;
    let peer = Peer {
        kafka,
        input: KafkaSourceConfig {
            topic: input.clone(),
            partitions: 0,
            start: Start::Earliest,
            lost: Lost::Stop,
            until: Until::Never,
            out_of_orderness_ms: 0,
            max_future_ms: u64::MAX,
            idle_after_ms: 2_000,
            // The others go by no time, and the first readings of `latency` are of 1970.
            max_ahead_ms: if workload == "window" { 3_600_000 } else { u64::MAX },
            refresh_ms: 5_000,
            queue_kb: 65_536,
            group: run_id.clone(),
        },
        output: KafkaSinkConfig { topic: output.clone(), partitions: 0 },
        decode_with_serde: std::env::var("TIDEFLOW_DECODE").is_ok_and(|v| v == "serde"),
    };
    let interval = Duration::from_millis(epoch_ms);
    let job =
        Job { epochs: EpochSettings { interval, ..EpochSettings::default() }, ..Job::default() };
    let communication = match threads {
        1 => CommunicationConfig::Thread,
        n => CommunicationConfig::Process(n),
    };
    let config = Config { communication, worker: WorkerConfig::default() };
    execute(config, &job, durability, |_| (), move |flow| build(flow, &peer))?;
    Ok(())
}
