//! A consumer that hands over borrowed messages in batches and never waits.
//!
//! The `unsafe` of this crate is here and in `consumer/events.rs`. rdkafka's own `poll` costs an
//! event and an `Arc` a message; here a batch is taken from librdkafka's queue with one call, each
//! message is lent to the caller, and destroyed after.

use std::ffi::{CStr, CString, c_void};
use std::os::raw::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{ptr, slice};

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use tideflow_core::kafka::{ClientLog, KafkaConfig, KafkaError, Role};

mod events;
mod failure;
mod offsets;

pub use offsets::StartOffset;

/// What [`BatchConsumer::poll`] hands over.
pub enum Polled<'a> {
    /// A record.
    Message(MessageRef<'a>),
    /// The reader has reached the partition's end; sent once each time it does.
    Eof {
        /// The partition.
        partition: i32,
        /// The offset that the next record will have at least. Ahead of the last record's by the
        /// markers of transactions.
        offset: i64,
    },
    /// Reading cannot go on, for one partition or (`None`) for all.
    Error {
        /// The partition concerned.
        partition: Option<i32>,
        /// What is wrong and, by its kind, what to do about it.
        error: KafkaError,
    },
}

/// A record lent for the time of one call.
pub struct MessageRef<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp in milliseconds since 1970, where it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none in a tombstone.
    pub payload: Option<&'a [u8]>,
    raw: &'a native::rd_kafka_message_t,
}

impl MessageRef<'_> {
    /// Its headers, copied; read from the record only by this call.
    pub fn headers(&self) -> Vec<(String, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive, and owns the headers that it gives out.
        let found = unsafe { native::rd_kafka_message_headers(self.raw, &mut headers) };
        if found != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return all;
        }
        loop {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers are alive; an index past the end gives an error.
            let found = unsafe {
                native::rd_kafka_header_get_all(
                    headers,
                    all.len(),
                    &mut name,
                    &mut value,
                    &mut size,
                )
            };
            if found != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return all;
            }
            // SAFETY: a found header has a name that ends in 0 and a value of this size or null.
            let (name, value) = unsafe { (text(name), bytes(value, size)) };
            all.push((name, value.map(<[u8]>::to_vec)));
        }
    }
}

/// Reads assigned partitions of one topic.
///
/// It never joins a group, commits nothing by itself and never resets an offset. A lost broker is
/// only logged: librdkafka connects again and the records go on where they stopped. So is a topic
/// deleted while it is read: ask [`KafkaConfig::partitions`] now and then.
pub struct BatchConsumer {
    topic: String,
    topic_native: CString,
    brokers: String,
    timeout: Duration,
    /// Records, ends of partitions and errors of partitions.
    messages: *mut native::rd_kafka_queue_t,
    /// Log lines and errors of the client. By default they share the queue above, where a batch
    /// call would drop their codes.
    events: *mut native::rd_kafka_queue_t,
    /// Kept from call to call; between calls nothing in it is alive.
    batch: Vec<*mut native::rd_kafka_message_t>,
    // Before `wake`, and both after the queues' end in `drop`: the callbacks point to `wake`.
    consumer: BaseConsumer<ClientLog>,
    wake: Box<Wake>,
    /// A connection was lost since [`BatchConsumer::lost_connection`] was asked last.
    lost: AtomicBool,
}

struct Wake {
    /// The event queue may hold something.
    events: AtomicBool,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Wake {
    fn ring(&self) {
        if let Some(wake) = &self.wake {
            wake();
        }
    }
}

// SAFETY: librdkafka's clients and queues may be used from any thread; `batch` is empty between
// calls.
unsafe impl Send for BatchConsumer {}

impl BatchConsumer {
    /// A consumer of `topic` without partitions yet. Does not wait for a broker.
    ///
    /// `group` is only the name that lag tools know us by; `queue_kb_max` bounds what is fetched
    /// ahead, in kilobytes.
    pub fn new(
        config: &KafkaConfig,
        topic: &str,
        group: &str,
        queue_kb_max: u32,
    ) -> Result<Self, KafkaError> {
        let making = |error| KafkaError::client(format!("reading topic `{topic}`"), &error);
        let topic_native = CString::new(topic).map_err(|error| making(error.into()))?;
        let consumer: BaseConsumer<ClientLog> = config
            .client(Role::Consumer { group, queue_kb_max })?
            .create_with_context(ClientLog::new(format!("consumer of {topic}")))
            .map_err(making)?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, and a client with a group has both queues; `drop` gives
        // them back before the client goes. Forwarding to null ends the forwarding.
        let (messages, events) = unsafe {
            let events = native::rd_kafka_queue_get_main(client);
            native::rd_kafka_queue_forward(events, ptr::null_mut());
            (native::rd_kafka_queue_get_consumer(client), events)
        };
        let mut made = BatchConsumer {
            topic: topic.to_owned(),
            topic_native,
            brokers: config.brokers.clone(),
            timeout: config.connect_timeout(),
            messages,
            events,
            batch: Vec::new(),
            consumer,
            wake: Box::new(Wake { events: AtomicBool::new(true), wake: None }),
            lost: AtomicBool::new(false),
        };
        made.listen(None);
        // What was said before the queues were parted lies in the wrong one.
        made.poll_events(made.messages, &mut |_| {});
        Ok(made)
    }

    /// Calls `wake` when something has arrived after [`BatchConsumer::poll`] found nothing more,
    /// and once at once. From librdkafka's threads: it must be short and must not call back.
    pub fn set_wake(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        self.listen(Some(wake));
        self.wake.ring();
    }

