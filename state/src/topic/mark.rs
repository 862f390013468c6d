//! Marking the log: behind its marker, only this generation's bindings and those of later ones count.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use tideflow_core::Binding;
use tideflow_core::kafka::{ClientLog, KafkaError, Role};

use super::bindings_topic::{BindingsTopic, PARTITION};
use crate::{Entry, Generation};

/// A generation's marker, in the log for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whose.
    pub generation: Generation,
    /// Its offset.
    pub offset: i64,
}

/// One call of the producer: it waits its time out when something has come.
const POLL: Duration = Duration::from_millis(5);

impl BindingsTopic {
    /// Marks the log for this generation, which must have fenced all before it, and waits until the
    /// marker is acknowledged.
    ///
    /// It may be in the log twice: a second one changes nothing. So the producer is a plain one, which
    /// unlike an idempotent one has no start-up of half a second.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] when it is not acknowledged in time (it may be in the log then, which
    /// is harmless), or what the brokers say against it.
    pub fn mark(&self, generation: Generation, within: Duration) -> Result<Marker, KafkaError> {
        let doing = format!("marking topic `{}` for generation {generation}", self.name);
        let offset = self.append(&Entry::Marker(generation), &doing, within)?;
        Ok(Marker { generation, offset })
    }

    /// Records a binding of another job, from whose snapshot this one goes on: its offset. As
    /// [`BindingsTopic::mark`] does.
    ///
    /// # Errors
    /// Those of [`BindingsTopic::mark`].
    pub fn begin_behind(
        &self,
        generation: Generation,
        binding: Binding,
        within: Duration,
    ) -> Result<i64, KafkaError> {
        let doing = format!("recording epoch {} in topic `{}`", binding.epoch, self.name);
        self.append(&Entry::Binding(generation, binding), &doing, within)
    }

    fn append(&self, entry: &Entry, doing: &str, within: Duration) -> Result<i64, KafkaError> {
        let after_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        // librdkafka's largest number.
        let timeout_ms = after_ms.clamp(1, i32::MAX as u64);
        let doing = || doing.to_string();
        let acked = Acked { log: ClientLog::new("marker"), result: Mutex::default() };
        let producer: BaseProducer<Acked> = self
            .kafka
            .client(Role::Signal { timeout_ms })?
            .create_with_context(acked)
            .map_err(|error| KafkaError::client(doing(), &error))?;
        let deadline = Instant::now() + within;
        let value = entry.encode();
        let record = BaseRecord::<(), [u8]>::to(&self.name).partition(PARTITION).payload(&value);
        producer.send(record).map_err(|(error, _)| KafkaError::client(doing(), &error))?;
        let context = producer.context();
        loop {
            producer.poll(POLL);
            match context.take() {
                Some(Ok(offset)) => return Ok(offset),
                Some(Err(error)) if !timed_out(&error) => {
                    return Err(self.refused(doing(), &error));
                }
                Some(Err(_)) => {}
                None if Instant::now() < deadline => {
                    self.login_taken(&context.log)?;
                    continue;
                }
                None => {}
            }
            let last = context.log.last_error().unwrap_or_else(|| "no answer".to_string());
            let brokers = self.kafka.brokers.clone();
            return Err(KafkaError::Unreachable { brokers, after_ms, last });
        }
    }

    /// librdkafka would try the same login for ever.
    pub(super) fn login_taken(&self, log: &ClientLog) -> Result<(), KafkaError> {
        let brokers = || self.kafka.brokers.clone();
        log.refused_login()
            .map_or(Ok(()), |reason| Err(KafkaError::Authentication { brokers: brokers(), reason }))
    }

    /// An error that the brokers, or librdkafka for them, gave for this topic.
    pub(super) fn refused(&self, doing: String, error: &RdError) -> KafkaError {
        use RDKafkaErrorCode as Code;
        let topic = self.name.clone();
        match error.rdkafka_error_code() {
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                KafkaError::TopicMissing { topic, brokers: self.kafka.brokers.clone() }
            }
            Some(Code::TopicAuthorizationFailed) => {
                KafkaError::Authorization { topic, reason: error.to_string() }
            }
            _ => KafkaError::client(doing, error),
        }
    }
}

fn timed_out(error: &RdError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut)
}

/// The client's log, and how its one record fared.
struct Acked {
    log: ClientLog,
    result: Mutex<Option<Result<i64, RdError>>>,
}

impl Acked {
    fn take(&self) -> Option<Result<i64, RdError>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Acked {
    fn log(&self, level: RDKafkaLogLevel, topic: &str, line: &str) {
        self.log.log(level, topic, line);
    }

    fn error(&self, error: RdError, reason: &str) {
        self.log.error(error, reason);
    }
}

impl ProducerContext for Acked {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = match result {
            Ok(record) => Ok(record.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}
