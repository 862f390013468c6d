use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use tideflow_core::Secret;
use tideflow_core::kafka::testing::{SecureBroker, TestBroker};
use tideflow_core::kafka::{EmbeddedBroker, SaslMechanism};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);
const QUEUE_KB: u32 = 65_536;

fn consumer(config: &KafkaConfig, topic: &str) -> BatchConsumer {
    BatchConsumer::new(config, topic, "tests", QUEUE_KB).unwrap()
}

/// What one partition gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    records: Vec<(i64, String)>,
    ends: Vec<i64>,
}

type All = BTreeMap<i32, Seen>;

/// Polls whenever the wake callback says so, and never otherwise, until `done`.
struct Reader {
    consumer: BatchConsumer,
    rung: Arc<(Mutex<bool>, Condvar)>,
    all: All,
    errors: Vec<(Option<i32>, KafkaError)>,
}

impl Reader {
    fn new(mut consumer: BatchConsumer) -> Self {
        let rung = Arc::new((Mutex::new(false), Condvar::new()));
        let bell = Arc::clone(&rung);
        consumer.set_wake(Box::new(move || {
            *bell.0.lock().unwrap() = true;
            bell.1.notify_one();
        }));
        Reader { consumer, rung, all: All::new(), errors: Vec::new() }
    }

    fn read_until(&mut self, done: impl Fn(&All, &[(Option<i32>, KafkaError)]) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            while self.poll(500) == 500 {}
            if done(&self.all, &self.errors) {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let rung = self.rung.0.lock().unwrap();
            let (mut rung, timeout) =
                self.rung.1.wait_timeout_while(rung, left, |rung| !*rung).unwrap();
            assert!(!timeout.timed_out(), "no wake in time: {:?} {:?}", self.errors, self.counts());
            *rung = false;
        }
    }

    fn poll(&mut self, max: usize) -> usize {
        let (all, errors) = (&mut self.all, &mut self.errors);
        self.consumer.poll(max, |polled| match polled {
            Polled::Message(m) => {
                let text = String::from_utf8(m.payload.unwrap_or_default().to_vec()).unwrap();
                all.entry(m.partition).or_default().records.push((m.offset, text));
            }
            Polled::Eof { partition, offset } => {
                all.entry(partition).or_default().ends.push(offset);
            }
            Polled::Error { partition, error } => errors.push((partition, error)),
        })
    }

    fn counts(&self) -> BTreeMap<i32, usize> {
        self.all.iter().map(|(partition, seen)| (*partition, seen.records.len())).collect()
    }
}

fn records(all: &All) -> usize {
    all.values().map(|seen| seen.records.len()).sum()
}

/// `partition`'s records are "0", "1", … from offset 0, `count` of them.
fn assert_whole(all: &All, partition: i32, count: usize) {
    let whole: Vec<_> = (0..count).map(|n| (n as i64, n.to_string())).collect();
    assert_eq!(all[&partition].records.len(), count, "partition {partition}");
    assert!(all[&partition].records == whole, "partition {partition} is not in order");
}

fn producer(config: &KafkaConfig) -> BaseProducer {
    let role = Role::Producer { linger_ms: 1, queue_kb_max: QUEUE_KB };
    config.client(role).unwrap().create_with_context(DefaultProducerContext).unwrap()
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, text: &str) {
    let mut record = BaseRecord::<(), str>::to(topic).partition(partition).payload(text);
    while let Err((_, back)) = producer.send(record) {
        producer.poll(Duration::from_millis(1));
        record = back;
    }
}

/// Writes "0", "1", … to each of these partitions.
fn fill(
    config: &KafkaConfig,
    topic: &str,
    partitions: std::ops::Range<i32>,
    numbers: std::ops::Range<usize>,
) {
    let producer = producer(config);
    for n in numbers {
        let text = n.to_string();
        partitions.clone().for_each(|partition| send(&producer, topic, partition, &text));
    }
    producer.flush(DEADLINE).unwrap();
}

#[test]
fn every_record_comes_once_in_partition_order_and_ends_are_told() {
    let broker = TestBroker::shared();
    let topic = broker.topic("once", 4);
    fill(&broker.config(), &topic, 0..4, 0..50_000);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    reader.consumer.assign(&[(0, 0), (1, 0), (2, 0), (3, 0)]).unwrap();
    reader.read_until(|all, _| all.len() == 4 && all.values().all(|seen| !seen.ends.is_empty()));
    for partition in 0..4 {
        assert_whole(&reader.all, partition, 50_000);
        assert_eq!(reader.all[&partition].ends, [50_000]);
        assert_eq!(reader.consumer.high_watermark(partition), Some(50_000));
        assert_eq!(reader.consumer.lag(partition, 49_000), Some(1_000));
    }
    assert_eq!(reader.consumer.high_watermark(7), None);
    assert!(reader.errors.is_empty(), "{:?}", reader.errors);
}

