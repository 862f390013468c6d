//! The topic that a job's bindings are kept in.

use tideflow_core::kafka::{KafkaConfig, KafkaError, delete_records};

use super::{Copies, LogTopicError, open_log_topic};

/// The one partition: the order of its records decides which of them count.
pub(super) const PARTITION: i32 = 0;

/// The topic `{job}.bindings`.
#[derive(Clone, Debug)]
pub struct BindingsTopic {
    pub(super) kafka: KafkaConfig,
    pub(super) name: String,
}

impl BindingsTopic {
    /// The job's topic: made when it is missing, with one partition and no retention; checked when it
    /// is there. A login needs `Create`, `Describe`, `DescribeConfigs`, `Read`, `Write` and `Delete` of it.
    ///
    /// # Errors
    /// When Kafka does not do it, or the topic could lose records: it is compacted, has a retention, has
    /// fewer copies than asked for, or not one partition.
    pub fn open(kafka: &KafkaConfig, job: &str, copies: Copies) -> Result<Self, LogTopicError> {
        let name = Self::name_for(job);
        open_log_topic(kafka, &name, 1, copies)?;
        Ok(BindingsTopic { kafka: kafka.clone(), name })
    }

    /// The name of a job's topic.
    pub fn name_for(job: &str) -> String {
        format!("{job}.bindings")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes the records before this offset, the one that the oldest manifest to be kept names, and
    /// returns the offset at which the log begins now.
    ///
    /// # Errors
    /// When the brokers do not do it. The log is longer than it needs to be then, no more.
    pub fn trim(&self, before: i64) -> Result<i64, KafkaError> {
        let starts = delete_records(&self.kafka, &self.name, &[(PARTITION, before)])?;
        Ok(starts.first().map_or(before, |(_, start)| *start))
    }
}
