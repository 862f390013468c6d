//! A topic of dead letters: to be looked at, and sent back to where they came from.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use tideflow_core::kafka::{ClientLog, KafkaConfig, KafkaError, Role};
use tideflow_core::{BuildError, DeadLetters, RejectsRequest};

use super::producer::RawProducer;
use super::shard::TRANSACTION_TIMEOUT_MS;

/// Kilobytes fetched ahead.
const QUEUE_KB_MAX: u32 = 16_384;
/// Letters in one transaction.
const LETTERS_MAX: usize = 500;
/// One wait for a letter.
const SLICE: Duration = Duration::from_millis(100);

/// A topic that [`KafkaSink::dead_letters`](super::KafkaSink::dead_letters) writes.
#[derive(Clone, Debug)]
pub(super) struct DeadLetterTopic {
    kafka: KafkaConfig,
    topic: String,
}

/// A dead letter's reason and origin, out of its headers.
#[derive(Default)]
struct Told {
    error: String,
    detail: String,
    operator: String,
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    /// Its own headers come before this one.
    own: usize,
    cut: bool,
}

impl Told {
    /// Ours are behind those that the record had: of each name the last counts.
    fn of(letter: &BorrowedMessage<'_>) -> Told {
        let mut told = Told::default();
        for (place, header) in letter.headers().into_iter().flat_map(Headers::iter).enumerate() {
            let text = || String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
            match header.key {
                // The first of ours.
                "error" => {
                    told = Told { error: text(), own: place, cut: told.cut, ..Told::default() }
                }
                "detail" => told.detail = text(),
                "operator" => told.operator = text(),
                "topic" => told.topic = Some(text()),
                "partition" => told.partition = text().parse().ok(),
                "offset" => told.offset = text().parse().ok(),
                "timestamp" => told.timestamp = text().parse().ok(),
                "cut_from" => told.cut = true,
                _ => {}
            }
        }
        told
    }
}

impl DeadLetters for DeadLetterTopic {
    fn answer(&self, request: &RejectsRequest, out: &mut dyn Write) -> Result<(), BuildError> {
        let answered = match request {
            RejectsRequest::List { error, all } => self.list(error.as_deref(), *all, out),
            RejectsRequest::Replay { all } => self.replay(*all, out),
        };
        answered.map_err(|error| BuildError {
            operator: self.topic.clone(),
            kind: error.kind(),
            source: Box::new(error),
        })
    }
}

impl DeadLetterTopic {
    pub fn new(kafka: &KafkaConfig, topic: &str) -> Self {
        DeadLetterTopic { kafka: kafka.clone(), topic: topic.to_string() }
    }

    /// Of the group whose offsets say what was sent back, and of the transactions that do it.
    fn replayer(&self) -> String {
        format!("{}.replay", self.topic)
    }

    fn failed(&self, doing: &str, error: &RdError) -> KafkaError {
        KafkaError::client(format!("{doing} dead letters of topic `{}`", self.topic), error)
    }

    fn list(&self, error: Option<&str>, all: bool, out: &mut dyn Write) -> Result<(), KafkaError> {
        self.reader()?.each(all, |letter| {
            let told = Told::of(letter);
            if error.is_some_and(|wanted| wanted != told.error) {
                return Ok(());
            }
            let text =
                |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8_lossy(b).into_owned());
            let line = json!({
                "error": told.error,
                "detail": told.detail,
                "operator": told.operator,
                "topic": told.topic,
                "partition": told.partition,
                "offset": told.offset,
                "timestamp": told.timestamp,
                "cut": told.cut,
                "key": text(letter.key()),
                "value": text(letter.payload()),
            });
            writeln!(out, "{line}").map_err(|error| answer(&error))
        })
    }

    /// Sends letters back to the partitions that they came from, with the key, value, headers and timestamp
    /// that they had. A letter and the note that it was sent are one transaction.
    fn replay(&self, all: bool, out: &mut dyn Write) -> Result<(), KafkaError> {
        let id = self.replayer();
        let producer = RawProducer::transactional(&self.kafka, &id, TRANSACTION_TIMEOUT_MS)?;
        let base = producer.base();
        self.kafka.reachable()?;
        base.init_transactions(self.kafka.connect_timeout())
            .map_err(|error| self.failed("taking over the replay of", &error))?;
        // Whoever was at it before has been fenced: what is noted now stays.
        let reader = self.reader()?;
        let group = reader.consumer.group_metadata();
        let group = group.expect("a consumer with a group has its metadata");
        let (mut sent, mut left, mut open) = (0_u64, 0_u64, TopicPartitionList::new());
        let (mut in_open, mut begun) = (0, false);
        let read = reader.each(all, |letter| {
            if !begun {
                base.begin_transaction().map_err(|error| self.failed("sending back", &error))?;
                begun = true;
            }
            match self.send_back(&producer, letter)? {
                true => sent += 1,
                false => left += 1,
            }
            note(&mut open, letter).map_err(|error| self.failed("noting", &error))?;
            in_open += 1;
            if in_open == LETTERS_MAX {
                self.commit(&producer, &open, &group)?;
                (open, in_open, begun) = (TopicPartitionList::new(), 0, false);
            }
            Ok(())
        });
        if let Err(error) = read {
            // Readers of these topics would wait for the end of what is open.
            if begun && let Err(left) = base.abort_transaction(self.kafka.connect_timeout()) {
                tracing::debug!(%left, "what was open is left to its timeout");
            }
            return Err(error);
        }
        if begun {
            self.commit(&producer, &open, &group)?;
        }
        writeln!(out, "{sent} dead letters sent back, {left} left: cut, or without an origin")
            .map_err(|error| answer(&error))
    }

    /// Whether it could be: it must be whole, and come from a topic.
    fn send_back(
        &self,
        producer: &RawProducer,
        letter: &BorrowedMessage<'_>,
    ) -> Result<bool, KafkaError> {
        let told = Told::of(letter);
        let (Some(topic), Some(partition), false) = (&told.topic, told.partition, told.cut) else {
            return Ok(false);
        };
        let own = letter.headers().into_iter().flat_map(Headers::iter).take(told.own);
        let own = own.fold(OwnedHeaders::new(), |headers, Header { key, value }| {
            headers.insert(Header { key, value })
        });
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).headers(own);
        (record.key, record.payload, record.timestamp) =
            (letter.key(), letter.payload(), told.timestamp);
        loop {
            match producer.base().send(record) {
                Ok(()) => return Ok(true),
                Err((RdError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    producer.base().poll(SLICE);
                    record = again;
                }
                Err((error, _)) => return Err(self.failed("sending back", &error)),
            }
        }
    }

    fn commit(
        &self,
        producer: &RawProducer,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), KafkaError> {
        let within = Duration::from_millis(u64::from(TRANSACTION_TIMEOUT_MS));
        let base = producer.base();
        base.send_offsets_to_transaction(offsets, group, within)
            .and_then(|()| base.commit_transaction(within))
            .map_err(|error| self.failed("sending back", &error))
    }

    fn reader(&self) -> Result<Reader<'_>, KafkaError> {
        let partitions = self.kafka.partitions(&self.topic)? as i32;
        let group = self.replayer();
        let role = Role::Consumer { group: &group, queue_kb_max: QUEUE_KB_MAX };
        let consumer = self
            .kafka
            .client(role)?
            .create_with_context(ClientLog::new("dead letters"))
            .map_err(|error| self.failed("reading", &error))?;
        Ok(Reader { of: self, consumer, partitions })
    }
}

