//! A producer that takes whole batches of borrowed records.
//!
//! The one file with `unsafe` in this crate. rdkafka's own `send` costs a C string and a list of
//! arguments a record; here a batch goes to librdkafka in one call, which copies the bytes.

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as native;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tideflow_core::ErrorKind;
use tideflow_core::kafka::{ClientLog, KafkaConfig, KafkaError, Role};

use super::deliveries::Deliveries;
use super::record::{Record, arguments, message};

/// How long a record may wait for company: a flush ends the wait.
const LINGER_MS: u32 = 5;
/// Kilobytes waiting to be sent at most; beyond it the publisher waits.
const QUEUE_KB_MAX: u32 = 262_144;
/// Records handed to librdkafka in one call.
const BATCH: usize = 1024;
/// `RD_KAFKA_PARTITION_UA`: each record says its own.
const UNASSIGNED: i32 = -1;
/// A flush in slices: librdkafka's own would not notice that this producer was fenced.
const SLICE_MS: i32 = 50;

/// An idempotent producer: what it takes is in the topic once and in order, or it says so.
///
/// A broker that is away is waited for without end.
pub struct RawProducer {
    producer: BaseProducer<Deliveries>,
    brokers: String,
}

/// A topic to produce to, known to librdkafka.
pub struct TopicHandle {
    name: String,
    topic: *mut native::rd_kafka_topic_t,
    // Keeps the client alive for as long as its topic.
    _producer: std::sync::Arc<RawProducer>,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for TopicHandle {}
// SAFETY: as above; nothing of the handle changes on our side.
unsafe impl Sync for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle was made by `rd_kafka_topic_new` and is given back once.
        unsafe { native::rd_kafka_topic_destroy(self.topic) };
    }
}

