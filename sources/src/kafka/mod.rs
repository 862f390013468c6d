//! Kafka topics as sources.

mod consumer;
mod decode;
mod flat;
mod growth;
mod partition;
mod past;
mod placement;
mod positions;
mod reader;
mod source;
mod table;

pub use consumer::{BatchConsumer, MessageRef, Polled, StartOffset};
pub use decode::decode_json;
pub use flat::{Decimal, FlatField, FlatObject, FlatRecord};
pub use placement::placement;
pub use reader::KafkaReader;
pub use source::{KafkaSource, KafkaSourceConfig, Lost, Start, Until};
pub use table::KafkaTableConfig;
