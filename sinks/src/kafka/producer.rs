//! A producer that takes whole batches of borrowed records.
//!
//! The one file with `unsafe` in this crate. rdkafka's own `send` costs a C string and a list of
//! arguments a record; here a batch goes to librdkafka in one call, which copies the bytes.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use tideflow_core::ErrorKind;
use tideflow_core::kafka::{ClientLog, KafkaConfig, KafkaError, Role};

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

/// A record to produce.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The partition it goes to.
    pub partition: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
}

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

/// The client's log, and the first record that could not be delivered: its topic and why. It
/// stays: a producer that has lost a record has nothing more to promise.
struct Deliveries {
    log: ClientLog,
    lost: Mutex<Option<(String, RdError)>>,
}

impl Deliveries {
    fn lost(&self) -> Option<(String, RdError)> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, topic: &str, line: &str) {
        self.log.log(level, topic, line);
    }

    fn error(&self, error: RdError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.get_or_insert_with(|| (record.topic().to_owned(), error.clone()));
        }
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

    fn with(client: ClientConfig, brokers: &str) -> Result<Self, KafkaError> {
        let deliveries = Deliveries { log: ClientLog::new("producer"), lost: Mutex::new(None) };
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
        let arguments = arguments(topic, &record, timestamp_ms);
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
        let client = self.producer.client().native_ptr();
        loop {
            // SAFETY: the client is alive.
            let left = unsafe { native::rd_kafka_flush(client, SLICE_MS) };
            self.producer.poll(Duration::ZERO);
            self.failed()?;
            let done = left == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            if done || give_up() {
                return Ok(());
            }
        }
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

fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |b| (b.as_ptr().cast_mut().cast(), b.len()))
}

fn message(record: &Record<'_>) -> native::rd_kafka_message_t {
    let ((key, key_len), (payload, len)) = (parts(record.key), parts(record.value));
    native::rd_kafka_message_t {
        err: native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: record.partition,
        payload,
        len,
        key,
        key_len,
        offset: 0,
        _private: ptr::null_mut(),
    }
}

/// The record as a list of arguments, which unlike a message has a place for the time.
fn arguments(
    topic: &TopicHandle,
    record: &Record<'_>,
    timestamp_ms: i64,
) -> [native::rd_kafka_vu_t; 6] {
    use native::rd_kafka_vtype_t::{
        RD_KAFKA_VTYPE_KEY, RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_VTYPE_PARTITION, RD_KAFKA_VTYPE_RKT,
        RD_KAFKA_VTYPE_TIMESTAMP, RD_KAFKA_VTYPE_VALUE,
    };
    use native::{rd_kafka_vu_s__bindgen_ty_1 as Value, rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1};
    let mem = |bytes| {
        let (ptr, size) = parts(bytes);
        Value { mem: rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size } }
    };
    [
        (RD_KAFKA_VTYPE_RKT, Value { rkt: topic.topic }),
        (RD_KAFKA_VTYPE_PARTITION, Value { i32_: record.partition }),
        (RD_KAFKA_VTYPE_MSGFLAGS, Value { i: native::RD_KAFKA_MSG_F_COPY }),
        (RD_KAFKA_VTYPE_KEY, mem(record.key)),
        (RD_KAFKA_VTYPE_VALUE, mem(record.value)),
        (RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: timestamp_ms }),
    ]
    .map(|(vtype, u)| native::rd_kafka_vu_t { vtype, u })
}

#[cfg(test)]
#[path = "producer_tests.rs"]
mod tests;