impl RawProducer {
    /// A producer. Does not wait for a broker.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        let role = Role::Producer { linger_ms: LINGER_MS, queue_kb_max: QUEUE_KB_MAX };
        Self::with(kafka.client(role)?, &kafka.brokers)
    }

    /// A producer that writes in transactions, once its id is initialised.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn transactional(
        kafka: &KafkaConfig,
        id: &str,
        timeout_ms: u32,
    ) -> Result<Self, KafkaError> {
        let (linger_ms, queue_kb_max) = (LINGER_MS, QUEUE_KB_MAX);
        let role = Role::Transactional { id, timeout_ms, linger_ms, queue_kb_max };
        Self::with(kafka.client(role)?, &kafka.brokers)
    }

    /// What the transactions are made of.
    pub(super) fn base(&self) -> &BaseProducer<Deliveries> {
        &self.producer
    }

    pub(super) fn with(client: ClientConfig, brokers: &str) -> Result<Self, KafkaError> {
        let deliveries = Deliveries::new(ClientLog::new("producer"));
        let producer = client
            .create_with_context(deliveries)
            .map_err(|error| KafkaError::client("making a producer", &error))?;
        Ok(RawProducer { producer, brokers: brokers.to_owned() })
    }

    /// A handle of the topic. Asks no broker.
    ///
    /// # Errors
    /// When no topic can have this name.
    pub fn topic(self: &std::sync::Arc<Self>, name: &str) -> Result<TopicHandle, KafkaError> {
        let doing = || format!("writing topic `{name}`");
        let text = CString::new(name).map_err(|e| KafkaError::client(doing(), &e.into()))?;
        let client = self.producer.client().native_ptr();
        // SAFETY: client and name are alive; no configuration means the client's own.
        let topic = unsafe { native::rd_kafka_topic_new(client, text.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            let reason = "librdkafka does not take the name".to_string();
            return Err(KafkaError::Client { doing: doing(), reason, kind: ErrorKind::Invalid });
        }
        Ok(TopicHandle { name: name.to_string(), topic, _producer: self.clone() })
    }

    /// Takes the records, in order for each partition; their bytes are copied. Waits while librdkafka's queue is full,
    /// until `give_up` says so.
    ///
    /// # Errors
    /// When a record cannot be taken, ever.
    pub fn produce_batch<'a>(
        &self,
        topic: &TopicHandle,
        records: impl Iterator<Item = Record<'a>>,
        give_up: impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        let mut batch = Vec::with_capacity(BATCH);
        for record in records {
            batch.push(message(&record));
            if batch.len() == BATCH {
                self.send(topic, &mut batch, &give_up)?;
            }
        }
        self.send(topic, &mut batch, &give_up)
    }

    fn send(
        &self,
        topic: &TopicHandle,
        batch: &mut Vec<native::rd_kafka_message_t>,
        give_up: &impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        use native::rd_kafka_resp_err_t::{
            RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR_NO_ERROR,
        };
        let flags = native::RD_KAFKA_MSG_F_COPY | native::RD_KAFKA_MSG_F_PARTITION;
        // librdkafka looks up the partition whenever it changes; a stable sort keeps each one's order.
        batch.sort_by_key(|message| message.partition);
        let mut from = 0;
        while from < batch.len() {
            let rest = &mut batch[from..];
            let count = rest.len() as i32;
            // SAFETY: topic and messages are alive; what the messages point to is borrowed by our
            // caller and copied by this call.
            let taken = unsafe {
                native::rd_kafka_produce_batch(
                    topic.topic,
                    UNASSIGNED,
                    flags,
                    rest.as_mut_ptr(),
                    count,
                )
            };
            if taken == count {
                break;
            }
            // A full queue refuses all that follow, so what was taken is a prefix.
            let first = rest.iter().position(|m| m.err != RD_KAFKA_RESP_ERR_NO_ERROR);
            let first = first.expect("fewer taken than given");
            match rest[first].err {
                RD_KAFKA_RESP_ERR__QUEUE_FULL => {
                    rest[first..].iter_mut().for_each(|m| m.err = RD_KAFKA_RESP_ERR_NO_ERROR);
                    from += first;
                    self.wait_for_room()?;
                    if give_up() {
                        break;
                    }
                }
                code => {
                    return Err(
                        self.refused(topic.name(), &RdError::MessageProduction(code.into()))
                    );
                }
            }
        }
        batch.clear();
        Ok(())
    }

    /// Takes one record with a Kafka timestamp of its own, in milliseconds since 1970 (0: none); the
    /// others get the time at which they are taken. Costs more a record than [`RawProducer::produce_batch`].
    ///
    /// # Errors
    /// When the record cannot be taken, ever.
    pub fn produce_at(
        &self,
        topic: &TopicHandle,
        record: Record<'_>,
        timestamp_ms: i64,
        give_up: impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        use native::rd_kafka_resp_err_t::{
            RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR_NO_ERROR,
        };
        let client = self.producer.client().native_ptr();
        let arguments = arguments(topic.topic, &record, timestamp_ms);
        loop {
            // SAFETY: client, topic and arguments are alive; what the arguments point to is
            // borrowed by our caller and copied by this call. The error is ours; null has no code
            // and nothing to destroy.
            let code = unsafe {
                let error = native::rd_kafka_produceva(client, arguments.as_ptr(), arguments.len());
                let code = native::rd_kafka_error_code(error);
                native::rd_kafka_error_destroy(error);
                code
            };
            match code {
                RD_KAFKA_RESP_ERR_NO_ERROR => return Ok(()),
                RD_KAFKA_RESP_ERR__QUEUE_FULL => self.wait_for_room()?,
                code => {
                    let error = RdError::MessageProduction(code.into());
                    return Err(self.refused(topic.name(), &error));
                }
            }
            if give_up() {
                return Ok(());
            }
        }
    }

    /// Takes one record with headers; for the rare ones that have some.
    ///
    /// # Errors
    /// When the record cannot be taken, ever.
    pub fn produce_with_headers(
        &self,
        topic: &TopicHandle,
        record: Record<'_>,
        headers: &[(String, Option<Vec<u8>>)],
        give_up: impl Fn() -> bool,
    ) -> Result<(), KafkaError> {
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (key, value) in headers {
            owned = owned.insert(Header { key, value: value.as_ref() });
        }
        let mut next =
            BaseRecord::<[u8], [u8]>::to(topic.name()).partition(record.partition).headers(owned);
        next.key = record.key;
        next.payload = record.value;
        while let Err((error, back)) = self.producer.send(next) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(self.refused(topic.name(), &error));
            }
            self.wait_for_room()?;
            if give_up() {
                break;
            }
            next = back;
        }
        Ok(())
    }

    /// Waits until all that was taken is in its topic, or `give_up` says so.
    ///
    /// # Errors
    /// When a record could not be delivered and never will be, or the producer was fenced.
    pub fn flush(&self, give_up: impl Fn() -> bool) -> Result<(), KafkaError> {
        while !self.flush_slice()? && !give_up() {}
        Ok(())
    }

    /// Waits for one slice: whether all that was taken is in its topic.
    ///
    /// # Errors
    /// Those of [`RawProducer::flush`].
    pub(super) fn flush_slice(&self) -> Result<bool, KafkaError> {
        // SAFETY: the client is alive.
        let left = unsafe { native::rd_kafka_flush(self.producer.client().native_ptr(), SLICE_MS) };
        self.producer.poll(Duration::ZERO);
        self.failed()?;
        Ok(left == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
    }

    /// What keeps this producer from ever delivering all it took, if anything does.
    fn failed(&self) -> Result<(), KafkaError> {
        let deliveries = self.producer.context();
        if let Some((topic, error)) = deliveries.lost() {
            return Err(self.refused(&topic, &error));
        }
        // librdkafka would try the same login for ever.
        if let Some(reason) = deliveries.log.refused_login() {
            return Err(KafkaError::Authentication { brokers: self.brokers.clone(), reason });
        }
        match self.producer.client().fatal_error() {
            None => Ok(()),
            Some((code, reason)) => Err(KafkaError::Client {
                doing: "producing".to_string(),
                reason: format!("{reason} ({code})"),
                kind: ErrorKind::Fatal,
            }),
        }
    }

    /// Gives librdkafka time to send something, so that its queue has room.
    fn wait_for_room(&self) -> Result<(), KafkaError> {
        self.producer.poll(Duration::from_millis(10));
        self.failed()
    }

    fn refused(&self, topic: &str, error: &RdError) -> KafkaError {
        let (topic, brokers) = (topic.to_string(), self.brokers.clone());
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition,
            ) => KafkaError::TopicMissing { topic, brokers },
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                KafkaError::Authorization { topic, reason: error.to_string() }
            }
            _ => KafkaError::client(format!("producing to `{topic}`"), error),
        }
    }
}

impl TopicHandle {
    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
#[path = "producer_tests.rs"]
mod tests;
