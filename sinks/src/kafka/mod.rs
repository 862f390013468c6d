//! Kafka topics as sinks.

mod arena;
mod dead_letters;
mod deliveries;
mod partitioner;
mod producer;
mod publisher;
mod record;
pub mod shard;
mod shards;
mod sink;

pub use partitioner::partition_for;
pub use producer::{RawProducer, TopicHandle};
pub use record::Record;
pub use shards::{Parcel, ShardSink, Shards};
pub use sink::{KafkaSink, KafkaSinkConfig, KafkaWriter, KeyedRecord};
