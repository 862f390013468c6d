//! What librdkafka says beside records: log lines, errors, answers to commits.

use std::ptr;

use rdkafka::bindings as native;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use tideflow_core::kafka::KafkaError;

use super::{BatchConsumer, Polled, failure, text};

impl BatchConsumer {
    /// Takes in what librdkafka has said since the last poll; its errors stay in the client's log.
    pub(super) fn hear(&self) {
        self.poll_events(self.events, &mut |_| {});
    }

    pub(super) fn poll_events(
        &self,
        queue: *mut native::rd_kafka_queue_t,
        f: &mut impl FnMut(Polled<'_>),
    ) {
        loop {
            // SAFETY: the queue is one of ours, both are alive; a null event ends the loop.
            let event = Event(unsafe { native::rd_kafka_queue_poll(queue, 0) });
            if event.0.is_null() {
                return;
            }
            // SAFETY: the event is alive until the end of this turn.
            match unsafe { native::rd_kafka_event_type(event.0) } {
                native::RD_KAFKA_EVENT_LOG => self.log_event(&event),
                native::RD_KAFKA_EVENT_ERROR => {
                    if let Some(error) = self.error_event(&event) {
                        f(Polled::Error { partition: None, error });
                    }
                }
                native::RD_KAFKA_EVENT_OFFSET_COMMIT => self.commit_event(&event),
                _ => {}
            }
        }
    }

    fn log_event(&self, event: &Event) {
        let (mut topic, mut line, mut level) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the event is alive and a log event.
        let found =
            unsafe { native::rd_kafka_event_log(event.0, &mut topic, &mut line, &mut level) };
        if found == 0 {
            // SAFETY: both texts end in 0 and live as long as the event.
            let (topic, line) = unsafe { (text(topic), text(line)) };
            self.consumer.context().log(failure::level_of(level), topic.trim(), line.trim());
        }
    }

    /// Commits are for lag tools only: one that fails, for want of a right perhaps, is logged.
    fn commit_event(&self, event: &Event) {
        // SAFETY: the event is alive and an offset-commit event.
        let code = RDKafkaErrorCode::from(unsafe { native::rd_kafka_event_error(event.0) });
        if code != RDKafkaErrorCode::NoError {
            let (log, line) = (self.consumer.context(), format!("for lag tools: {code}"));
            log.log(RDKafkaLogLevel::Warning, "COMMIT", &line);
        }
    }

    fn error_event(&self, event: &Event) -> Option<KafkaError> {
        // SAFETY: the event is alive and an error event; its text ends in 0 and lives as long.
        let (code, reason, fatal) = unsafe {
            (
                RDKafkaErrorCode::from(native::rd_kafka_event_error(event.0)),
                text(native::rd_kafka_event_error_string(event.0)),
                native::rd_kafka_event_error_is_fatal(event.0) != 0,
            )
        };
        self.client_failure(code, reason, fatal)
    }
}

struct Event(*mut native::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: an event taken from the queue is ours; destroying null does nothing.
        unsafe { native::rd_kafka_event_destroy(self.0) }
    }
}
