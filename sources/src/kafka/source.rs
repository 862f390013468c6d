//! A Kafka topic as a source.

use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::timely::ExchangeData;
use tideflow_core::{BuildError, Check, DecodeError, Event, SourceSpec, SourceStart, Upsert};

use super::consumer::MessageRef;
use super::decode::{decode_json, decode_keyed, decode_object};
use super::reader::KafkaReader;
use super::table::KafkaTableConfig;
use super::{FlatRecord, StartOffset};

/// How a topic is read.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSourceConfig {
    /// The topic.
    pub topic: String,
    /// The number of partitions it must have; 0 takes what is there.
    #[serde(default)]
    pub partitions: usize,
    /// Where a first start begins: `earliest`, `latest`, or a Kafka timestamp in milliseconds.
    pub start: Start,
    /// What to do where the offsets to go on at are not there any more: `stop`, or go on with the
    /// `earliest` that are.
    #[serde(default)]
    pub lost: Lost,
    /// Where reading ends: `never`, or `end` for what was there at the start.
    #[serde(default)]
    pub until: Until,
    /// How far behind the largest event time of its partition a reading may lie and not be late, in
    /// milliseconds of event time.
    pub out_of_orderness_ms: u64,
    /// How far after its own Kafka timestamp a reading's event time may lie, in milliseconds.
    pub max_future_ms: u64,
    /// How long a partition must have been read to its end before it no longer holds time back, in
    /// milliseconds of the clock.
    pub idle_after_ms: u64,
    /// How far ahead of the graph's watermark a partition is read, in milliseconds of event time.
    pub max_ahead_ms: u64,
    /// How often new partitions are looked for, in milliseconds.
    pub refresh_ms: u64,
    /// What a worker fetches ahead, in kilobytes.
    pub queue_kb: u32,
    /// The name that lag tools know the job by.
    pub group: String,
}

impl KafkaSourceConfig {
    /// The same in a run that only looks at what is there, and commits no offsets.
    pub(super) fn of_the_past(self) -> Self {
        let start = match self.start {
            Start::Latest => Start::Earliest,
            said => said,
        };
        KafkaSourceConfig { start, until: Until::End, ..self }
    }
}

/// Where a first start begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// With the oldest record there is.
    Earliest,
    /// Behind the newest record there is.
    Latest,
    /// With the first record of this Kafka timestamp, in milliseconds since 1970, or later.
    At(i64),
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            other => other.parse().map(Start::At).map_err(|_| {
                format!("expected `earliest`, `latest` or milliseconds since 1970, found `{other}`")
            }),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> String {
        match start {
            Start::Earliest => "earliest".to_string(),
            Start::Latest => "latest".to_string(),
            Start::At(ms) => ms.to_string(),
        }
    }
}

impl From<Start> for StartOffset {
    fn from(start: Start) -> StartOffset {
        match start {
            Start::Earliest => StartOffset::Earliest,
            Start::Latest => StartOffset::Latest,
            Start::At(ms) => StartOffset::Timestamp(ms),
        }
    }
}

/// What to do where the offsets to go on at are not there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Nothing: the job does not start.
    #[default]
    Stop,
    /// Go on with the earliest that are there: what is missing is missing in the results.
    Earliest,
}

/// Where reading ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// It does not.
    #[default]
    Never,
    /// At the end that each partition had at the start; then time runs to its end, windows close and
    /// the graph ends: a batch over history.
    End,
}

