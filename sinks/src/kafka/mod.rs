//! Kafka topics as sinks.

mod arena;
mod partitioner;
mod producer;
mod publisher;
mod sink;

pub use partitioner::partition_for;
pub use producer::{RawProducer, Record, TopicHandle};
pub use sink::{KafkaSink, KafkaSinkConfig, KafkaWriter, KeyedRecord};
