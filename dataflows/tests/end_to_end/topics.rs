//! The topics of one test, filled and read back.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tideflow::core::kafka::KafkaConfig;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::sinks::kafka::{RawProducer, Record};
use tideflow::sources::kafka::{BatchConsumer, Polled, StartOffset};

/// Longest wait for something that comes as soon as a slow machine can.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Where the jobs of all tests of a run keep their state.
pub static STATE: LazyLock<String> = LazyLock::new(|| {
    let folder = tempfile::Builder::new().prefix("tideflow-state").tempdir();
    folder.expect("a folder").keep().to_str().expect("plain").to_owned()
});

/// The headers of a record.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record to send.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
    /// A record with headers gets the time at which it is sent.
    pub headers: Headers,
}

/// A record as it is on a topic.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

/// Bytes as a person can read them.
fn shown(bytes: Option<&[u8]>) -> String {
    bytes.map_or("none".to_string(), |bytes| format!("`{}`", bytes.escape_ascii()))
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { partition, offset, .. } = self;
        let (key, value) = (shown(self.key.as_deref()), shown(self.value.as_deref()));
        write!(f, "{partition}:{offset} key {key} value {value}")?;
        self.headers.iter().try_for_each(|(name, v)| write!(f, " {name} {}", shown(v.as_deref())))
    }
}

impl Sent {
    /// Its value as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The text of a header of ours: the last of its name.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().rev().find(|(found, _)| found == name);
        let value = found.and_then(|(_, value)| value.as_deref());
        let value = value.unwrap_or_else(|| panic!("no header `{name}`: {self:?}"));
        std::str::from_utf8(value).expect("our headers are text")
    }
}

/// The topics of one run of `device_health`.
#[derive(Clone, Debug)]
pub struct Topics {
    pub kafka: KafkaConfig,
    pub readings: String,
    pub windows: String,
    pub scores: String,
    pub alarms: String,
    pub late: String,
    pub rejects: String,
    /// Where the job's state is.
    pub state: String,
    /// What the programs find in their environment.
    pub environment: Vec<(&'static str, String)>,
}

impl Topics {
    /// New topics: readings in `inputs` partitions, each other in `outputs`.
    pub fn new(broker: &TestBroker, inputs: usize, outputs: usize) -> Topics {
        let readings = broker.topic("readings", inputs);
        Topics::reading(broker, &readings, outputs)
    }

    /// New topics for a further run over the same readings.
    pub fn reading(broker: &TestBroker, readings: &str, outputs: usize) -> Topics {
        let topic = |name| broker.topic(name, outputs);
        Topics {
            kafka: broker.config(),
            readings: readings.to_string(),
            windows: topic("windows"),
            scores: topic("scores"),
            alarms: topic("alarms"),
            late: topic("late"),
            rejects: topic("rejects"),
            state: STATE.clone(),
            environment: Vec::new(),
        }
    }

    /// The flags that name them.
    pub fn flags(&self) -> Vec<String> {
        let flags = [
            ("kafka.brokers", &self.kafka.brokers),
            ("readings.topic", &self.readings),
            ("topics.windows", &self.windows),
            ("topics.scores", &self.scores),
            ("topics.alarms", &self.alarms),
            ("topics.late", &self.late),
            ("topics.rejects", &self.rejects),
            // Of its own, as its topics are.
            ("job.name", &self.windows),
            ("job.state", &self.state),
        ];
        flags.iter().map(|(key, value)| format!("--{key}={value}")).collect()
    }

    /// Sends readings, and waits until they are there.
    pub fn send(&self, inputs: impl IntoIterator<Item = Input>) {
        send(&self.kafka, &self.readings, inputs);
    }

    /// All that is on an output topic.
    pub fn read(&self, topic: &str) -> Vec<Sent> {
        read(&self.kafka, topic)
    }

