//! Reading a shard's progress.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tideflow_core::Epoch;
use tideflow_core::kafka::{ClientLog, KafkaConfig, KafkaError, Role, first_offset};

use super::error::ReadProgressError;
use super::owner::ShardConfig;
use super::progress::{Manifest, Note};

/// Kilobytes fetched ahead: the topic is trimmed, and its records are small.
const QUEUE_KB_MAX: u32 = 4_096;
/// Manifests that a start may go on from: the newest, and one beside it.
const MANIFESTS_MAX: usize = 2;
/// Between two looks at what else has happened.
const SLICE: Duration = Duration::from_millis(50);

/// What earlier generations have published of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardProgress {
    /// The last epoch that was committed; none: nothing yet, or the record was trimmed.
    pub epoch: Option<Epoch>,
    /// The manifests that count, newest last: no more than two, and of shard 0 only.
    pub manifests: Vec<Manifest>,
    /// The offset of the first record that these rest on: what lies before may be deleted.
    pub needed_from: i64,
}

/// Reads a shard's progress up to the sentinel of its generation, which must be committed, at the offset
/// `sentinel` or behind it. So what is read is complete: whoever comes later writes behind it. Waits
/// `connect_timeout_ms` at most for each next record.
///
/// # Errors
/// [`ReadProgressError`]; a later generation's record before the sentinel is one.
pub fn read_progress(
    kafka: &KafkaConfig,
    shard: &ShardConfig,
    sentinel: i64,
    give_up: impl Fn() -> bool,
) -> Result<ShardProgress, ReadProgressError> {
    read(kafka, shard, Some(sentinel), give_up)
}

/// Reads what is committed of a shard's progress as it stands, for those who only look: an owner may
/// write more at any time. Waits as [`read_progress`] does.
///
/// # Errors
/// [`ReadProgressError`].
pub fn look_at_progress(
    kafka: &KafkaConfig,
    progress_topic: &str,
    shard: u32,
) -> Result<ShardProgress, ReadProgressError> {
    let anyone = ShardConfig {
        transactional_id: progress_topic.to_string(),
        progress_topic: progress_topic.to_string(),
        shard,
        generation: u64::MAX,
        timeout_ms: 0,
    };
    read(kafka, &anyone, None, || false)
}

/// Up to the own sentinel, or to the end.
fn read(
    kafka: &KafkaConfig,
    shard: &ShardConfig,
    sentinel: Option<i64>,
    give_up: impl Fn() -> bool,
) -> Result<ShardProgress, ReadProgressError> {
    let consumer = consumer(kafka, shard)?;
    let read = read_with(&consumer, kafka, shard, sentinel, give_up);
    // Its end may take librdkafka 100 ms, which nobody need wait for.
    std::thread::spawn(move || drop(consumer));
    read
}

fn read_with(
    consumer: &BaseConsumer<ClientLog>,
    kafka: &KafkaConfig,
    shard: &ShardConfig,
    sentinel: Option<i64>,
    give_up: impl Fn() -> bool,
) -> Result<ShardProgress, ReadProgressError> {
    let (topic, partition) = (&shard.progress_topic, shard.shard);
    let (mut reading, mut since) = (Reading::of(shard, sentinel), Instant::now());
    loop {
        match consumer.poll(SLICE) {
            Some(Ok(record)) => {
                if reading.take(record.offset(), record.payload().unwrap_or_default())? {
                    return Ok(reading.found);
                }
                since = Instant::now();
            }
            Some(Err(RdError::PartitionEOF(_))) if sentinel.is_none() => return Ok(reading.found),
            // The end is where the sentinel is.
            Some(Err(RdError::PartitionEOF(_))) | None => {}
            // Trimmed between our question and our answer.
            Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => {
                reading = Reading::of(shard, sentinel);
                assign(consumer, kafka, shard)?;
            }
            Some(Err(error)) => waited_for(kafka, topic, &error)?,
        }
        let log = consumer.context();
        if let Some(reason) = log.refused_login() {
            return Err(
                KafkaError::Authentication { brokers: kafka.brokers.clone(), reason }.into()
            );
        }
        if give_up() {
            return Err(ReadProgressError::GivenUp { topic: topic.clone(), partition });
        }
        if since.elapsed() > kafka.connect_timeout() {
            let last = log.last_error().unwrap_or_else(|| "it is not there".to_string());
            let (own, after_ms) = (shard.generation, kafka.connect_timeout_ms);
            let topic = topic.clone();
            return Err(ReadProgressError::NoSentinel { topic, partition, own, after_ms, last });
        }
    }
}