#[test]
fn a_poll_takes_at_most_what_was_asked_for_and_never_waits() {
    let broker = TestBroker::shared();
    let topic = broker.topic("small", 1);
    fill(&broker.config(), &topic, 0..1, 0..100);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    let since = Instant::now();
    assert_eq!(reader.poll(10), 0);
    assert!(since.elapsed() < Duration::from_millis(500), "{:?}", since.elapsed());
    reader.consumer.assign(&[(0, 0)]).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while records(&reader.all) < 100 {
        assert!(reader.poll(7) <= 7 && Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_whole(&reader.all, 0, 100);
}

#[test]
fn the_wake_callback_comes_for_records_written_later() {
    let broker = TestBroker::shared();
    let topic = broker.topic("wake", 2);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    reader.consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    reader.read_until(|all, _| all.len() == 2);
    for round in 1..=20 {
        fill(&broker.config(), &topic, 0..2, round - 1..round);
        reader.read_until(|all, _| records(all) == 2 * round);
    }
    assert_whole(&reader.all, 1, 20);
}

#[test]
fn starts_become_offsets() {
    let broker = TestBroker::shared();
    let topic = broker.topic("starts", 2);
    let producer = producer(&broker.config());
    for ms in [1_000, 2_000, 3_000] {
        let record = BaseRecord::<(), str>::to(&topic).partition(0).payload("x").timestamp(ms);
        producer.send(record).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    let consumer = consumer(&broker.config(), &topic);
    use StartOffset::{Earliest, Latest, Timestamp};
    let starts =
        [Earliest, Latest, Timestamp(0), Timestamp(1_500), Timestamp(3_000), Timestamp(3_001)];
    let of = |partition, start| consumer.resolve(&[(partition, start)]).unwrap()[0].1;
    assert_eq!(starts.map(|start| of(0, start)), [0, 3, 0, 1, 2, 3]);
    assert_eq!(starts.map(|start| of(1, start)), [0; 6]);
    let mixed = [(1, Timestamp(7)), (0, Latest)];
    assert_eq!(consumer.resolve(&mixed).unwrap(), [(1, 0), (0, 3)]);
    let error = consumer.resolve(&[(9, Earliest)]).unwrap_err();
    assert!(matches!(error, KafkaError::TopicMissing { .. }), "{error}");
}

#[test]
fn keys_timestamps_tombstones_and_headers_are_read() {
    let broker = TestBroker::shared();
    let topic = broker.topic("headers", 1);
    let producer = producer(&broker.config());
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some(&b"\x00\xff"[..]) })
        .insert(Header::<&[u8]> { key: "empty", value: None });
    let full = BaseRecord::to(&topic).key("d1").payload("v").timestamp(1_234).headers(headers);
    producer.send(full).unwrap();
    producer.send(BaseRecord::<str, [u8]>::to(&topic).key("d2")).unwrap();
    producer.flush(DEADLINE).unwrap();
    let mut consumer = consumer(&broker.config(), &topic);
    consumer.assign(&[(0, 0)]).unwrap();
    let mut seen = Vec::new();
    let deadline = Instant::now() + DEADLINE;
    while seen.len() < 2 && Instant::now() < deadline {
        consumer.poll(10, |polled| {
            if let Polled::Message(m) = polled {
                let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                seen.push((own(m.key), own(m.payload), m.timestamp_ms, m.headers()));
            }
        });
        std::thread::yield_now();
    }
    let headers = vec![("trace".into(), Some(vec![0, 255])), ("empty".into(), None)];
    assert_eq!(seen[0], (Some(b"d1".to_vec()), Some(b"v".to_vec()), Some(1_234), headers));
    assert_eq!((&seen[1].0, &seen[1].1), (&Some(b"d2".to_vec()), &None));
    assert!(seen[1].2.is_some_and(|ms| ms > 1_600_000_000_000) && seen[1].3.is_empty());
}

#[test]
fn a_paused_partition_goes_on_without_loss_or_repetition() {
    let broker = TestBroker::shared();
    let topic = broker.topic("pause", 2);
    fill(&broker.config(), &topic, 0..2, 0..20_000);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    reader.consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !reader.all.contains_key(&0) {
        assert!(Instant::now() < deadline);
        reader.poll(10);
    }
    reader.consumer.pause(&[0]).unwrap();
    let stopped_at = reader.counts()[&0];
    assert!(stopped_at < 20_000, "nothing was left to hold back");
    reader.read_until(|all, _| all.get(&1).is_some_and(|seen| seen.records.len() == 20_000));
    assert_eq!(reader.counts()[&0], stopped_at);
    reader.consumer.resume(&[(0, stopped_at as i64)]).unwrap();
    reader.read_until(|all, _| all[&0].records.len() >= 20_000);
    (0..2).for_each(|partition| assert_whole(&reader.all, partition, 20_000));
}

#[test]
fn a_partition_paused_at_its_end_goes_on_at_its_end() {
    let broker = TestBroker::shared();
    let topic = broker.topic("pause-end", 1);
    fill(&broker.config(), &topic, 0..1, 0..100);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    reader.consumer.assign(&[(0, 0)]).unwrap();
    reader.read_until(|all, _| all.get(&0).is_some_and(|seen| !seen.ends.is_empty()));
    reader.consumer.pause(&[0]).unwrap();
    reader.consumer.resume(&[(0, 100)]).unwrap();
    // Read as far as before: it tells its end again, and what comes later is read.
    reader.read_until(|all, _| all[&0].ends.len() >= 2);
    fill(&broker.config(), &topic, 0..1, 100..200);
    reader.read_until(|all, _| all[&0].records.len() >= 200);
    assert_whole(&reader.all, 0, 200);
}

#[test]
fn further_partitions_join_while_reading() {
    let broker = TestBroker::shared();
    let topic = broker.topic("join", 3);
    fill(&broker.config(), &topic, 0..3, 0..5_000);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    reader.consumer.assign(&[(0, 0)]).unwrap();
    reader.read_until(|all, _| records(all) >= 1_000);
    reader.consumer.incremental_assign(&[(1, 0), (2, 4_000)]).unwrap();
    reader.read_until(|all, _| records(all) >= 11_000);
    assert_whole(&reader.all, 0, 5_000);
    assert_whole(&reader.all, 1, 5_000);
    assert_eq!(reader.all[&2].records[0], (4_000, "4000".into()));
    assert_eq!(reader.counts()[&2], 1_000);
}

#[test]
fn a_consumer_dropped_while_records_wait_ends_at_once() {
    let broker = TestBroker::shared();
    let topic = broker.topic("dropped", 4);
    fill(&broker.config(), &topic, 0..4, 0..2_000);
    for round in 0..20 {
        let mut reader = Reader::new(consumer(&broker.config(), &topic));
        reader.consumer.assign(&[(0, 0), (1, 0)]).unwrap();
        reader.consumer.incremental_assign(&[(2, 0), (3, 0)]).unwrap();
        reader.read_until(|all, _| records(all) > round * 400);
        let since = Instant::now();
        drop(reader);
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    }
}

#[test]
fn only_committed_records_come_and_the_end_lies_behind_markers() {
    let broker = TestBroker::shared();
    let topic = broker.topic("transactions", 1);
    let role = Role::Producer { linger_ms: 0, queue_kb_max: QUEUE_KB };
    let mut config = broker.config().client(role).unwrap();
    config.remove("message.timeout.ms").set("transactional.id", &topic);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(DEADLINE).unwrap();
    for (text, commit) in [("a", true), ("b", false), ("c", true)] {
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 0, text);
        producer.flush(DEADLINE).unwrap();
        match commit {
            true => producer.commit_transaction(DEADLINE).unwrap(),
            false => producer.abort_transaction(DEADLINE).unwrap(),
        }
    }
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    // A commit answers before the markers are in the topic.
    let deadline = Instant::now() + DEADLINE;
    while reader.consumer.resolve(&[(0, StartOffset::Latest)]).unwrap() != [(0, 6)] {
        assert!(Instant::now() < deadline);
    }
    reader.consumer.assign(&[(0, 0)]).unwrap();
    reader.read_until(|all, _| all.get(&0).is_some_and(|seen| seen.ends.last() == Some(&6)));
    assert_eq!(reader.all[&0].records, [(0, "a".into()), (4, "c".into())]);

    // While a transaction is open the end is told before its records, and the high watermark is not.
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "d");
    producer.flush(DEADLINE).unwrap();
    let mut early = Reader::new(consumer(&broker.config(), &topic));
    early.consumer.assign(&[(0, 0)]).unwrap();
    early.read_until(|all, _| all.get(&0).is_some_and(|seen| !seen.ends.is_empty()));
    assert_eq!((&early.all[&0].ends[..], early.consumer.high_watermark(0)), (&[6][..], Some(7)));
    producer.commit_transaction(DEADLINE).unwrap();
    early.read_until(|all, _| all[&0].ends.last() == Some(&8));
    assert_eq!(early.consumer.high_watermark(0), Some(8));
    assert_eq!(early.all[&0].records.last(), Some(&(6, "d".into())));
}

