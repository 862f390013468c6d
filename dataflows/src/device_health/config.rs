//! The options of `device_health`; `default.toml` is their manual.

use std::time::Duration;

use serde::Deserialize;
use tideflow::core::OptionProblem;
use tideflow::core::kafka::{KAFKA_DEFAULTS, topic_problems};
use tideflow::job::{JOB_DEFAULTS, JobConfig};
use tideflow::operators::{CANDIDATE_DEFAULTS, CandidateConfig, MODEL_DEFAULTS};
use tideflow::prelude::*;
use tideflow::sinks::kafka::KafkaSinkConfig;

use super::{DriftConfig, QualityConfig};

/// The defaults and manual of [`DeviceHealth`].
pub const DEFAULTS: &[&str] = &[
    JOB_DEFAULTS,
    KAFKA_DEFAULTS,
    include_str!("default.toml"),
    MODEL_DEFAULTS,
    CANDIDATE_DEFAULTS,
];

/// The options of the graph, a field a section.
#[derive(Clone, Debug, Deserialize)]
pub struct DeviceHealth {
    /// What survives, and how often a result is published.
    pub job: JobConfig,
    /// The cluster, for all topics.
    pub kafka: KafkaConfig,
    /// The input.
    pub readings: KafkaSourceConfig,
    /// How readings are put together.
    pub window: WindowConfig,
    /// What scores them.
    pub model: ModelConfig,
    /// What scores beside it.
    pub candidate: CandidateConfig,
    /// When a score is an alarm.
    pub alarm: AlarmConfig,
    /// When the model's rows are too far from its training.
    pub drift: DriftConfig,
    /// What devices truly were: the second input, if there is one.
    pub labels: KafkaSourceConfig,
    /// When the model's scores are too far from that.
    pub quality: QualityConfig,
    /// The outputs.
    pub topics: Topics,
}

impl DeviceHealth {
    /// What is wrong with options that only make sense together.
    pub fn problems(&self) -> Vec<OptionProblem> {
        let mut problems: Vec<_> = self.kafka.problem("kafka").into_iter().collect();
        problems.extend(self.job.problems("job"));
        problems.extend(self.model.problems("model"));
        problems.extend(self.candidate.problems("candidate", &self.model));
        problems.extend(self.watch_problems());
        let mut topics = vec![
            ("readings.topic", self.readings.topic.as_str()),
            ("topics.windows", self.topics.windows.as_str()),
            ("topics.scores", self.topics.scores.as_str()),
            ("topics.alarms", self.topics.alarms.as_str()),
            ("topics.late", self.topics.late.as_str()),
            ("topics.rejects", self.topics.rejects.as_str()),
        ];
        if !self.topics.candidates.is_empty() {
            topics.push(("topics.candidates", self.topics.candidates.as_str()));
        }
        topics.extend(self.watch_topics());
        problems.extend(topic_problems(&topics));
        let AlarmConfig { raise_above, clear_below, .. } = self.alarm;
        if clear_below > raise_above {
            let why = format!("{clear_below} lies above `alarm.raise_above`, {raise_above}");
            problems.push(OptionProblem::new("alarm.clear_below", why));
        }
        problems
    }
}

/// How readings are put together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// The length of a window, in milliseconds of event time.
    pub length_ms: u64,
}

/// When a score is an alarm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmConfig {
    /// The score above which a window counts towards an alarm.
    pub raise_above: f64,
    /// The score below which an alarm ends.
    pub clear_below: f64,
    /// Windows in a row that raise it.
    pub windows_min: u32,
    /// Silence after which a device's alarm expires, in milliseconds of event time.
    pub forget_after_ms: u64,
}

/// The outputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topics {
    /// Window statistics.
    pub windows: String,
    /// Scores.
    pub scores: String,
    /// Alarms.
    pub alarms: String,
    /// Readings that came too late.
    pub late: String,
    /// Dead letters.
    pub rejects: String,
    /// Scores of a candidate beside those of the model; empty: nowhere.
    pub candidates: String,
    /// The model's rows against its training; empty: they are not compared.
    pub drift: String,
    /// The model's scores against the labels.
    pub quality: String,
    /// Alarms of the model; empty: there are none.
    pub model_alarms: String,
    /// The number of partitions that each must have; 0 for any.
    pub partitions: usize,
}

impl WindowConfig {
    /// The windows.
    pub fn tumbling(&self) -> Tumbling {
        Tumbling::of(Duration::from_millis(self.length_ms))
    }
}

impl AlarmConfig {
    /// The alarm's thresholds.
    pub fn hysteresis(&self) -> Hysteresis {
        Hysteresis::raise_above(self.raise_above)
            .clear_below(self.clear_below)
            .for_at_least(self.windows_min)
            .forget_after(Duration::from_millis(self.forget_after_ms))
    }
}

impl Topics {
    fn sink(&self, topic: &str) -> KafkaSinkConfig {
        KafkaSinkConfig { topic: topic.to_string(), partitions: self.partitions }
    }

    /// Window statistics.
    pub fn windows(&self) -> KafkaSinkConfig {
        self.sink(&self.windows)
    }

    /// Scores.
    pub fn scores(&self) -> KafkaSinkConfig {
        self.sink(&self.scores)
    }

    /// Alarms.
    pub fn alarms(&self) -> KafkaSinkConfig {
        self.sink(&self.alarms)
    }

    /// Readings that came too late.
    pub fn late(&self) -> KafkaSinkConfig {
        self.sink(&self.late)
    }

    /// Scores of a candidate beside those of the model, if they go anywhere.
    pub fn candidates(&self) -> Option<KafkaSinkConfig> {
        (!self.candidates.is_empty()).then(|| self.sink(&self.candidates))
    }

    /// Dead letters.
    pub fn rejects(&self) -> KafkaSinkConfig {
        self.sink(&self.rejects)
    }

    /// The model's rows against its training.
    pub fn drift(&self) -> KafkaSinkConfig {
        self.sink(&self.drift)
    }

    /// The model's scores against the labels.
    pub fn quality(&self) -> KafkaSinkConfig {
        self.sink(&self.quality)
    }

    /// Alarms of the model.
    pub fn model_alarms(&self) -> KafkaSinkConfig {
        self.sink(&self.model_alarms)
    }
}
