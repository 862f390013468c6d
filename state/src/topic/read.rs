//! Reading the log back, up to one's own marker.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tideflow_core::kafka::{ClientLog, KafkaError, Role};
use tideflow_core::{Epoch, ErrorKind};

use super::bindings_topic::{BindingsTopic, PARTITION};
use super::{BindingPlace, Marker};
use crate::{Entry, EntryError, Generation, Replay, ReplayError, SnapshotAt};

/// A log of bindings that could not be read back. All name topic, partition and offset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadBindingsError {
    /// Kafka does not do it.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// Records were deleted that are still needed.
    #[error(
        "topic `{topic}` partition {partition} begins at offset {start}, expected {from} or before: \
         bindings that are still needed were deleted, or the topic was made anew"
    )]
    Trimmed {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The first offset needed.
        from: i64,
        /// The first offset that is there.
        start: i64,
    },
    /// The record that the manifest names is another one.
    #[error(
        "topic `{topic}` partition {partition} offset {offset}: expected the binding of epoch {epoch} \
         by generation {generation}, as the manifest says, found {found}: they do not belong together"
    )]
    OtherLog {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that the manifest names.
        offset: i64,
        /// The snapshot's epoch.
        epoch: Epoch,
        /// Who recorded it.
        generation: Generation,
        /// What is there.
        found: String,
    },
    /// A record that nobody of this job has written.
    #[error("topic `{topic}` partition {partition} offset {offset}: {source}")]
    NotAnEntry {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
        /// What it is.
        source: EntryError,
    },
    /// The own marker was acknowledged and is not there.
    #[error(
        "topic `{topic}` partition {partition} offset {offset}: expected the own marker, of generation \
         {generation}, found {found}: the brokers have lost acknowledged records"
    )]
    MarkerLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset at which it was acknowledged.
        offset: i64,
        /// Ours.
        generation: Generation,
        /// What is there.
        found: String,
    },
    /// Nothing more came.
    #[error(
        "topic `{topic}` partition {partition}: nothing came for {after_ms} ms, at offset {at} of \
         {upto}: {last}"
    )]
    Stalled {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The next offset.
        at: i64,
        /// The last offset to be read.
        upto: i64,
        /// How long it was waited for.
        after_ms: u128,
        /// The last thing that went wrong, in librdkafka's words.
        last: String,
    },
    /// The job cannot go on from what the log says.
    #[error("topic `{topic}` partition {partition}: {source}")]
    Replay {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        source: ReplayError,
    },
}

impl ReadBindingsError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ReadBindingsError::Kafka(error) => error.kind(),
            ReadBindingsError::Stalled { .. } => ErrorKind::Unavailable,
            ReadBindingsError::Replay { source: ReplayError::Superseded { .. }, .. } => {
                ErrorKind::Fatal
            }
            _ => ErrorKind::Invalid,
        }
    }
}

/// Kilobytes fetched ahead at most.
const QUEUE_KB_MAX: u32 = 16_384;
/// Between two looks at the clock.
const POLL: Duration = Duration::from_millis(50);

impl BindingsTopic {
    /// Reads the log from the binding of the snapshot's epoch, or from offset 0, up to the own marker.
    ///
    /// `patience` is how long nothing may come; a long log may take longer.
    ///
    /// # Errors
    /// [`ReadBindingsError`] says what is missing and where.
    pub fn read(
        &self,
        snapshot: Option<BindingPlace>,
        upto: Marker,
        patience: Duration,
    ) -> Result<Replay, ReadBindingsError> {
        let reading = Reading::new(self, snapshot, upto);
        let consumer = self.consumer(reading.next)?;
        let read = self.read_with(&consumer, reading, patience);
        // Its end may take rdkafka 100 ms, which a start need not wait for.
        std::thread::spawn(move || drop(consumer));
        read
    }

    fn read_with(
        &self,
        consumer: &BaseConsumer<ClientLog>,
        mut reading: Reading<'_>,
        patience: Duration,
    ) -> Result<Replay, ReadBindingsError> {
        let mut since = Instant::now();
        loop {
            match consumer.poll(POLL) {
                Some(Ok(record)) => {
                    since = Instant::now();
                    let (offset, value) = (record.offset(), record.payload().unwrap_or_default());
                    if reading.take(offset, value)? {
                        return Ok(reading.replay);
                    }
                }
                Some(Err(error)) => self.bear(consumer, reading.next, &error)?,
                None => {}
            }
            if since.elapsed() > patience {
                let last = consumer.context().last_error();
                return Err(ReadBindingsError::Stalled {
                    topic: self.name.clone(),
                    partition: PARTITION,
                    at: reading.next,
                    upto: reading.upto.offset,
                    after_ms: patience.as_millis(),
                    last: last.unwrap_or_else(|| "no error".to_string()),
                });
            }
        }
    }