#[test]
fn positions_are_committed_for_lag_tools_only() {
    let broker = TestBroker::shared();
    let topic = broker.topic("lag", 1);
    fill(&broker.config(), &topic, 0..1, 0..10);
    let group = topic.clone();
    let mut writer = BatchConsumer::new(&broker.config(), &topic, &group, QUEUE_KB).unwrap();
    writer.assign(&[(0, 0)]).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while broker.committed(&group, &topic, 0) != Some(7) {
        assert!(Instant::now() < deadline);
        writer.commit_for_lag_tools(&[(0, 7)]);
        writer.poll(10, |_| {});
    }
}

#[test]
fn fault_a_position_that_is_gone_is_an_error_not_a_reset() {
    let broker = TestBroker::shared();
    let topic = broker.topic("range", 1);
    fill(&broker.config(), &topic, 0..1, 0..10);
    let mut reader = Reader::new(consumer(&broker.config(), &topic));
    reader.consumer.assign(&[(0, 11)]).unwrap();
    reader.read_until(|_, errors| !errors.is_empty());
    let expected = (topic.clone(), 0, 11);
    assert!(
        matches!(&reader.errors[..], [(Some(0), KafkaError::OffsetOutOfRange { topic, partition, offset })]
            if (topic.clone(), *partition, *offset) == expected),
        "{:?}",
        reader.errors
    );
    assert_eq!(records(&reader.all), 0);
}

