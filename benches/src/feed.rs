//! Readings for a program that is measured.

use std::sync::Arc;

use anyhow::Result;
use tideflow::core::kafka::KafkaConfig;
use tideflow::sinks::kafka::{RawProducer, Record, TopicHandle, partition_for};

/// Who writes a topic of so many partitions.
pub struct Feed {
    producer: Arc<RawProducer>,
    topic: TopicHandle,
    partitions: usize,
}

impl Feed {
    /// One for this topic.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn of(kafka: &KafkaConfig, topic: &str, partitions: usize) -> Result<Feed> {
        let producer = Arc::new(RawProducer::new(kafka)?);
        let topic = producer.topic(topic)?;
        Ok(Feed { producer, topic, partitions })
    }

    /// Sends readings, each with its device as key.
    ///
    /// # Errors
    /// When one cannot be taken, ever.
    pub fn send(
        &self,
        readings: impl Iterator<Item = (String, String)>,
        over: impl Fn() -> bool,
    ) -> Result<()> {
        let readings: Vec<_> = readings.collect();
        let records = readings.iter().map(|(device, value)| Record {
            partition: partition_for(device.as_bytes(), self.partitions),
            key: Some(device.as_bytes()),
            value: Some(value.as_bytes()),
        });
        Ok(self.producer.produce_batch(&self.topic, records, over)?)
    }

    /// Waits until all are there.
    ///
    /// # Errors
    /// When one could not be delivered.
    pub fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(|| false)?)
    }
}
