//! Kafka topics as sources.

mod consumer;
mod decode;
mod flat;
mod placement;
mod reader;
mod source;

pub use consumer::{BatchConsumer, MessageRef, Polled, StartOffset};
pub use decode::decode_json;
pub use flat::{Decimal, FlatField, FlatObject, FlatRecord, Token};
pub use placement::placement;
pub use reader::KafkaReader;
pub use source::{KafkaSource, KafkaSourceConfig, Start, Until};