    /// What is on a topic once there are `count` records or more.
    pub fn read_some(&self, topic: &str, count: usize) -> Vec<Sent> {
        read_until(&self.kafka, topic, Some(count))
    }
}

/// Sends records, and waits until they are there.
pub fn send(kafka: &KafkaConfig, topic: &str, inputs: impl IntoIterator<Item = Input>) {
    let producer = Arc::new(RawProducer::new(kafka).expect("the configuration is plain"));
    let topic = producer.topic(topic).expect("the name is plain");
    for Input { partition, key, value, timestamp, headers } in inputs {
        let record = Record { partition, key: key.as_deref(), value: value.as_deref() };
        let taken = match headers.is_empty() {
            true => producer.produce_at(&topic, record, timestamp, || false),
            false => producer.produce_with_headers(&topic, record, &headers, || false),
        };
        taken.expect("the broker takes it");
    }
    flush(&producer);
}

/// Waits until all is sent.
pub fn flush(producer: &RawProducer) {
    let since = Instant::now();
    producer.flush(|| since.elapsed() > DEADLINE).expect("the broker takes it");
    assert!(since.elapsed() < DEADLINE, "not sent in time");
}

/// All that is on a topic.
pub fn read(kafka: &KafkaConfig, topic: &str) -> Vec<Sent> {
    read_until(kafka, topic, None)
}

/// Reads a topic from its beginning: to its end as of now, or until `count` records are there.
fn read_until(kafka: &KafkaConfig, topic: &str, count: Option<usize>) -> Vec<Sent> {
    let partitions = kafka.partitions(topic).unwrap_or_else(|error| panic!("{error}"));
    let mut consumer = BatchConsumer::new(kafka, topic, "tests", 65_536).expect("plain");
    let (bell, rung) = sync_channel(1);
    consumer.set_wake(Box::new(move || {
        let _ = bell.try_send(());
    }));
    let all = 0..i32::try_from(partitions).expect("few");
    let resolve = |at: StartOffset| {
        let asked: Vec<_> = all.clone().map(|p| (p, at)).collect();
        consumer.resolve(&asked).expect("the broker answers")
    };
    let mut ends: BTreeMap<i32, i64> = resolve(StartOffset::Latest).into_iter().collect();
    let starts = resolve(StartOffset::Earliest);
    consumer.assign(&starts).expect("the partitions are there");
    let (mut records, deadline) = (Vec::new(), Instant::now() + DEADLINE);
    loop {
        let taken = consumer.poll(1_000, |polled| match polled {
            Polled::Message(m) => {
                records.push(Sent {
                    partition: m.partition,
                    offset: m.offset,
                    timestamp: m.timestamp_ms,
                    key: m.key.map(<[u8]>::to_vec),
                    value: m.payload.map(<[u8]>::to_vec),
                    headers: m.headers(),
                });
                if ends.get(&m.partition).is_some_and(|end| m.offset + 1 >= *end) {
                    ends.remove(&m.partition);
                }
            }
            Polled::Eof { partition, .. } => drop(ends.remove(&partition)),
            Polled::Error { error, .. } => panic!("{topic}: {error}"),
        });
        if taken == 1_000 {
            continue;
        }
        match count {
            None if ends.is_empty() => return records,
            Some(count) if records.len() >= count => return records,
            _ => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = rung.recv_timeout(left);
        assert!(wait.is_ok(), "{topic}: only {} records in time", records.len());
    }
}

/// Writes records for the Python scripts: one JSON object a line.
pub fn dump(path: &Path, records: &[Sent]) {
    let file = std::fs::File::create(path).expect("the folder is ours");
    let mut file = std::io::BufWriter::new(file);
    let text =
        |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|b| String::from_utf8_lossy(b).into_owned());
    for sent in records {
        let line = serde_json::json!({
            "partition": sent.partition, "key": text(&sent.key), "value": text(&sent.value),
        });
        writeln!(file, "{line}").expect("the disk has room");
    }
    file.flush().expect("the disk has room");
}
