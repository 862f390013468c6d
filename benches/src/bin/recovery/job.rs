//! The jobs that are killed: how they are started, and what they read and write.

use std::path::Path;
use std::process::Command;

use tideflow_benches::program::beside;

/// Readings a second.
pub const RATE: u64 = 20_000;
/// The first reading's event time: the start of an hour.
const START_MS: u64 = 1_699_999_200_000;
/// Of the readings of `device_health` one in so many is none, and becomes a dead letter.
const BROKEN_EVERY: u64 = 1_000;
/// No window closes while it is measured; everything else as by default.
const HEALTH: [&str; 2] = ["--window.length_ms=3600000", "--http.bind=127.0.0.1:0"];
/// What `device_health` writes, by the names of its options; the first is looked at.
const TOPICS: [&str; 5] = ["rejects", "windows", "scores", "alarms", "late"];

/// The job that is killed.
pub enum Job {
    Latency,
    Health { model: String },
}

impl Job {
    /// A reading of this device, as JSON.
    pub fn reading(&self, device: &str, seq: u64) -> String {
        let ts = START_MS + seq * 1_000 / RATE;
        match self {
            Job::Latency => format!(
                "{{\"device\":\"{device}\",\"ts\":{ts},\"seq\":{seq},\"temperature\":21.5}}"
            ),
            Job::Health { .. } if seq.is_multiple_of(BROKEN_EVERY) => "broken".to_string(),
            Job::Health { .. } => format!(
                "{{\"device\":\"{device}\",\"ts\":{ts},\"temperature\":21.5,\"vibration\":0.8,\
                 \"current\":4.2}}"
            ),
        }
    }

    /// The topics that it writes; the first is looked at.
    pub fn outputs(&self, id: u32) -> Vec<String> {
        let names: &[&str] = match self {
            Job::Latency => &["out"],
            Job::Health { .. } => &TOPICS,
        };
        names.iter().map(|name| format!("recovery-{name}-{id}")).collect()
    }

    /// Its program, beside this one, as it is run over and over.
    pub fn command(&self, brokers: &str, input: &str, outputs: &[String], state: &Path) -> Command {
        match self {
            Job::Latency => {
                let mut command = beside("tideflow-peer");
                let name = outputs[0].as_str();
                command.args(["latency", brokers, input, name, "exactly_once", "1", name]);
                command.env("PEER_STATE_DIR", state);
                command
            }
            Job::Health { model } => {
                let mut command = beside("device_health");
                command.arg("run").args(HEALTH);
                let mut set = |key: &str, value: &str| {
                    command.arg(format!("--{key}={value}"));
                };
                set("kafka.brokers", brokers);
                set("job.name", &outputs[0]);
                set("job.state", &state.display().to_string());
                set("model.reference", model);
                set("readings.topic", input);
                for (output, name) in outputs.iter().zip(TOPICS) {
                    set(&format!("topics.{name}"), output);
                }
                command
            }
        }
    }
}
