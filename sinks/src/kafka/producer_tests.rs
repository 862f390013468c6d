use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tideflow_core::Secret;
use tideflow_core::kafka::testing::{SecureBroker, TestBroker, unique_name};
use tideflow_core::kafka::{EmbeddedBroker, SaslMechanism};

use super::*;
use crate::kafka::partition_for;

const DEADLINE: Duration = Duration::from_secs(60);

fn producer(config: &KafkaConfig) -> Arc<RawProducer> {
    Arc::new(RawProducer::new(config).unwrap())
}

fn never() -> bool {
    false
}

fn record(partition: i32, value: &[u8]) -> Record<'_> {
    Record { partition, key: None, value: Some(value) }
}

/// What was read of one record.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Everything in these partitions, in order.
fn read(config: &KafkaConfig, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<Read>> {
    let role = Role::Consumer { group: "tests", queue_kb_max: 65_536 };
    let consumer: BaseConsumer = config.client(role).unwrap().create().unwrap();
    let mut list = TopicPartitionList::new();
    (0..partitions).for_each(|p| list.add_partition_offset(topic, p, Offset::Offset(0)).unwrap());
    consumer.assign(&list).unwrap();
    let (mut all, mut ended) = (BTreeMap::<_, Vec<_>>::new(), 0);
    let deadline = Instant::now() + DEADLINE;
    while ended < partitions {
        assert!(Instant::now() < deadline, "{ended} of {partitions} partitions read");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(m)) => {
                let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                let headers = m.headers().into_iter().flat_map(|headers| headers.iter());
                all.entry(m.partition()).or_default().push(Read {
                    key: own(m.key()),
                    value: own(m.payload()),
                    timestamp: m.timestamp().to_millis(),
                    headers: headers.map(|h| (h.key.to_owned(), own(h.value))).collect(),
                });
            }
            Some(Err(RdError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    all
}

/// Each of `partitions` has "0", "1", … up to `count`, once and in order.
fn assert_whole(config: &KafkaConfig, topic: &str, partitions: i32, count: usize) {
    let all = read(config, topic, partitions);
    for partition in 0..partitions {
        let values: Vec<_> = all[&partition].iter().map(|r| r.value.clone().unwrap()).collect();
        let whole: Vec<_> = (0..count).map(|n| n.to_string().into_bytes()).collect();
        assert_eq!(values.len(), count, "partition {partition}");
        assert!(values == whole, "partition {partition} is not in order");
    }
}

fn write(
    producer: &RawProducer,
    topic: &TopicHandle,
    partitions: i32,
    numbers: std::ops::Range<usize>,
) {
    let texts: Vec<_> = numbers.map(|n| n.to_string().into_bytes()).collect();
    let records = texts.iter().flat_map(|text| (0..partitions).map(move |p| record(p, text)));
    producer.produce_batch(topic, records, never).unwrap();
}

#[test]
fn every_record_is_in_its_partition_once_and_in_order() {
    let broker = TestBroker::shared();
    let name = broker.topic("batch", 4);
    let producer = producer(&broker.config());
    let topic = producer.topic(&name).unwrap();
    write(&producer, &topic, 4, 0..30_000);
    producer.flush(never).unwrap();
    write(&producer, &topic, 4, 30_000..50_000);
    producer.flush(never).unwrap();
    assert_whole(&broker.config(), &name, 4, 50_000);
}

#[test]
fn keys_values_timestamps_and_headers_arrive_as_given() {
    let broker = TestBroker::shared();
    let name = broker.topic("fields", 1);
    let producer = producer(&broker.config());
    let topic = producer.topic(&name).unwrap();
    let (none, empty) = (None, Some(&b""[..]));
    let full = Record { partition: 0, key: Some(b"d1"), value: Some(b"v\0\xff") };
    let tombstone = Record { partition: 0, key: Some(b"d2"), value: none };
    let blank = Record { partition: 0, key: empty, value: empty };
    producer.produce_batch(&topic, [full, tombstone, blank].into_iter(), never).unwrap();
    producer.produce_at(&topic, full, 1_234, never).unwrap();
    let headers = vec![("error".to_owned(), Some(b"\0\xff".to_vec())), ("none".to_owned(), None)];
    producer.produce_with_headers(&topic, tombstone, &headers, never).unwrap();
    producer.flush(never).unwrap();

    let read = read(&broker.config(), &name, 1).remove(&0).unwrap();
    let seen: Vec<_> = read.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    let (full, tombstone) = ((full.key, full.value), (tombstone.key, tombstone.value));
    assert_eq!(seen, [full, tombstone, (empty, empty), full, tombstone]);
    assert_eq!(read[3].timestamp, Some(1_234));
    assert!(read[0].timestamp.is_some_and(|ms| ms > 1_600_000_000_000));
    assert_eq!(read[4].headers, headers);
    assert!(read[..4].iter().all(|r| r.headers.is_empty()));
}

#[test]
fn a_full_queue_is_waited_for_and_keeps_the_order() {
    let broker = TestBroker::shared();
    let name = broker.topic("full", 2);
    let config = broker.config();
    let role = Role::Producer { linger_ms: 1, queue_kb_max: 65_536 };
    let mut client = config.client(role).unwrap();
    client.set("queue.buffering.max.messages", "300");
    let producer = Arc::new(RawProducer::with(client, broker.brokers()).unwrap());
    let topic = producer.topic(&name).unwrap();
    write(&producer, &topic, 2, 0..5_000);
    for n in 5_000..6_000 {
        let text = n.to_string();
        (0..2).for_each(|p| {
            producer.produce_at(&topic, record(p, text.as_bytes()), 7, never).unwrap()
        });
    }
    producer.flush(never).unwrap();
    assert_whole(&config, &name, 2, 6_000);
}

#[test]
fn oracle_partitions_are_those_of_librdkafka() {
    for n in 0..5_000_u64 {
        let key: Vec<u8> = (0..n % 41).map(|i| ((n * 31 + i * 7_919) >> (i % 8)) as u8).collect();
        for partitions in [1, 2, 3, 7, 64, 1_000] {
            let (start, none) = (key.as_ptr().cast(), ptr::null_mut());
            // SAFETY: the key is alive; this partitioner uses neither topic nor opaque values.
            let theirs = unsafe {
                native::rd_kafka_msg_partitioner_murmur2(
                    ptr::null(),
                    start,
                    key.len(),
                    partitions,
                    none,
                    none,
                )
            };
            assert_eq!(partition_for(&key, partitions as usize), theirs, "{key:?}");
        }
    }
}

#[test]
fn the_embedded_broker_takes_what_is_written() {
    let broker = EmbeddedBroker::start(&[("embedded", 2)]).unwrap();
    let config = KafkaConfig::plaintext(broker.brokers());
    let producer = producer(&config);
    let topic = producer.topic("embedded").unwrap();
    write(&producer, &topic, 2, 0..5_000);
    producer.flush(never).unwrap();
    assert_whole(&config, "embedded", 2, 5_000);
}

#[test]
fn fault_a_broker_killed_and_started_again_loses_and_repeats_nothing() {
    let mut broker = TestBroker::start();
    let name = broker.topic("killed", 2);
    let config = broker.config();
    let producer = producer(&config);
    let topic = producer.topic(&name).unwrap();
    for round in 0..2 {
        let from = round * 20_000;
        write(&producer, &topic, 2, from..from + 10_000);
        broker.kill();
        write(&producer, &topic, 2, from + 10_000..from + 20_000);
        producer.flush(|| true).unwrap();
        broker.start_again();
        let since = Instant::now();
        producer.flush(|| since.elapsed() > DEADLINE).unwrap();
        assert!(since.elapsed() < DEADLINE);
    }
    assert_whole(&config, &name, 2, 40_000);
}

#[test]
fn fault_a_flush_without_a_broker_ends_when_told() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let producer = producer(&KafkaConfig::plaintext(format!("127.0.0.1:{port}")));
    let topic = producer.topic("nowhere").unwrap();
    write(&producer, &topic, 1, 0..10);
    let since = Instant::now();
    producer.flush(|| since.elapsed() > Duration::from_millis(300)).unwrap();
    let took = since.elapsed().as_millis();
    assert!((300..3_000).contains(&took), "{took} ms");
}

#[test]
fn fault_a_topic_that_is_not_there_is_named_and_the_error_stays() {
    let mut config = TestBroker::shared().config();
    // How long a topic may be on its way to all brokers before it counts as missing: 30 s unless set.
    config.options.insert("topic.metadata.propagation.max.ms".into(), "500".into());
    let name = unique_name("missing");
    let producer = producer(&config);
    let topic = producer.topic(&name).unwrap();
    write(&producer, &topic, 1, 0..10);
    let since = Instant::now();
    let flush = || producer.flush(|| since.elapsed() > DEADLINE);
    for _ in 0..2 {
        let error = flush().unwrap_err();
        assert!(
            matches!(&error, KafkaError::TopicMissing { topic, .. } if *topic == name),
            "{error}"
        );
    }
}

#[test]
fn fault_a_refused_login_is_an_error() {
    let secure = SecureBroker::start();
    let mut config = secure.sasl(SaslMechanism::ScramSha512);
    config.sasl_password = Secret::new("hunter2");
    let producer = producer(&config);
    let topic = producer.topic("secure").unwrap();
    write(&producer, &topic, 1, 0..10);
    let since = Instant::now();
    let error = producer.flush(|| since.elapsed() > DEADLINE).unwrap_err();
    assert!(matches!(error, KafkaError::Authentication { .. }), "{error}");
}

#[test]
fn fault_records_that_no_broker_would_take_are_refused_at_once() {
    let broker = TestBroker::shared();
    let name = broker.topic("refused", 1);
    let producer = producer(&broker.config());
    let topic = producer.topic(&name).unwrap();
    write(&producer, &topic, 1, 0..1);
    producer.flush(never).unwrap();
    let huge = vec![0; 2_000_000];
    for refused in [record(0, &huge), record(7, b"x")] {
        let error = producer.produce_batch(&topic, [refused].into_iter(), never).unwrap_err();
        assert!(error.to_string().contains(&name), "{error}");
        assert!(producer.produce_at(&topic, refused, 1, never).is_err());
    }
    assert!(producer.topic("zero\0byte").is_err());
}
