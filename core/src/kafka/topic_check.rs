//! What must hold of a topic before a graph starts.

use std::sync::OnceLock;

use super::{KafkaConfig, KafkaError};
use crate::{Check, CheckFailure, ErrorKind, OptionProblem};

impl KafkaConfig {
    /// Checks that the configuration can be used and a broker answers; then that the topic is there,
    /// and that it has as many partitions as expected (0 expects any number).
    pub fn topic_checks(&self, topic: &str, expected: usize) -> [Check; 2] {
        let failure = |e: KafkaError| CheckFailure { kind: e.kind(), message: e.to_string() };
        let broker = self.broker_check();
        let (broker_key, topic_key) = (broker.key.clone(), format!("{topic} {expected} {self:?}"));
        let (kafka, name) = (self.clone(), topic.to_string());
        let count = move || match kafka.partitions(&name).map_err(failure)? {
            found if expected != 0 && found != expected => Err(CheckFailure {
                kind: ErrorKind::Invalid,
                message: format!("expected {expected} partitions, found {found}"),
            }),
            found => Ok(format!("{found} partitions")),
        };
        [
            broker,
            Check {
                what: format!("topic `{topic}`"),
                key: topic_key,
                after: Some(broker_key),
                advisory: false,
                run: Box::new(count),
            },
        ]
    }

    /// What must hold of the brokers before anything else makes sense.
    pub fn broker_check(&self) -> Check {
        let (kafka, what) = (self.clone(), format!("broker `{}`", self.brokers));
        // For the checks that come after it.
        let connection = OnceLock::new();
        let reach = move || {
            let failure = |e: KafkaError| CheckFailure { kind: e.kind(), message: e.to_string() };
            kafka.validate().map_err(|e| failure(e.into()))?;
            let _ = connection.set(kafka.connect().map_err(failure)?);
            kafka.reachable().map_err(failure).map(|()| "answers".to_string())
        };
        // The whole configuration, secrets masked: two logins are two checks.
        Check { what, key: format!("{self:?}"), after: None, advisory: false, run: Box::new(reach) }
    }
}

/// What is wrong with the topics of a graph, each with its option: one has no name, or two uses. A graph that
/// writes to its input reads its own results for ever.
///
/// ```
/// # use tideflow_core::kafka::topic_problems;
/// let problems = topic_problems(&[("readings.topic", "cargo"), ("topics.alarms", "cargo")]);
/// assert_eq!(problems[0].key, "topics.alarms");
/// assert_eq!(problems[0].reason, "`cargo` is `readings.topic` too, expected a topic of its own");
/// ```
pub fn topic_problems(topics: &[(&str, &str)]) -> Vec<OptionProblem> {
    let problem = |(n, (key, topic)): (usize, &(&str, &str))| {
        let first = topics[..n].iter().find(|(_, other)| other == topic);
        let reason = match (*topic, first) {
            ("", _) => "expected a topic's name, found nothing".to_string(),
            (_, Some((first, _))) => {
                format!("`{topic}` is `{first}` too, expected a topic of its own")
            }
            _ => return None,
        };
        Some(OptionProblem::new(*key, reason))
    };
    topics.iter().enumerate().filter_map(problem).collect()
}
