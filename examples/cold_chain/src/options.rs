//! The options of the graph; `default.toml` is their manual.

use serde::Deserialize;
use tideflow::core::OptionProblem;
use tideflow::core::kafka::{KAFKA_DEFAULTS, topic_problems};
use tideflow::job::{JOB_DEFAULTS, JobConfig};
use tideflow::prelude::*;

/// The defaults and manual of [`ColdChain`].
pub const DEFAULTS: &[&str] = &[JOB_DEFAULTS, KAFKA_DEFAULTS, include_str!("default.toml")];

/// The options, a field a section.
#[derive(Clone, Debug, Deserialize)]
pub struct ColdChain {
    /// What survives, and how often a result is published.
    pub job: JobConfig,
    /// The cluster.
    pub kafka: KafkaConfig,
    /// The input.
    pub readings: KafkaSourceConfig,
    /// What is too warm.
    pub cargo: Cargo,
    /// The outputs.
    pub topics: Topics,
}

impl ColdChain {
    /// What is wrong with options that only make sense together.
    pub fn problems(&self) -> Vec<OptionProblem> {
        let topics = topic_problems(&[
            ("readings.topic", &self.readings.topic),
            ("topics.alarms", &self.topics.alarms),
            ("topics.late", &self.topics.late),
            ("topics.rejects", &self.topics.rejects),
        ]);
        let kafka = self.kafka.problem("kafka");
        kafka.into_iter().chain(self.job.problems("job")).chain(topics).collect()
    }
}

/// What is too warm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cargo {
    /// The length of a window, in minutes of event time.
    pub window_minutes: u64,
    /// A window's mean above this is too warm, in degrees Celsius.
    pub limit_celsius: f64,
    /// How far below the limit a mean must lie to end an alarm, in degrees.
    pub margin_celsius: f64,
    /// Windows in a row that raise an alarm.
    pub windows_min: u32,
}

/// The outputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// Alarms.
    pub alarms: String,
    /// Readings that came too late.
    pub late: String,
    /// Dead letters.
    pub rejects: String,
}
