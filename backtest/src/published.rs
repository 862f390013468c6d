//! Reading what was published.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::{Ending, Stop};
use tideflow_sources::kafka::{BatchConsumer, Polled, StartOffset};

use crate::CompareError;

/// Kilobytes fetched ahead.
const QUEUE_KB_MAX: u32 = 65_536;
/// Records taken at once.
const BATCH: usize = 1_024;
/// One wait for records.
const SLICE: Duration = Duration::from_millis(100);
/// The name by which brokers know the consumer: it joins no group, and commits nothing.
const GROUP: &str = "tideflow.replay";

/// Calls with the value of every committed record from there to the end as it is now; a partition's in its order.
/// False where it was asked to stop.
pub(crate) fn each_published(
    kafka: &KafkaConfig,
    topic: &str,
    from: StartOffset,
    stop: &Stop,
    mut act: impl FnMut(&[u8]) -> Result<(), CompareError>,
) -> Result<bool, CompareError> {
    let mut consumer = BatchConsumer::new(kafka, topic, GROUP, QUEUE_KB_MAX)?;
    let (bell, rung) = sync_channel(1);
    consumer.set_wake(Box::new(move || {
        let _ = bell.try_send(()); // one that was not heard yet is enough
    }));
    let partitions = 0..kafka.partitions(topic)? as i32;
    let at = |offset| partitions.clone().map(move |p| (p, offset)).collect::<Vec<_>>();
    let starts = consumer.resolve(&at(from))?;
    let mut ends: BTreeMap<i32, i64> =
        consumer.resolve(&at(StartOffset::Latest))?.into_iter().collect();
    starts.iter().for_each(|(p, start)| ends.retain(|q, end| p != q || start < end));
    consumer.assign(&starts)?;
    let (mut failed, mut since) = (None, Instant::now());
    while !ends.is_empty() {
        if stop.asked() != Ending::No {
            return Ok(false);
        }
        let taken = consumer.poll(BATCH, |polled| match polled {
            Polled::Message(message) => {
                let Some(end) = ends.get(&message.partition).copied() else { return };
                if message.offset < end && failed.is_none() {
                    failed = message.payload.and_then(|value| act(value).err());
                }
                if message.offset + 1 >= end {
                    ends.remove(&message.partition);
                }
            }
            // What lies between the last record and the end are markers of transactions.
            Polled::Eof { partition, offset } => {
                ends.retain(|p, end| *p != partition || offset < *end)
            }
            Polled::Error { error, .. } => drop(failed.get_or_insert(error.into())),
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if taken > 0 {
            since = Instant::now();
        } else if since.elapsed() > kafka.connect_timeout() {
            return Err(KafkaError::Unreachable {
                brokers: kafka.brokers.clone(),
                after_ms: kafka.connect_timeout_ms,
                last: format!("no end of topic `{topic}`"),
            }
            .into());
        }
        if taken < BATCH && !ends.is_empty() {
            let _ = rung.recv_timeout(SLICE);
        }
    }
    Ok(true)
}
