//! A Kafka topic as a sink.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::{BuildError, Check, Epoch, Rejected, Sink, SinkSpec, SinkStart};

use super::arena::Arena;
use super::publisher::{Outlet, Publisher, Publishers};

/// A topic to write to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSinkConfig {
    /// The topic.
    pub topic: String,
    /// The number of partitions it must have; 0 takes what is there.
    #[serde(default)]
    pub partitions: usize,
}

/// A record with a key: all records of a key go to one partition, chosen as the Java clients do.
///
/// ```
/// use tideflow_sinks::kafka::KeyedRecord;
/// #[derive(serde::Serialize)]
/// struct Total { device: String, total: u64 }
/// impl KeyedRecord for Total {
///     fn key(&self) -> &[u8] { self.device.as_bytes() }
/// }
/// ```
pub trait KeyedRecord: Serialize {
    /// The record's key.
    fn key(&self) -> &[u8];
}

/// Appends a record to an epoch's arena.
pub(crate) type Encode<D> = fn(&D, &mut Arena);

/// A topic that a stream is published to: each epoch once it is complete, at least once.
///
/// Records of one key keep their order. The number of partitions is read at the start: a topic that
/// grows while the graph runs gets records in its new partitions from the next start on.
pub struct KafkaSink<D> {
    kafka: KafkaConfig,
    config: KafkaSinkConfig,
    encode: Encode<D>,
}

impl<D> KafkaSink<D> {
    /// JSON records by their key.
    pub fn json(kafka: &KafkaConfig, config: &KafkaSinkConfig) -> Self
    where
        D: KeyedRecord,
    {
        let encode: Encode<D> = |record, arena| arena.json(record.key(), record);
        KafkaSink { kafka: kafka.clone(), config: config.clone(), encode }
    }
}

impl KafkaSink<Rejected> {
    /// Dead letters: the record's own key and bytes; why and from where in the headers `error`,
    /// `detail`, `operator`, `topic`, `partition`, `offset`, `timestamp`, behind its own headers.
    pub fn dead_letters(kafka: &KafkaConfig, config: &KafkaSinkConfig) -> Self {
        let encode: Encode<Rejected> = |rejected, arena| arena.dead_letter(rejected);
        KafkaSink { kafka: kafka.clone(), config: config.clone(), encode }
    }
}

impl<D: 'static> SinkSpec<D> for KafkaSink<D> {
    type Sink = KafkaWriter<D>;

    fn about(&self) -> String {
        format!("Kafka topic {}", self.config.topic)
    }

    fn checks(&self) -> Vec<Check> {
        let Self { kafka, config, .. } = self;
        kafka.topic_checks(&config.topic, config.partitions).into()
    }

    fn start(self, start: SinkStart<'_, '_>) -> Result<KafkaWriter<D>, BuildError> {
        let name = start.name.as_str();
        let failed = |e: KafkaError| BuildError {
            operator: name.to_string(),
            kind: e.kind(),
            source: Box::new(e),
        };
        let job = start.flow.job();
        let publishers = start.flow.local(|| Ok::<_, KafkaError>(Publishers::default()));
        let publisher = publishers.and_then(|p| p.of(&self.kafka, &job.failure)).map_err(failed)?;
        let partitions = self.kafka.partitions(&self.config.topic).map_err(failed)?;
        let topic = publisher.producer().topic(&self.config.topic).map_err(failed)?;
        let outlet = Outlet::new(
            topic,
            start.waker,
            job.metrics.sink_records.with_label_values(&[name]),
            job.metrics.sink_seconds.with_label_values(&[name]),
        );
        let encode = self.encode;
        Ok(KafkaWriter { publisher, outlet, encode, partitions, open: BTreeMap::new() })
    }
}

/// A [`KafkaSink`] as it runs on one worker.
pub struct KafkaWriter<D> {
    publisher: Rc<Publisher>,
    outlet: Arc<Outlet>,
    encode: Encode<D>,
    partitions: usize,
    open: BTreeMap<Epoch, Arena>,
}

impl<D: 'static> Sink<D> for KafkaWriter<D> {
    fn take(&mut self, epoch: Epoch, items: &mut Vec<D>) {
        let partitions = self.partitions;
        let arena = self.open.entry(epoch).or_insert_with(|| Arena::new(partitions));
        items.drain(..).for_each(|item| (self.encode)(&item, arena));
    }

    fn close(&mut self, epoch: Epoch) {
        if let Some(arena) = self.open.remove(&epoch) {
            self.publisher.publish(epoch, arena, self.outlet.clone());
        }
    }

    fn published(&mut self) -> Epoch {
        self.outlet.published()
    }
}
