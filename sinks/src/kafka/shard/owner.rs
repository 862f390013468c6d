//! A shard's owner.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::producer::Producer;
use tideflow_core::ErrorKind;
use tideflow_core::kafka::{KafkaConfig, KafkaError, while_away};

use super::error::ShardError;
use super::progress::Note;
use crate::kafka::producer::{RawProducer, TopicHandle};
use crate::kafka::record::Record;

/// How long a transaction may be open, in milliseconds, unless told otherwise. It is also how long a
/// job that died, and was not started again, blocks those who read committed records only. Lower
/// frees them sooner; higher outlasts longer troubles of the cluster.
pub const TRANSACTION_TIMEOUT_MS: u32 = 30_000;

/// Which shard, and who takes it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardConfig {
    /// The transactional id: of the job and the shard, the same in all generations.
    pub transactional_id: String,
    /// The topic of the progress of all shards.
    pub progress_topic: String,
    /// The shard's number, and the partition of its progress.
    pub shard: u32,
    /// The generation that takes it over.
    pub generation: u64,
    /// How long a transaction may be open, in milliseconds: [`TRANSACTION_TIMEOUT_MS`].
    pub timeout_ms: u32,
}

/// One shard's transactional producer, for one thread.
///
/// 1. Records of a transaction are visible to those who read committed records once it is committed,
///    all of them and its notes of progress together, or never.
/// 2. A later [`Shard::fence`] of the id ends this one: its next act, or the one under way, fails
///    with [`ShardError::Superseded`] within a second or so of reaching a broker.
/// 3. After an error it is of no more use. What it had open is aborted: by itself where it can, by the
///    next owner, or by the brokers after the timeout. Dropping it says nothing to the brokers.
pub struct Shard {
    pub(super) config: ShardConfig,
    pub(super) producer: Arc<RawProducer>,
    /// Since when the transaction is open, if one is.
    pub(super) open: Option<Instant>,
    kafka: KafkaConfig,
    progress: TopicHandle,
}

impl Shard {
    /// Takes the shard over: aborts what is open of its transactional id, and fences all earlier
    /// owners. Takes 60 ms, or up to a second over an open transaction; `connect_timeout_ms` at most
    /// for the cluster to answer, and as long again to take the id over.
    ///
    /// # Errors
    /// All but [`ShardError::Aborted`] and [`ShardError::Unknown`].
    pub fn fence(
        kafka: &KafkaConfig,
        config: &ShardConfig,
        give_up: impl Fn() -> bool,
    ) -> Result<Self, ShardError> {
        let ShardConfig { transactional_id, timeout_ms, .. } = config;
        let producer = RawProducer::transactional(kafka, transactional_id, *timeout_ms)?;
        Self::with(producer, kafka, config, give_up)
    }

    /// As [`Shard::fence`], with librdkafka settings of the caller's own.
    #[cfg(test)]
    pub(super) fn fence_as(
        client: rdkafka::ClientConfig,
        kafka: &KafkaConfig,
        config: &ShardConfig,
    ) -> Result<Self, ShardError> {
        Self::with(RawProducer::with(client, &kafka.brokers)?, kafka, config, || false)
    }

    fn with(
        producer: RawProducer,
        kafka: &KafkaConfig,
        config: &ShardConfig,
        give_up: impl Fn() -> bool,
    ) -> Result<Self, ShardError> {
        let producer = Arc::new(producer);
        // librdkafka waits half a second when it has to initialise without a connection.
        let (progress, partitions) = known_topic(&producer, kafka, &config.progress_topic)?;
        if partitions <= config.shard as usize {
            let (topic, shard) = (&config.progress_topic, config.shard);
            let reason = format!("`{topic}` has {partitions} partitions, none for this shard");
            let doing = format!("taking over shard {shard}");
            return Err(KafkaError::Client { doing, reason, kind: ErrorKind::Invalid }.into());
        }
        let (config, kafka) = (config.clone(), kafka.clone());
        let shard = Shard { config, producer, open: None, kafka, progress };
        shard.init(shard.kafka.connect_timeout(), give_up)?;
        Ok(shard)
    }

    /// A topic to produce to, whose partitions are known.
    ///
    /// # Errors
    /// When it does not exist, or no broker says so within `connect_timeout_ms`.
    pub fn topic(&self, name: &str) -> Result<TopicHandle, KafkaError> {
        known_topic(&self.producer, &self.kafka, name).map(|(topic, _)| topic)
    }

    pub(super) fn brokers(&self) -> String {
        self.kafka.brokers.clone()
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.config.shard
    }

    /// How long a transaction may be open, in milliseconds.
    pub fn timeout_ms(&self) -> u32 {
        self.config.timeout_ms
    }

    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begins a transaction. Asks no broker.
    ///
    /// # Errors
    /// [`ShardError::Superseded`], if that is known already; when one is open.
    pub fn begin(&mut self) -> Result<(), ShardError> {
        self.producer.base().begin_transaction().map_err(|e| self.failure("beginning", &e))?;
        self.open = Some(Instant::now());
        Ok(())
    }

