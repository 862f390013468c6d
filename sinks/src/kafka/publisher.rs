//! The thread that publishes: one a worker, with one producer for all of the worker's Kafka sinks.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::prometheus::{Histogram, IntCounter};
use tideflow_core::timely::scheduling::SyncActivator;
use tideflow_core::{BuildError, Epoch, ErrorKind, Failure, OperatorName};

use super::arena::Arena;
use super::producer::{RawProducer, TopicHandle};

/// A complete epoch of one sink, on its way to the thread.
pub(super) struct Ready {
    epoch: Epoch,
    arena: Arena,
    outlet: Arc<Outlet>,
    since: Instant,
}

/// One sink, as the thread sees it.
pub(super) struct Outlet {
    topic: TopicHandle,
    published: AtomicU64,
    waker: SyncActivator,
    records: IntCounter,
    seconds: Histogram,
}

impl Outlet {
    pub fn new(
        topic: TopicHandle,
        waker: SyncActivator,
        records: IntCounter,
        seconds: Histogram,
    ) -> Arc<Self> {
        Arc::new(Outlet { topic, published: AtomicU64::new(0), waker, records, seconds })
    }

    /// The last epoch published.
    pub fn published(&self) -> Epoch {
        self.published.load(Ordering::Acquire)
    }
}

/// A worker's publishers: one for each way its sinks reach a cluster.
#[derive(Default)]
pub(super) struct Publishers(RefCell<Vec<(KafkaConfig, Rc<Publisher>)>>);

impl Publishers {
    /// The publisher for sinks of this configuration, started by the first of them.
    pub fn of(&self, kafka: &KafkaConfig, failure: &Failure) -> Result<Rc<Publisher>, KafkaError> {
        if let Some((_, found)) = self.0.borrow().iter().find(|(config, _)| config == kafka) {
            return Ok(found.clone());
        }
        let made = Rc::new(Publisher::start(kafka, failure.clone())?);
        self.0.borrow_mut().push((kafka.clone(), made.clone()));
        Ok(made)
    }
}

/// A running publisher thread.
pub(super) struct Publisher {
    producer: Arc<RawProducer>,
    work: Sender<Ready>,
}

/// Epochs, of all the sinks, that are published with one flush at most: the group commit of a backlog.
const GROUP_MAX: usize = 64;

impl Publisher {
    fn start(kafka: &KafkaConfig, failure: Failure) -> Result<Self, KafkaError> {
        let producer = Arc::new(RawProducer::new(kafka)?);
        // Bounded by the epochs in flight: no sink hands over more.
        let (work, ready) = unbounded();
        let name = OperatorName::new("kafka publisher");
        let own = producer.clone();
        name.spawn(move || {
            if let Err(error) = publish(&own, &ready, &failure) {
                let operator = name.as_str().to_string();
                let kind = ErrorKind::Fatal; // it did start
                failure.set(BuildError { operator, kind, source: Box::new(error) });
            }
        });
        Ok(Publisher { producer, work })
    }

    pub fn producer(&self) -> &Arc<RawProducer> {
        &self.producer
    }

    pub fn publish(&self, epoch: Epoch, arena: Arena, outlet: Arc<Outlet>) {
        let ready = Ready { epoch, arena, outlet, since: Instant::now() };
        // Fails after the thread has reported why it ended, which ends the run.
        let _ = self.work.send(ready);
    }
}

/// Publishes what comes, in order, until the sinks are gone.
fn publish(
    producer: &RawProducer,
    work: &Receiver<Ready>,
    failure: &Failure,
) -> Result<(), KafkaError> {
    while let Ok(first) = work.recv() {
        let mut group = vec![first];
        group.extend(work.try_iter().take(GROUP_MAX - 1));
        for ready in &group {
            ready.arena.produce(producer, &ready.outlet.topic, || failure.is_set())?;
        }
        producer.flush(|| failure.is_set())?;
        if failure.is_set() {
            return Ok(());
        }
        for Ready { epoch, arena, outlet, since } in group {
            outlet.records.inc_by(arena.len() as u64);
            outlet.seconds.observe(since.elapsed().as_secs_f64());
            outlet.published.store(epoch, Ordering::Release);
            let _ = outlet.waker.activate(); // fails when the worker has ended
        }
    }
    Ok(())
}