    fn consumer(&self, from: i64) -> Result<BaseConsumer<ClientLog>, KafkaError> {
        let failed = |error| KafkaError::client(format!("reading topic `{}`", self.name), &error);
        let role = Role::Consumer { group: &self.name, queue_kb_max: QUEUE_KB_MAX };
        let consumer: BaseConsumer<ClientLog> = self
            .kafka
            .client(role)?
            .create_with_context(ClientLog::new(format!("reader of {}", self.name)))
            .map_err(failed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, PARTITION, Offset::Offset(from)).map_err(failed)?;
        consumer.assign(&list).map_err(failed)?;
        Ok(consumer)
    }

    /// Lets pass what librdkafka mends itself: lost connections, moved leaders.
    fn bear(
        &self,
        consumer: &BaseConsumer<ClientLog>,
        next: i64,
        error: &RdError,
    ) -> Result<(), ReadBindingsError> {
        use RDKafkaErrorCode as Code;
        self.login_taken(consumer.context())?;
        let doing =
            || format!("reading topic `{}` partition {PARTITION} at offset {next}", self.name);
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                Err(self.out_of_range(consumer, next))
            }
            // librdkafka would go on behind the records it cannot read.
            Some(
                Code::BadMessage
                | Code::BadCompression
                | Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::MessageSizeTooLarge
                | Code::NotImplemented,
            ) => Err(ReadBindingsError::Kafka(KafkaError::Unreadable {
                topic: self.name.clone(),
                partition: PARTITION,
                offset: next,
                reason: error.to_string(),
            })),
            Some(
                Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::TopicAuthorizationFailed
                | Code::Fatal,
            ) => Err(self.refused(doing(), error).into()),
            _ => Ok(()),
        }
    }

    fn out_of_range(&self, consumer: &BaseConsumer<ClientLog>, from: i64) -> ReadBindingsError {
        let (topic, partition) = (self.name.clone(), PARTITION);
        let asked = consumer.fetch_watermarks(&self.name, PARTITION, self.kafka.connect_timeout());
        match asked {
            Ok((start, _)) if start > from => {
                ReadBindingsError::Trimmed { topic, partition, from, start }
            }
            _ => KafkaError::OffsetOutOfRange { topic, partition, offset: from }.into(),
        }
    }
}

/// What has been read.
struct Reading<'a> {
    topic: &'a BindingsTopic,
    snapshot: Option<BindingPlace>,
    upto: Marker,
    replay: Replay,
    next: i64,
}

impl<'a> Reading<'a> {
    fn new(topic: &'a BindingsTopic, snapshot: Option<BindingPlace>, upto: Marker) -> Self {
        let at = snapshot.map(|s| SnapshotAt { epoch: s.epoch, binding: s.generation });
        let next = snapshot.map_or(0, |s| s.offset);
        Reading { topic, snapshot, upto, replay: Replay::new(upto.generation, at), next }
    }

    /// Takes the next record; true when it is the own marker.
    fn take(&mut self, offset: i64, value: &[u8]) -> Result<bool, ReadBindingsError> {
        let (topic, partition) = (|| self.topic.name.clone(), PARTITION);
        self.next = offset + 1;
        let entry = Entry::decode(value).map_err(|source| ReadBindingsError::NotAnEntry {
            topic: topic(),
            partition,
            offset,
            source,
        })?;
        if let Some(named) = self.snapshot.take()
            && !(offset == named.offset && is_binding(&entry, named))
        {
            return Err(ReadBindingsError::OtherLog {
                topic: topic(),
                partition,
                offset: named.offset,
                epoch: named.epoch,
                generation: named.generation,
                found: say(offset, &entry),
            });
        }
        let own = entry == Entry::Marker(self.upto.generation);
        if offset > self.upto.offset || offset == self.upto.offset && !own {
            return Err(ReadBindingsError::MarkerLost {
                topic: topic(),
                partition,
                offset: self.upto.offset,
                generation: self.upto.generation,
                found: say(offset, &entry),
            });
        }
        let topic = topic();
        self.replay.take(offset, entry).map_err(|source| ReadBindingsError::Replay {
            topic,
            partition,
            source,
        })?;
        Ok(offset == self.upto.offset)
    }
}

fn is_binding(entry: &Entry, named: BindingPlace) -> bool {
    let (epoch, generation) = (named.epoch, named.generation);
    matches!(entry, Entry::Binding(by, binding) if *by == generation && binding.epoch == epoch)
}

fn say(offset: i64, entry: &Entry) -> String {
    match entry {
        Entry::Marker(by) => format!("a marker of generation {by} at offset {offset}"),
        Entry::Binding(by, binding) => {
            let epoch = binding.epoch;
            format!("the binding of epoch {epoch} by generation {by} at offset {offset}")
        }
        Entry::Ruling(by, ruling) => {
            let epoch = ruling.epoch;
            format!("a ruling upon epoch {epoch} by generation {by} at offset {offset}")
        }
    }
}
