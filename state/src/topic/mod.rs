//! The log of bindings in Kafka: the topic `{job}.bindings`, of one partition, of which nothing is ever
//! lost but what [`BindingsTopic::trim`] cuts off.
//!
//! A start of a job uses it in this order: [`BindingsTopic::open`]; fence the older generations;
//! [`BindingsTopic::mark`]; [`BindingsTopic::read`], from the place that the manifest names up to the own
//! marker; then [`KafkaBindingLog`], which records the epochs that follow. Reading up to one's own record
//! needs no end of the partition, high watermark or timeout to know that all has been read, and proves
//! that what was read is not stale.
//!
//! Kafka fences no generation here: one that has been replaced may append for as long as it likes. What
//! counts is decided by the order of the records, see [`Replay`](crate::Replay).

mod bindings_log;
mod bindings_topic;
mod log_topic;
mod mark;
mod places;
mod read;

pub use bindings_log::KafkaBindingLog;
pub use bindings_topic::BindingsTopic;
pub use log_topic::{Copies, LogTopicError, check_brokers, check_log_topic, open_log_topic};
pub use mark::Marker;
pub use places::{BindingPlace, BindingPlaces};
pub use read::ReadBindingsError;
