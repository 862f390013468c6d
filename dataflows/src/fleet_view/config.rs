//! The options of `fleet_view`; `default.toml` is their manual.

use std::time::Duration;

use serde::Deserialize;
use tideflow::core::OptionProblem;
use tideflow::core::kafka::{KAFKA_DEFAULTS, topic_problems};
use tideflow::job::{JOB_DEFAULTS, JobConfig};
use tideflow::operators::Latest;
use tideflow::prelude::*;
use tideflow::sinks::kafka::KafkaSinkConfig;
use tideflow::sources::kafka::{KafkaTableConfig, Until};

/// The defaults and manual of [`FleetView`].
pub const DEFAULTS: &[&str] = &[JOB_DEFAULTS, KAFKA_DEFAULTS, include_str!("default.toml")];

/// The options of the graph, a field a section.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetView {
    /// What survives, and how often a result is published.
    pub job: JobConfig,
    /// The cluster, for all topics.
    pub kafka: KafkaConfig,
    /// Where devices are.
    pub registry: KafkaTableConfig,
    /// What they say.
    pub readings: KafkaSourceConfig,
    /// For how long it stands.
    pub latest: LatestConfig,
    /// The outputs.
    pub topics: Topics,
}

impl FleetView {
    /// What is wrong with options that only make sense together.
    pub fn problems(&self) -> Vec<OptionProblem> {
        let mut problems: Vec<_> = self.kafka.problem("kafka").into_iter().collect();
        problems.extend(self.job.problems("job"));
        problems.extend(topic_problems(&[
            ("registry.topic", &self.registry.topic),
            ("readings.topic", &self.readings.topic),
            ("topics.sites", &self.topics.sites),
            ("topics.regions", &self.topics.regions),
            ("topics.rejects", &self.topics.rejects),
        ]));
        if self.readings.until == Until::End && self.registry.until != Until::End {
            let why = "`never`, and `readings.until` is `end`: the graph ends when both do";
            problems.push(OptionProblem::new("registry.until", why));
        }
        problems
    }
}

/// For how long a reading stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatestConfig {
    /// Silence after which a device is no longer heard of, in milliseconds of event time.
    pub forget_after_ms: u64,
}

impl LatestConfig {
    /// What is kept of each device.
    pub fn keep(&self) -> Latest {
        Latest::forget_after(Duration::from_millis(self.forget_after_ms))
    }
}

/// The outputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// A record a site.
    pub sites: String,
    /// A record a region.
    pub regions: String,
    /// Dead letters.
    pub rejects: String,
    /// The number of partitions that each must have; 0 for any.
    pub partitions: usize,
}

impl Topics {
    fn sink(&self, topic: &str) -> KafkaSinkConfig {
        KafkaSinkConfig { topic: topic.to_string(), partitions: self.partitions }
    }

    /// A record a site.
    pub fn sites(&self) -> KafkaSinkConfig {
        self.sink(&self.sites)
    }

    /// A record a region.
    pub fn regions(&self) -> KafkaSinkConfig {
        self.sink(&self.regions)
    }

    /// Dead letters.
    pub fn rejects(&self) -> KafkaSinkConfig {
        self.sink(&self.rejects)
    }
}