/// The letters up to the end of each partition.
struct Reader<'a> {
    of: &'a DeadLetterTopic,
    consumer: BaseConsumer<ClientLog>,
    partitions: i32,
}

impl Reader<'_> {
    /// Calls with each letter that was not sent back yet, or with all.
    fn each(
        &self,
        all: bool,
        mut act: impl FnMut(&BorrowedMessage<'_>) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaError> {
        let failed = |error: &RdError| self.of.failed("reading", error);
        self.consumer.assign(&self.starts(all)?).map_err(|error| failed(&error))?;
        let (mut ended, patience) =
            (vec![false; self.partitions as usize], self.of.kafka.connect_timeout());
        let mut since = Instant::now();
        while !ended.iter().all(|ended| *ended) {
            match self.consumer.poll(SLICE) {
                Some(Ok(letter)) => {
                    if !ended[letter.partition() as usize] {
                        act(&letter)?;
                    }
                    since = Instant::now();
                }
                Some(Err(RdError::PartitionEOF(partition))) => ended[partition as usize] = true,
                Some(Err(error)) if since.elapsed() > patience => return Err(failed(&error)),
                _ if since.elapsed() > patience => {
                    let last = self.consumer.context().last_error();
                    return Err(KafkaError::Unreachable {
                        brokers: self.of.kafka.brokers.clone(),
                        after_ms: self.of.kafka.connect_timeout_ms,
                        last: last.unwrap_or_else(|| "no end of a partition".to_string()),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Behind what was sent back, or at the beginning.
    fn starts(&self, all: bool) -> Result<TopicPartitionList, KafkaError> {
        let failed = |error: &RdError| self.of.failed("reading", error);
        let (topic, within) = (self.of.topic.as_str(), self.of.kafka.connect_timeout());
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            asked.add_partition(topic, partition);
        }
        let noted = self.consumer.committed_offsets(asked, within).map_err(|e| failed(&e))?;
        let mut starts = TopicPartitionList::new();
        for element in noted.elements() {
            let partition = element.partition();
            let (low, _) = self
                .consumer
                .fetch_watermarks(topic, partition, within)
                .map_err(|error| failed(&error))?;
            let start = match element.offset() {
                Offset::Offset(next) if !all => next.max(low),
                _ => low,
            };
            starts
                .add_partition_offset(topic, partition, Offset::Offset(start))
                .map_err(|error| failed(&error))?;
        }
        Ok(starts)
    }
}

/// The letter behind this one is the next.
fn note(open: &mut TopicPartitionList, letter: &BorrowedMessage<'_>) -> Result<(), RdError> {
    let (topic, partition) = (letter.topic(), letter.partition());
    let next = Offset::Offset(letter.offset() + 1);
    match open.find_partition(topic, partition) {
        Some(mut noted) => noted.set_offset(next),
        None => open.add_partition_offset(topic, partition, next),
    }
}

fn answer(error: &io::Error) -> KafkaError {
    KafkaError::Client {
        doing: "writing the answer".to_string(),
        reason: error.to_string(),
        kind: tideflow_core::ErrorKind::Fatal,
    }
}
