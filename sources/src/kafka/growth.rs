//! Whether a topic has got new partitions.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tideflow_core::kafka::{KafkaConfig, KafkaError};

use super::source::ms;

/// The thread that asks for the number of partitions, until the reader is gone or the topic is:
/// librdkafka alone would wait for a deleted topic without a word.
pub(super) fn look_for_partitions(
    kafka: &KafkaConfig,
    topic: &str,
    every: Duration,
    seen: &AtomicUsize,
    stop: &AtomicBool,
) -> Option<KafkaError> {
    let slice = every.min(ms(100));
    let mut waited = Duration::ZERO;
    while !stop.load(Ordering::Acquire) {
        std::thread::park_timeout(slice);
        waited += slice;
        if waited < every {
            continue;
        }
        waited = Duration::ZERO;
        match kafka.partitions(topic) {
            Ok(count) => {
                seen.fetch_max(count, Ordering::AcqRel);
            }
            Err(error @ KafkaError::TopicMissing { .. }) => return Some(error),
            Err(error) => tracing::warn!(topic, %error, "cannot look for new partitions"),
        }
    }
    None
}
