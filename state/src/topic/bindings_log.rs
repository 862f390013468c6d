//! Recording a generation's bindings in Kafka.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tideflow_core::kafka::{ClientLog, KafkaError, Role};
use tideflow_core::{
    Binding, BindingLog, BuildError, Epoch, ErrorKind, Failure, Ruling, crash_point,
};

use super::bindings_topic::{BindingsTopic, PARTITION};
use super::{BindingPlace, BindingPlaces};
use crate::{Entry, Generation, Replay};

/// Kilobytes of bindings not acknowledged yet, at most. The epochs in flight are few, so only bindings
/// of a megabyte each could reach it; then the run fails.
const QUEUE_KB_MAX: u32 = 65_536;

/// Records the bindings of one generation in the job's topic, and its rulings.
///
/// Its producer is idempotent: over lost connections and brokers that die, every binding is in the log
/// once and in order, without a gap. A broker that is away is waited for without end, while nothing
/// becomes durable. An epoch that cannot be recorded at all sets the [`Failure`], and none behind it is
/// recorded: a hole would keep every later start from going on.
///
/// Memory: what is not acknowledged, 64 MiB at most, which the epochs in flight bound long before; and
/// [`BindingPlaces`]. Dropping it gives up what is not acknowledged.
pub struct KafkaBindingLog {
    producer: ThreadedProducer<Acknowledged>,
    places: BindingPlaces,
    last: Epoch,
    rulings: u64,
}

impl KafkaBindingLog {
    /// The log of a generation whose first epoch is 1, unless it goes [`after`](Self::after) others.
    ///
    /// Asks no broker. Made a tenth of a second before the first epoch, its producer is ready for it;
    /// asked at once, it takes up to a second for the first.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(
        topic: &BindingsTopic,
        generation: Generation,
        failure: Failure,
    ) -> Result<Self, KafkaError> {
        let log = ClientLog::new("bindings");
        let (places, topic) = (BindingPlaces::default(), topic.clone());
        let making = format!("writing topic `{}`", topic.name);
        let client = topic.kafka.client(Role::Journal { queue_kb_max: QUEUE_KB_MAX })?;
        let wake = Mutex::new(None);
        let (places_of, rulings) = (places.clone(), Mutex::default());
        let context =
            Acknowledged { log, topic, generation, places: places_of, rulings, wake, failure };
        let producer = client
            .create_with_context(context)
            .map_err(|error| KafkaError::client(making, &error))?;
        Ok(KafkaBindingLog { producer, places, last: 0, rulings: 0 })
    }

    /// Goes on behind what was read: those epochs are durable already, the next one is appended next.
    #[must_use]
    pub fn after(mut self, replay: &Replay) -> Self {
        self.places.go_on_after(replay);
        self.last = self.places.durable();
        self
    }

    /// Where the bindings lie, those that it goes on after included: for manifests.
    pub fn places(&self) -> BindingPlaces {
        self.places.clone()
    }

    /// Hands an entry to the producer; whether it was taken.
    fn send(&self, what: Sent, entry: &Entry) -> bool {
        let context = self.producer.context();
        if context.failure.is_set() {
            return false;
        }
        let value = entry.encode();
        let record = BaseRecord::<(), [u8], _>::with_opaque_to(&context.topic.name, Box::new(what))
            .partition(PARTITION)
            .payload(&value);
        match self.producer.send(record) {
            // The client failed with an epoch before this one, and is about to say so by a callback.
            Err((error, _)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => false,
            Err((error, _)) => {
                context.lost(what, value.len(), &error);
                false
            }
            Ok(()) => true,
        }
    }
}

impl BindingLog for KafkaBindingLog {
    fn append(&mut self, binding: Binding) {
        let epoch = binding.epoch;
        assert_eq!(epoch, self.last + 1, "bindings must be contiguous");
        self.last = epoch;
        let entry = Entry::Binding(self.producer.context().generation, binding);
        if self.send(Sent::Binding(epoch), &entry) {
            crash_point("binding appended");
        }
    }