/// What has been read of a shard's progress.
struct Reading<'a> {
    shard: &'a ShardConfig,
    sentinel: Option<i64>,
    found: ShardProgress,
    /// Where the last epoch was found.
    epoch_at: Option<i64>,
    /// Where each of the manifests was.
    manifests_at: Vec<i64>,
}

impl<'a> Reading<'a> {
    fn of(shard: &'a ShardConfig, sentinel: Option<i64>) -> Self {
        let found = ShardProgress::default();
        Reading { shard, sentinel, found, epoch_at: None, manifests_at: Vec::new() }
    }

    /// Takes the next record; true when it is the own sentinel.
    fn take(&mut self, offset: i64, value: &[u8]) -> Result<bool, ReadProgressError> {
        let (topic, partition) = (self.shard.progress_topic.clone(), self.shard.shard);
        let own = self.shard.generation;
        let (generation, note) = match Note::decode(value, partition) {
            Ok(told) => told,
            Err(reason) => {
                return Err(ReadProgressError::Malformed { topic, partition, offset, reason });
            }
        };
        if generation > own {
            return Err(ReadProgressError::Superseded { topic, partition, own, found: generation });
        }
        match note {
            Note::Sentinel if generation == own && Some(offset) < self.sentinel => {
                return Err(ReadProgressError::Reused { topic, partition, own });
            }
            Note::Sentinel if generation == own => {
                let first = self.epoch_at.iter().chain(&self.manifests_at).min();
                self.found.needed_from = first.copied().unwrap_or(offset);
                return Ok(true);
            }
            Note::Sentinel => {}
            Note::Published(epoch) if self.found.epoch >= Some(epoch) => {
                let last = self.found.epoch.unwrap_or_default();
                let reason = format!("epoch {epoch} is published after {last}");
                return Err(ReadProgressError::Malformed { topic, partition, offset, reason });
            }
            Note::Published(epoch) => {
                (self.found.epoch, self.epoch_at) = (Some(epoch), Some(offset));
            }
            Note::Manifest(manifest) => {
                self.found.manifests.push(manifest);
                self.manifests_at.push(offset);
                if self.manifests_at.len() > MANIFESTS_MAX {
                    self.found.manifests.remove(0);
                    self.manifests_at.remove(0);
                }
            }
        }
        Ok(false)
    }
}

fn consumer(
    kafka: &KafkaConfig,
    shard: &ShardConfig,
) -> Result<BaseConsumer<ClientLog>, KafkaError> {
    // A name only: the group is never joined.
    let group = shard.transactional_id.as_str();
    let mut client = kafka.client(Role::Consumer { group, queue_kb_max: QUEUE_KB_MAX })?;
    // The end is told by an answer without records, which would be waited for.
    client.set("fetch.wait.max.ms", "10");
    let consumer = client
        .create_with_context(ClientLog::new("progress"))
        .map_err(|error| KafkaError::client("making a consumer", &error))?;
    assign(&consumer, kafka, shard)?;
    Ok(consumer)
}

/// From the beginning. librdkafka itself asks for it half a second after it knows the brokers.
fn assign(
    consumer: &BaseConsumer<ClientLog>,
    kafka: &KafkaConfig,
    shard: &ShardConfig,
) -> Result<(), KafkaError> {
    let (topic, partition) = (&shard.progress_topic, shard.shard as i32);
    let failed = |error| KafkaError::client(format!("reading topic `{topic}`"), &error);
    let first = Offset::Offset(first_offset(kafka, topic, partition)?);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, first).map_err(failed)?;
    consumer.assign(&list).map_err(failed)
}

/// Whether librdkafka will mend this by itself.
fn waited_for(kafka: &KafkaConfig, topic: &str, error: &RdError) -> Result<(), KafkaError> {
    let (topic, brokers) = (topic.to_string(), kafka.brokers.clone());
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            Err(KafkaError::TopicMissing { topic, brokers })
        }
        Some(Code::TopicAuthorizationFailed) => {
            Err(KafkaError::Authorization { topic, reason: error.to_string() })
        }
        _ => match KafkaError::client(format!("reading topic `{topic}`"), error) {
            failed if failed.kind() == tideflow_core::ErrorKind::Unavailable => Ok(()),
            failed => Err(failed),
        },
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