#[test]
fn fault_a_broker_killed_and_started_again_loses_and_repeats_nothing() {
    let mut broker = TestBroker::start();
    let topic = broker.topic("killed", 2);
    let config = broker.config();
    let producer = producer(&config);
    let mut reader = Reader::new(consumer(&config, &topic));
    reader.consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    let write = |numbers: std::ops::Range<usize>| {
        for n in numbers {
            (0..2).for_each(|partition| send(&producer, &topic, partition, &n.to_string()));
        }
    };
    let mut written = 0;
    for _ in 0..2 {
        write(written..written + 10_000);
        reader.read_until(|all, _| records(all) > 2 * written);
        broker.kill();
        write(written + 10_000..written + 20_000);
        reader.poll(100_000);
        broker.start_again();
        written += 20_000;
        reader.read_until(|all, _| records(all) >= 2 * written);
    }
    producer.flush(DEADLINE).unwrap();
    (0..2).for_each(|partition| assert_whole(&reader.all, partition, written));
    assert!(reader.errors.is_empty(), "{:?}", reader.errors);
}

#[test]
fn fault_an_unreachable_broker_ends_a_question_and_not_a_reader() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let brokers = format!("127.0.0.1:{port}");
    let config = KafkaConfig { connect_timeout_ms: 500, ..KafkaConfig::plaintext(brokers) };
    let mut reader = Reader::new(consumer(&config, "nowhere"));
    let error = reader.consumer.resolve(&[(0, StartOffset::Latest)]).unwrap_err();
    assert!(matches!(error, KafkaError::Unreachable { after_ms: 500, .. }), "{error}");
    reader.consumer.assign(&[(0, 0)]).unwrap();
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        reader.poll(10);
        std::thread::yield_now();
    }
    assert!(reader.errors.is_empty(), "{:?}", reader.errors);
}

#[test]
fn fault_a_refused_login_is_an_error() {
    let secure = SecureBroker::start();
    let mut config = secure.sasl(SaslMechanism::ScramSha512);
    config.sasl_password = Secret::new("hunter2");
    let mut reader = Reader::new(consumer(&config, "secure"));
    reader.consumer.assign(&[(0, 0)]).unwrap();
    reader.read_until(|_, errors| !errors.is_empty());
    let (partition, error) = &reader.errors[0];
    assert!(matches!((partition, error), (None, KafkaError::Authentication { .. })), "{error}");
    let error = reader.consumer.resolve(&[(0, StartOffset::Latest)]).unwrap_err();
    assert!(matches!(error, KafkaError::Authentication { .. }), "{error}");
}

#[test]
fn the_embedded_broker_gives_back_what_was_written() {
    let broker = EmbeddedBroker::start(&[("embedded", 2)]).unwrap();
    let config = KafkaConfig::plaintext(broker.brokers());
    fill(&config, "embedded", 0..2, 0..5_000);
    let mut reader = Reader::new(consumer(&config, "embedded"));
    let starts = [(0, StartOffset::Earliest), (1, StartOffset::Latest)];
    assert_eq!(reader.consumer.resolve(&starts).unwrap(), [(0, 0), (1, 5_000)]);
    reader.consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    reader.read_until(|all, _| all.len() == 2 && all.values().all(|seen| !seen.ends.is_empty()));
    (0..2).for_each(|partition| assert_whole(&reader.all, partition, 5_000));
}