    fn durable(&mut self) -> Epoch {
        self.places.durable()
    }

    fn rule(&mut self, ruling: Ruling) -> u64 {
        assert!(ruling.epoch <= self.durable(), "rulings come behind their epochs");
        self.rulings += 1;
        let sent = Sent::Ruling { epoch: ruling.epoch, number: self.rulings };
        let entry = Entry::Ruling(self.producer.context().generation, ruling);
        if self.send(sent, &entry) {
            crash_point("ruling appended");
        }
        self.rulings
    }

    fn rulings_durable(&mut self) -> u64 {
        lock(&self.producer.context().rulings).through
    }

    fn wake_with(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        *lock(&self.producer.context().wake) = Some(wake);
    }
}

/// What was handed to the producer.
#[derive(Clone, Copy)]
enum Sent {
    Binding(Epoch),
    Ruling { epoch: Epoch, number: u64 },
}

/// Rulings that have been acknowledged.
#[derive(Default)]
struct RulingsDurable {
    /// All up to this number.
    through: u64,
    /// Acknowledged before an earlier one.
    ahead: BTreeSet<u64>,
}

impl RulingsDurable {
    fn acknowledge(&mut self, number: u64) {
        self.ahead.insert(number);
        while self.ahead.remove(&(self.through + 1)) {
            self.through += 1;
        }
    }
}

/// What the producer's thread does with what it hears.
struct Acknowledged {
    log: ClientLog,
    topic: BindingsTopic,
    generation: Generation,
    places: BindingPlaces,
    rulings: Mutex<RulingsDurable>,
    wake: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    failure: Failure,
}

impl Acknowledged {
    fn lost(&self, sent: Sent, bytes: usize, error: &RdError) {
        let (topic, what) = (
            &self.topic.name,
            match sent {
                Sent::Binding(epoch) => format!("epoch {epoch}"),
                Sent::Ruling { epoch, .. } => format!("a ruling upon epoch {epoch}"),
            },
        );
        let doing = format!("recording {what} ({bytes} bytes) in topic `{topic}`");
        self.fail(self.topic.refused(doing, error));
    }

    fn fail(&self, error: KafkaError) {
        let (operator, source) = ("epoch bindings".to_string(), Box::new(error));
        // It did start.
        self.failure.set(BuildError { operator, kind: ErrorKind::Fatal, source });
        self.wake();
    }

    fn wake(&self) {
        if let Some(wake) = &*lock(&self.wake) {
            wake();
        }
    }
}

impl ClientContext for Acknowledged {
    fn log(&self, level: RDKafkaLogLevel, topic: &str, line: &str) {
        self.log.log(level, topic, line);
    }

    fn error(&self, error: RdError, reason: &str) {
        let fatal = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal);
        self.log.error(error, reason);
        if fatal {
            let doing = format!("recording epochs in topic `{}`", self.topic.name);
            let (reason, kind) = (reason.to_string(), ErrorKind::Fatal);
            self.fail(KafkaError::Client { doing, reason, kind });
        } else if let Err(error) = self.topic.login_taken(&self.log) {
            self.fail(error);
        }
    }
}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        use RDKafkaErrorCode::{PurgeInflight, PurgeQueue};
        match result {
            Ok(record) => match *sent {
                Sent::Binding(epoch) => {
                    let (offset, generation) = (record.offset(), self.generation);
                    if self.places.acknowledge(BindingPlace { epoch, offset, generation }) {
                        crash_point("binding acknowledged");
                        self.wake();
                    }
                }
                Sent::Ruling { number, .. } => {
                    lock(&self.rulings).acknowledge(number);
                    crash_point("ruling acknowledged");
                    self.wake();
                }
            },
            // Given up by us: the log is being dropped, or the client has failed and said why.
            Err((error, _))
                if matches!(error.rdkafka_error_code(), Some(PurgeQueue | PurgeInflight)) => {}
            Err((error, record)) => self.lost(*sent, record.payload_len(), error),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
