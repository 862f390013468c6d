//! What librdkafka tells a producer's client.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tideflow_core::kafka::ClientLog;

/// The client's log, and the first record that could not be delivered: its topic and why. It
/// stays: a producer that has lost a record has nothing more to promise.
pub(super) struct Deliveries {
    pub log: ClientLog,
    lost: Mutex<Option<(String, RdError)>>,
}

impl Deliveries {
    pub fn new(log: ClientLog) -> Self {
        Deliveries { log, lost: Mutex::new(None) }
    }

    pub fn lost(&self) -> Option<(String, RdError)> {
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