    fn listen(&mut self, wake: Option<Box<dyn Fn() + Send + Sync>>) {
        let wake = Box::new(Wake { events: AtomicBool::new(true), wake });
        let opaque = ptr::from_ref::<Wake>(&wake).cast_mut().cast::<c_void>();
        // SAFETY: both queues are alive. `wake` stays where it is until the next call here, or
        // until `drop` has taken the callbacks away. librdkafka swaps callbacks and runs them
        // under the queue's lock, so the old `wake` is in nobody's hands after these calls.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.messages, Some(on_message), opaque);
            native::rd_kafka_queue_cb_event_enable(self.events, Some(on_event), opaque);
        }
        self.wake = wake;
    }

    /// Hands everything that has arrived to `f`, at most `max` items, in the order of each
    /// partition. Never waits.
    ///
    /// Returns how many items were taken. Fewer than `max`: nothing more was there, and the wake
    /// callback comes with the next. `max`: poll again, no callback will come for the rest.
    pub fn poll<F: FnMut(Polled<'_>)>(&mut self, max: usize, mut f: F) -> usize {
        if self.wake.events.swap(false, Ordering::AcqRel) {
            self.poll_events(self.events, &mut f);
        }
        if self.batch.len() < max {
            self.batch.resize(max, ptr::null_mut());
        }
        // SAFETY: the queue is alive and `batch` has room for `max` pointers.
        let taken = unsafe {
            native::rd_kafka_consume_batch_queue(self.messages, 0, self.batch.as_mut_ptr(), max)
        };
        // Less than zero is an error of the call's own arguments, which are right.
        let taken = usize::try_from(taken).unwrap_or(0);
        let mut left = Batch(self.batch[..taken].iter());
        for message in left.0.by_ref() {
            let message = Message(*message);
            // SAFETY: librdkafka filled this slot with a message that is ours until destroyed, and
            // `message` destroys it after `f` has given it back.
            let raw = unsafe { &*message.0 };
            if raw.err == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                // SAFETY: key and value lie in the message, of these sizes or null.
                f(Polled::Message(unsafe { borrowed(raw) }));
            } else if let Some(other) = self.not_a_record(raw) {
                f(other);
            }
        }
        taken
    }

    fn not_a_record(&self, raw: &native::rd_kafka_message_t) -> Option<Polled<'static>> {
        let (partition, offset) = (raw.partition, raw.offset);
        let code = RDKafkaErrorCode::from(raw.err);
        if code == RDKafkaErrorCode::PartitionEOF {
            return Some(Polled::Eof { partition, offset });
        }
        // SAFETY: the message is alive; its text ends in 0 and lives as long.
        let reason = unsafe { text(native::rd_kafka_message_errstr(raw)) };
        let error = self.failure(code, partition, offset, reason)?;
        Some(Polled::Error { partition: (partition >= 0).then_some(partition), error })
    }

    /// The offset behind the partition's newest record, as of the last fetch; `None` before the
    /// first. Asks no broker. Open transactions and their markers count.
    pub fn high_watermark(&self, partition: i32) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        let client = self.consumer.client().native_ptr();
        let topic = self.topic_native.as_ptr();
        // SAFETY: client and name are alive; a partition that is not there gives an error.
        let found = unsafe {
            native::rd_kafka_get_watermark_offsets(client, topic, partition, &mut low, &mut high)
        };
        let known = found == native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        (known && high >= 0).then_some(high)
    }
}

impl Drop for BatchConsumer {
    fn drop(&mut self) {
        // SAFETY: both queues are alive, not used again, and given back before their client goes.
        unsafe {
            // As librdkafka had it: what is left in the message queue holds partitions, they hold
            // a broker's thread, and only through this forwarding does the client's end empty
            // that queue. Without it, it waits for ever.
            native::rd_kafka_queue_forward(self.events, self.messages);
            for queue in [self.messages, self.events] {
                native::rd_kafka_queue_cb_event_enable(queue, None, ptr::null_mut());
                native::rd_kafka_queue_destroy(queue);
            }
        }
    }
}

/// A taken message, destroyed when it is dropped.
struct Message(*mut native::rd_kafka_message_t);

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: a message taken from the queue is ours, and destroyed only here.
        unsafe { native::rd_kafka_message_destroy(self.0) }
    }
}

/// The rest of a batch, destroyed too when the caller panics halfway.
struct Batch<'a>(slice::Iter<'a, *mut native::rd_kafka_message_t>);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.0.by_ref().for_each(|message| drop(Message(*message)));
    }
}

/// # Safety
/// Key and value of `raw` must be as librdkafka set them, and its error none.
unsafe fn borrowed(raw: &native::rd_kafka_message_t) -> MessageRef<'_> {
    let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is alive; the bytes are the message's own, as the caller promises.
    let (timestamp, key, payload) = unsafe {
        (
            native::rd_kafka_message_timestamp(raw, &mut kind),
            bytes(raw.key, raw.key_len),
            bytes(raw.payload, raw.len),
        )
    };
    let timestamp_ms = (timestamp >= 0).then_some(timestamp);
    MessageRef { partition: raw.partition, offset: raw.offset, timestamp_ms, key, payload, raw }
}

/// # Safety
/// `start` is null or the start of `size` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), size) })
}

/// # Safety
/// `start` is null or a text that ends in 0.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}

unsafe extern "C" fn on_message(_: *mut native::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: `listen` gave a `Wake` that outlives the callback.
    unsafe { &*wake.cast::<Wake>() }.ring();
}

unsafe extern "C" fn on_event(_: *mut native::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: `listen` gave a `Wake` that outlives the callback.
    let wake = unsafe { &*wake.cast::<Wake>() };
    wake.events.store(true, Ordering::Release);
    wake.ring();
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