/// Turns what a topic holds into a record.
pub(crate) enum Decoder<D> {
    /// Of its value alone; a tombstone is an empty value.
    Value(fn(&[u8]) -> Result<D, DecodeError>),
    /// Of its key, its place and its value, too.
    Record(fn(&MessageRef<'_>) -> Result<D, DecodeError>),
}

impl<D> Decoder<D> {
    #[inline]
    pub(crate) fn decode(&self, message: &MessageRef<'_>) -> Result<D, DecodeError> {
        match self {
            Decoder::Value(decode) => decode(message.payload.unwrap_or_default()),
            Decoder::Record(decode) => decode(message),
        }
    }
}

/// A topic, read by all workers: each partition by one.
///
/// Records whose event time lies too far after their Kafka timestamp are rejected and do not move the
/// watermark; so are records that do not decode.
pub struct KafkaSource<D> {
    kafka: KafkaConfig,
    config: KafkaSourceConfig,
    decode: Decoder<D>,
    validate: Decoded<D>,
    /// What is known of a topic that is read as a table.
    table: Option<KafkaTableConfig>,
    _yields: PhantomData<D>,
}

/// A check of a decoded record.
pub(crate) type Decoded<D> = fn(&D) -> Result<(), DecodeError>;

impl<D: Event + ExchangeData + Clone> KafkaSource<D> {
    /// A topic with a decoder of your own.
    pub fn with_decoder(
        kafka: &KafkaConfig,
        config: &KafkaSourceConfig,
        decode: fn(&[u8]) -> Result<D, DecodeError>,
    ) -> Self {
        Self::with(kafka, config, Decoder::Value(decode))
    }

    fn with(kafka: &KafkaConfig, config: &KafkaSourceConfig, decode: Decoder<D>) -> Self {
        let (kafka, config) = (kafka.clone(), config.clone());
        let (validate, _yields): (Decoded<D>, _) = (|_| Ok(()), PhantomData);
        KafkaSource { kafka, config, decode, validate, table: None, _yields }
    }

    /// A topic of JSON values.
    pub fn json(kafka: &KafkaConfig, config: &KafkaSourceConfig) -> Self
    where
        D: DeserializeOwned,
    {
        Self::with_decoder(kafka, config, decode_json)
    }

    /// A topic of flat JSON objects with known fields: several times faster than [`KafkaSource::json`],
    /// with the same answers, except that an array of the fields is no object.
    pub fn flat_json(kafka: &KafkaConfig, config: &KafkaSourceConfig) -> Self
    where
        D: FlatRecord + DeserializeOwned,
    {
        Self::with_decoder(kafka, config, |bytes| {
            D::read(bytes).map_or_else(|| decode_object(bytes), Ok)
        })
    }

    /// Rejects records that decode and still cannot be used.
    #[must_use]
    pub fn validate(self, check: fn(&D) -> Result<(), DecodeError>) -> Self {
        KafkaSource { validate: check, ..self }
    }
}

impl<K, V> KafkaSource<Upsert<K, V>>
where
    K: FromStr<Err: std::fmt::Display> + ExchangeData + Clone,
    V: DeserializeOwned + ExchangeData + Clone,
{
    /// A topic that says of each key what its value is: the key as text, the value as a JSON object, a
    /// tombstone for a key that is gone. Topics that are compacted have this form.
    ///
    /// Its records have no time ([`Upsert`]), and need no Kafka timestamp.
    pub fn keyed_json(kafka: &KafkaConfig, config: &KafkaTableConfig) -> Self {
        let source = Self::with(kafka, &config.as_source(), Decoder::Record(decode_keyed));
        KafkaSource { table: Some(config.clone()), ..source }
    }
}

impl<D: Event + ExchangeData + Clone> SourceSpec for KafkaSource<D> {
    type Source = KafkaReader<D>;

    fn about(&self) -> String {
        format!("Kafka topic {}", self.config.topic)
    }

    fn input(&self) -> Option<String> {
        Some(self.config.topic.clone())
    }

    fn may_lose(&self) -> bool {
        self.config.lost == Lost::Earliest
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks: Vec<_> =
            self.kafka.topic_checks(&self.config.topic, self.config.partitions).into();
        let last = checks.last().expect("there are two");
        let table = self.table.as_ref();
        checks.extend(table.and_then(|table| table.compaction_check(&self.kafka, last)));
        checks
    }

    fn start(self, start: SourceStart) -> Result<KafkaReader<D>, BuildError> {
        let name = start.name.as_str().to_string();
        let config = match start.job.rows {
            None => self.config,
            Some(_) => self.config.of_the_past(),
        };
        KafkaReader::start(self.kafka, config, self.decode, self.validate, start)
            .map_err(|e| failed(&name, e))
    }
}

pub(crate) fn failed(operator: &str, error: KafkaError) -> BuildError {
    BuildError { operator: operator.to_string(), kind: error.kind(), source: Box::new(error) }
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
