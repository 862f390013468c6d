//! Logs from which nothing may go on.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tideflow_core::ErrorKind;
use tideflow_core::kafka::{NewTopic, create_topics};

use super::*;

#[test]
fn fault_a_log_that_begins_behind_what_is_needed_is_refused_by_its_offsets() {
    let topic = open(TestBroker::shared());
    let mut log = log(&topic, 1);
    append(&mut log, 1..=10);
    wait_durable(&mut log, 10);
    let places = log.places();
    let [needed, start] = [3, 7].map(|epoch| places.of(epoch).unwrap());
    topic.trim(start.offset).unwrap();
    let marker = mark(&topic, 2);
    for (named, from) in [(Some(needed), needed.offset), (None, 0)] {
        let error = topic.read(named, marker, DEADLINE).unwrap_err();
        let expected = format!(
            "topic `{}` partition 0 begins at offset {}, expected {from} or before: ",
            topic.name(),
            start.offset
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn fault_an_offset_behind_the_end_is_refused() {
    let topic = open(TestBroker::shared());
    let marker = mark(&topic, 1);
    let named = BindingPlace { epoch: 5, offset: 1_000, generation: Generation(1) };
    let error = topic.read(Some(named), marker, DEADLINE).unwrap_err();
    let expected = format!("topic `{}` partition 0: offset 1000 is not there: ", topic.name());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn fault_a_record_of_somebody_else_is_refused_by_its_offset() {
    let broker = TestBroker::shared();
    let topic = open(broker);
    mark(&topic, 1);
    let role = Role::Producer { linger_ms: 0, queue_kb_max: 65_536 };
    let foreign: BaseProducer = broker.config().client(role).unwrap().create().unwrap();
    let record = BaseRecord::<(), str>::to(topic.name()).payload("{\"v\":1,\"who\":\"me\"}");
    foreign.send(record).unwrap();
    foreign.flush(DEADLINE).unwrap();
    let error = start(&topic, 2).unwrap_err();
    let expected = format!(
        "topic `{}` partition 0 offset 1: expected an entry of version 1 of the log of bindings: ",
        topic.name()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn fault_a_manifest_of_another_log_is_refused() {
    let topic = open(TestBroker::shared());
    let mut log = log(&topic, 1);
    append(&mut log, 1..=3);
    wait_durable(&mut log, 3);
    let (marker, place) = (mark(&topic, 2), log.places().of(2).unwrap());
    for named in [
        BindingPlace { epoch: 3, ..place },
        BindingPlace { generation: Generation(7), ..place },
        BindingPlace { offset: marker.offset, ..place },
    ] {
        let error = topic.read(Some(named), marker, DEADLINE).unwrap_err();
        let expected = format!(
            "topic `{}` partition 0 offset {}: expected the binding of epoch {} by generation {}, as \
             the manifest says, found ",
            topic.name(),
            named.offset,
            named.epoch,
            named.generation
        );
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[test]
fn fault_a_marker_that_is_not_there_any_more_is_found_out() {
    let topic = open(TestBroker::shared());
    let marker = mark(&topic, 1);
    let other = Marker { offset: marker.offset, generation: Generation(2) };
    let error = topic.read(None, other, DEADLINE).unwrap_err();
    let expected = format!(
        "topic `{}` partition 0 offset 0: expected the own marker, of generation 2, found a marker of \
         generation 1 at offset 0: ",
        topic.name()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn fault_a_hole_is_refused_by_its_offset() {
    let topic = open(TestBroker::shared());
    let behind = SnapshotAt { epoch: 4, binding: Generation(1) };
    let mut log = log(&topic, 1).after(&Replay::new(Generation(1), Some(behind)));
    append(&mut log, [5]);
    wait_durable(&mut log, 5);
    let error = start(&topic, 2).unwrap_err();
    let expected = format!(
        "topic `{}` partition 0: the log of bindings has epoch 5 at offset 0, expected 1: ",
        topic.name()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn fault_a_binding_that_the_broker_refuses_ends_the_run_and_none_behind_it_is_recorded() {
    let broker = TestBroker::shared();
    let topic = open(broker);
    // The topic is made anew by somebody who wants small records.
    broker.delete_topic(topic.name());
    let small =
        NewTopic { config: &[("max.message.bytes", "2000")], ..NewTopic::new(topic.name(), 1) };
    wait_for("the topic is made anew", || {
        create_topics(&broker.config(), std::slice::from_ref(&small)).is_ok()
    });
    let failure = Failure::default();
    let mut log = KafkaBindingLog::new(&topic, Generation(1), failure.clone()).unwrap();
    append(&mut log, 1..=2);
    wait_durable(&mut log, 2);
    let part = tideflow_core::Part {
        source: "s".repeat(3_000),
        partition: 0,
        from: None,
        next: 0,
        watermark: EventTime(0),
        state: tideflow_core::PartState::Active,
    };
    log.append(Binding { parts: vec![part], ..binding(3, 0) });
    // These are with the producer before it knows, not in the same batch.
    let mut next = 4..;
    wait_for("the run fails", || {
        append(&mut log, next.by_ref().take(5));
        failure.is_set()
    });
    append(&mut log, next.take(10));
    assert_eq!(log.durable(), 2);
    let error = failure.take().unwrap().to_string();
    let expected = "`epoch bindings`: recording epoch 3 (";
    assert!(error.starts_with(expected) && error.contains(topic.name()), "{error}");
    drop(log);
    assert_eq!(all_records(broker, topic.name()).len(), 2);
    assert_eq!(counts(&start(&topic, 2).unwrap()), [(1, 1), (1, 2)]);
}

#[test]
fn fault_a_binding_too_large_for_any_broker_ends_the_run() {
    let topic = open(TestBroker::shared());
    let failure = Failure::default();
    let mut log = KafkaBindingLog::new(&topic, Generation(1), failure.clone()).unwrap();
    let part = tideflow_core::Part {
        source: "s".repeat(1_100_000),
        partition: 0,
        from: None,
        next: 0,
        watermark: EventTime(0),
        state: tideflow_core::PartState::Active,
    };
    log.append(Binding { parts: vec![part], ..binding(1, 0) });
    let error = failure.take().unwrap().to_string();
    assert!(error.starts_with("`epoch bindings`: recording epoch 1 (1100"), "{error}");
}
