//! A Kafka topic as a sink.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::timely::dataflow::channels::pact::{Exchange, Pipeline};
use tideflow_core::timely::dataflow::operators::generic::Operator;
use tideflow_core::{
    Backtest, BuildError, Check, DeadLetters, Epoch, Outlet as Place, Rejected, Sink, SinkSpec,
    SinkStart, Update,
};

use super::arena::Arena;
use super::dead_letters::DeadLetterTopic;
use super::publisher::{Outlet, Publisher, Publishers};
use super::shards::{Parcel, Shards};
use crate::recorded::Recorded;

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

    /// Its headers, names and values; none as it stands. Those of many records one after the other should be
    /// the same: they are kept once.
    fn headers(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }
}

/// Appends a record to an epoch's arena.
pub(crate) type Encode<D> = fn(&D, &mut Arena);

/// A topic that a stream is published to: each epoch once it is complete; exactly once in a job that has
/// [`Shards`], else at least once.
///
/// Records of one key keep their order. The number of partitions is read at the start: a topic that
/// grows while the graph runs gets records in its new partitions from the next start on.
pub struct KafkaSink<D> {
    kafka: KafkaConfig,
    config: KafkaSinkConfig,
    encode: Encode<D>,
    dead_letters: bool,
}

impl<D> KafkaSink<D> {
    /// JSON records by their key.
    pub fn json(kafka: &KafkaConfig, config: &KafkaSinkConfig) -> Self
    where
        D: KeyedRecord,
    {
        let encode: Encode<D> = |record, arena| {
            let headers = record.headers();
            arena.head(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
            arena.json(record.key(), record);
        };
        KafkaSink::of(kafka, config, encode)
    }

    fn of(kafka: &KafkaConfig, config: &KafkaSinkConfig, encode: Encode<D>) -> Self {
        KafkaSink { kafka: kafka.clone(), config: config.clone(), encode, dead_letters: false }
    }
}

impl<K: AsRef<[u8]>, V: Serialize> KafkaSink<Update<K, V>> {
    /// A changelog: a key's value as JSON, or a tombstone when it has none any more. Compacted, the topic
    /// is what holds now; reading it from its beginning gives the same.
    pub fn changelog(kafka: &KafkaConfig, config: &KafkaSinkConfig) -> Self {
        let encode: Encode<Update<K, V>> =
            |update, arena| arena.change(update.key.as_ref(), update.value.as_ref());
        KafkaSink::of(kafka, config, encode)
    }
}

impl KafkaSink<Rejected> {
    /// Dead letters: the record's own key and bytes; why and from where in the headers `error`,
    /// `detail`, `operator`, `topic`, `partition`, `offset`, `timestamp`, behind its own headers.
    pub fn dead_letters(kafka: &KafkaConfig, config: &KafkaSinkConfig) -> Self {
        let encode: Encode<Rejected> = |rejected, arena| arena.dead_letter(rejected);
        KafkaSink { dead_letters: true, ..KafkaSink::of(kafka, config, encode) }
    }
}

impl<D: Clone + 'static> SinkSpec<D> for KafkaSink<D> {
    type Sink = KafkaWriter<D>;

    fn about(&self) -> String {
        format!("Kafka topic {}", self.config.topic)
    }

    fn checks(&self) -> Vec<Check> {
        let Self { kafka, config, .. } = self;
        kafka.topic_checks(&config.topic, config.partitions).into()
    }

    fn dead_letters(&self) -> Option<Box<dyn DeadLetters>> {
        let topic = || DeadLetterTopic::new(&self.kafka, &self.config.topic);
        self.dead_letters.then(|| Box::new(topic()) as Box<dyn DeadLetters>)
    }

    fn start(self, start: SinkStart<'_, '_>) -> Result<KafkaWriter<D>, BuildError> {
        let name = start.name.as_str();
        let failed = |error| failed(name, error);
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

    fn connect<'s>(
        self,
        place: Place<'s>,
        stream: StreamVec<'s, Epoch, D>,
    ) -> Result<(), BuildError> {
        match place.flow().found::<Shards>() {
            Some(shards) => self.connect_to_shards(&shards, place, stream),
            None => place.gate(stream, Pipeline, |start| self.start(start)),
        }
    }

    fn record<'s>(
        self,
        place: Place<'s>,
        stream: StreamVec<'s, Epoch, D>,
        backtest: &Backtest,
    ) -> Result<(), BuildError> {
        let encode = self.encode;
        let append = move |items: &mut Vec<D>, lines: &mut Vec<u8>| {
            let mut arena = Arena::new(1);
            items.iter().for_each(|item| encode(item, &mut arena));
            arena.write_lines(lines);
        };
        Recorded::connect(place, stream, backtest, &self.config.topic, Box::new(append))
    }
}

impl<D: Clone + 'static> KafkaSink<D> {
    /// Encodes the records where they are, and sends them to the owners of their shards.
    fn connect_to_shards<'s>(
        self,
        shards: &Shards,
        place: Place<'s>,
        stream: StreamVec<'s, Epoch, D>,
    ) -> Result<(), BuildError> {
        let KafkaSink { kafka, config, encode, .. } = self;
        let name = place.name();
        if kafka != *shards.kafka() {
            let what =
                "expected the job's own cluster: what goes to another is not in its transactions";
            return Err(BuildError::invalid(name.as_str(), what));
        }
        let partitions = shards.partitions(&config.topic).map_err(|e| failed(name.as_str(), e))?;
        let count = shards.count();
        let operator = format!("{}: records", name.as_str());
        let parcels = stream.unary(Pipeline, &operator, |_, _| {
            move |input, output| {
                name.run(|| {
                    input.for_each(|capability, items: &mut Vec<D>| {
                        let mut arena = Arena::new(partitions);
                        items.drain(..).for_each(|item| encode(&item, &mut arena));
                        let parcels = arena.split(count).into_iter();
                        let parcels = parcels.map(|(shard, arena)| Parcel { shard, arena });
                        output.session(&capability).give_iterator(parcels);
                    });
                });
            }
        });
        let owner = Exchange::new(|parcel: &Parcel| u64::from(parcel.shard));
        place.gate(parcels, owner, |start| {
            shards.sink(&config.topic, &start).map_err(|error| failed(name.as_str(), error))
        })
    }
}

fn failed(operator: &str, error: KafkaError) -> BuildError {
    BuildError { operator: operator.to_string(), kind: error.kind(), source: Box::new(error) }
}

/// A [`KafkaSink`] as it runs on one worker, when nothing says that it is to publish exactly once.
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