    /// Takes the records into the open transaction, in order for each partition; their bytes are
    /// copied. Waits while librdkafka's queue is full, until `give_up` says so.
    ///
    /// # Errors
    /// [`ShardError::Superseded`], or [`ShardError::Aborted`] when a record cannot be taken or it was
    /// given up.
    ///
    /// # Panics
    /// When no transaction is open.
    pub fn produce_batch<'a>(
        &mut self,
        topic: &TopicHandle,
        records: impl Iterator<Item = Record<'a>>,
        give_up: impl Fn() -> bool,
    ) -> Result<(), ShardError> {
        self.take(give_up, |producer, told| producer.produce_batch(topic, records, told))
    }

    /// Takes one record with headers into the open transaction: a dead letter.
    ///
    /// # Errors
    /// Those of [`Shard::produce_batch`].
    ///
    /// # Panics
    /// When no transaction is open.
    pub fn produce_with_headers(
        &mut self,
        topic: &TopicHandle,
        record: Record<'_>,
        headers: &[(String, Option<Vec<u8>>)],
        give_up: impl Fn() -> bool,
    ) -> Result<(), ShardError> {
        self.take(give_up, |producer, told| {
            producer.produce_with_headers(topic, record, headers, told)
        })
    }

    /// Commits the open transaction, with these notes of the shard's progress in it. Waits for the
    /// brokers, for as long as a transaction may be open; while records are still to be sent, until
    /// `give_up` says so.
    ///
    /// # Errors
    /// [`ShardError::Superseded`]; [`ShardError::Aborted`]: nothing will be visible;
    /// [`ShardError::Unknown`]: the shard's progress says what came of it.
    ///
    /// # Panics
    /// When no transaction is open.
    pub fn commit(&mut self, notes: &[Note], give_up: impl Fn() -> bool) -> Result<(), ShardError> {
        let (shard, generation) = (self.config.shard, self.config.generation);
        let key = shard.to_string();
        let values: Vec<_> = notes.iter().map(|note| note.encode(generation, shard)).collect();
        let records = values.iter().map(|value| Record {
            partition: shard as i32,
            key: Some(key.as_bytes()),
            value: Some(value),
        });
        let (producer, told) = (self.producer.clone(), Cell::new(false));
        let taken = producer.produce_batch(&self.progress, records, noting(&told, &give_up));
        self.taken(taken, told.get())?;
        self.finish(&give_up)?;
        self.open = None;
        Ok(())
    }

    /// Commits the sentinel of this generation, in a transaction of its own, as [`Shard::commit`] does. Its offset
    /// in the progress is this one at least, and that of whatever earlier owners have written is lower.
    ///
    /// # Errors
    /// Those of [`Shard::commit`]; when a transaction is open, or no broker answers.
    pub fn commit_sentinel(&mut self, give_up: impl Fn() -> bool) -> Result<i64, ShardError> {
        let (topic, shard) = (&self.config.progress_topic, self.config.shard as i32);
        let client = self.producer.base().client();
        let asked = while_away(self.kafka.connect_timeout(), |left| {
            client.fetch_watermarks(topic, shard, left)
        });
        let doing = || format!("asking for the end of topic `{topic}` partition {shard}");
        let (_, end) = asked.map_err(|error| KafkaError::client(doing(), &error))?;
        self.begin()?;
        self.commit(&[Note::Sentinel], give_up)?;
        Ok(end)
    }

    /// Aborts the open transaction, if there is one.
    ///
    /// # Errors
    /// [`ShardError::Superseded`], [`ShardError::Unknown`] when the brokers do not answer. Nothing of
    /// the transaction will be visible either way.
    pub fn abort(&mut self) -> Result<(), ShardError> {
        match self.open {
            None => Ok(()),
            Some(_) => self.end_without(),
        }
    }

    fn take<G: Fn() -> bool>(
        &mut self,
        give_up: G,
        produce: impl FnOnce(&RawProducer, &dyn Fn() -> bool) -> Result<(), KafkaError>,
    ) -> Result<(), ShardError> {
        let told = Cell::new(false);
        let taken = produce(&self.producer, &noting(&told, &give_up));
        self.taken(taken, told.get())
    }

    /// A batch that was given up is not whole, and its transaction must never be committed.
    fn taken(&mut self, taken: Result<(), KafkaError>, told: bool) -> Result<(), ShardError> {
        assert!(self.open.is_some(), "no transaction is open");
        match taken {
            Ok(()) if told => Err(self.broken("given up, as told".to_string())),
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(error.to_string())),
        }
    }
}

/// `give_up`, taking note of a yes.
fn noting<'a>(told: &'a Cell<bool>, give_up: &'a impl Fn() -> bool) -> impl Fn() -> bool + 'a {
    move || {
        let yes = give_up();
        told.set(told.get() || yes);
        yes
    }
}

/// A topic's handle, and the number of its partitions. With a batch produced before those are known,
/// librdkafka 2.12 adds partition -1 to the transaction, which then hangs until its timeout.
fn known_topic(
    producer: &Arc<RawProducer>,
    kafka: &KafkaConfig,
    name: &str,
) -> Result<(TopicHandle, usize), KafkaError> {
    const QUESTION: Duration = Duration::from_millis(500);
    let (topic, since) = (producer.topic(name)?, Instant::now());
    loop {
        let answer = producer.base().client().fetch_metadata(Some(name), QUESTION);
        producer.base().poll(Duration::ZERO);
        let found = answer.as_ref().ok().and_then(|a| a.topics().first());
        let partitions = found.map_or(0, |found| found.partitions().len());
        if partitions > 0 {
            return Ok((topic, partitions));
        }
        // Asks until there is an answer, and has a word for each way in which there is none.
        kafka.partitions(name)?;
        if since.elapsed() > kafka.connect_timeout() {
            return Err(KafkaError::Unreachable {
                brokers: kafka.brokers.clone(),
                after_ms: kafka.connect_timeout_ms,
                last: answer.err().map_or("no answer".to_string(), |error| error.to_string()),
            });
        }
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
