//! What every part that talks to Kafka shares: the connection's options, its errors, a few
//! questions to the cluster, and two brokers for tests and demos.
//!
//! [`KafkaConfig`] is the only place that builds a librdkafka configuration: what must hold for
//! epochs and exactly-once delivery (no automatic commits, no automatic offset reset, idempotent
//! producers) is set there for each [`Role`] and cannot be overridden by raw options.

mod admin;
mod client_log;
mod clients;
mod config;
mod embedded;
mod error;
mod settings;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod topic_check;
mod topic_settings;

pub use admin::{NewTopic, add_partitions, create_topics, delete_topics, while_away};
pub use client_log::ClientLog;
pub use clients::Connection;
pub use config::{KafkaConfig, KafkaConfigError, LogLevel, SaslMechanism, Security};
pub use embedded::EmbeddedBroker;
pub use error::KafkaError;
pub use settings::Role;
pub use topic_check::topic_problems;
pub use topic_settings::{
    FoundTopic, delete_records, describe_topic, end_offsets, first_offset, offsets,
};

/// The defaults and manual of [`KafkaConfig`], for a graph's command line: the section `[kafka]`.
pub const KAFKA_DEFAULTS: &str = include_str!("default.toml");
