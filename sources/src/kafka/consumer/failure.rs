//! Which of librdkafka's errors end reading. The others it mends itself: they are only logged.

use std::sync::atomic::Ordering;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use tideflow_core::ErrorKind;
use tideflow_core::kafka::KafkaError;

use super::BatchConsumer;

impl BatchConsumer {
    /// Whether a connection to a broker was lost since this was asked last. The end of a partition
    /// may have moved unseen since: [`BatchConsumer::ask_for_ends`].
    pub fn lost_connection(&mut self) -> bool {
        std::mem::take(self.lost.get_mut())
    }

    /// The error of one partition, or `None` where reading goes on.
    pub(super) fn failure(
        &self,
        code: RDKafkaErrorCode,
        partition: i32,
        offset: i64,
        reason: String,
    ) -> Option<KafkaError> {
        use RDKafkaErrorCode as Code;
        let topic = self.topic.clone();
        Some(match code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                KafkaError::OffsetOutOfRange { topic, partition, offset }
            }
            Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => {
                KafkaError::TopicMissing { topic, brokers: self.brokers.clone() }
            }
            Code::TopicAuthorizationFailed => KafkaError::Authorization { topic, reason },
            // librdkafka would go on behind the records it cannot read.
            Code::BadMessage
            | Code::BadCompression
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::MessageSizeTooLarge
            | Code::NotImplemented => KafkaError::Unreadable { topic, partition, offset, reason },
            Code::Fatal => self.fatal(reason),
            _ => {
                self.consumer.context().log(RDKafkaLogLevel::Warning, "CONSUME", &reason);
                return None;
            }
        })
    }

    /// The error of the client as a whole, or `None` where reading goes on.
    pub(super) fn client_failure(
        &self,
        code: RDKafkaErrorCode,
        reason: String,
        fatal: bool,
    ) -> Option<KafkaError> {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
        if matches!(code, AllBrokersDown | BrokerTransportFailure | OperationTimedOut) {
            self.lost.store(true, Ordering::Relaxed);
        }
        let log = self.consumer.context();
        log.note(code, &reason);
        if let Some(reason) = log.refused_login() {
            return Some(KafkaError::Authentication { brokers: self.brokers.clone(), reason });
        }
        fatal.then(|| self.fatal(reason))
    }

    fn fatal(&self, reason: String) -> KafkaError {
        let doing = format!("reading topic `{}`", self.topic);
        KafkaError::Client { doing, reason, kind: ErrorKind::Fatal }
    }
}

/// librdkafka's level of a line, from syslog's numbers.
pub(super) fn level_of(syslog: i32) -> RDKafkaLogLevel {
    match syslog {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}
