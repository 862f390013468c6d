//! What must hold of a topic before a graph starts.

use super::{KafkaConfig, KafkaError};
use crate::{Check, CheckFailure, ErrorKind};

impl KafkaConfig {
    /// Checks that the configuration can be used and a broker answers; then that the topic is there,
    /// and that it has as many partitions as expected (0 expects any number).
    pub fn topic_checks(&self, topic: &str, expected: usize) -> [Check; 2] {
        let failure = |e: KafkaError| CheckFailure { kind: e.kind(), message: e.to_string() };
        let (kafka, broker) = (self.clone(), format!("broker `{}`", self.brokers));
        let reach = move || {
            kafka.validate().map_err(|e| failure(e.into()))?;
            kafka.reachable().map_err(failure).map(|()| "answers".to_string())
        };
        let (kafka, name) = (self.clone(), topic.to_string());
        let count = move || match kafka.partitions(&name).map_err(failure)? {
            found if expected != 0 && found != expected => Err(CheckFailure {
                kind: ErrorKind::Invalid,
                message: format!("expected {expected} partitions, found {found}"),
            }),
            found => Ok(format!("{found} partitions")),
        };
        [
            Check { what: broker.clone(), after: None, run: Box::new(reach) },
            Check { what: format!("topic `{topic}`"), after: Some(broker), run: Box::new(count) },
        ]
    }
}
