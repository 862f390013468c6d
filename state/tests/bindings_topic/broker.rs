//! Brokers that die and come back.

use std::thread;

use tideflow_core::ErrorKind;
use tideflow_core::kafka::KafkaError;

use super::*;

/// As many as the clock lets be in flight.
const INFLIGHT: Epoch = 16;

#[test]
fn fault_over_a_broker_that_is_killed_every_binding_is_recorded_once_and_in_order() {
    const EPOCHS: Epoch = 3_000;
    let mut broker = TestBroker::start();
    let topic = open(&broker);
    let failure = Failure::default();
    let mut log = KafkaBindingLog::new(&topic, Generation(1), failure.clone())
        .unwrap()
        .after(&start(&topic, 1).unwrap());
    let places = log.places();
    let appending = thread::spawn(move || {
        for epoch in 1..=EPOCHS {
            wait_for("an epoch is durable", || log.durable() + INFLIGHT >= epoch);
            append(&mut log, [epoch]);
        }
        wait_durable(&mut log, EPOCHS);
        log
    });
    for reached in [1_000, 2_000] {
        wait_for(&format!("epoch {reached}"), || places.of(reached).is_some());
        broker.kill();
        broker.start_again();
    }
    let log = appending.join().unwrap();
    assert!(!failure.is_set(), "{:?}", failure.take());

    let replay = start(&topic, 2).unwrap();
    assert_eq!(counts(&replay), (1..=EPOCHS).map(|epoch| (1, epoch)).collect::<Vec<_>>());
    for recorded in replay.recorded() {
        let place = log.places().of(recorded.binding.epoch).unwrap();
        assert_eq!((place.offset, place.generation), (recorded.offset, recorded.generation));
    }
    let markers = 2;
    assert_eq!(all_records(&broker, topic.name()).len() as Epoch, EPOCHS + markers);
}

#[test]
fn fault_while_the_broker_is_away_appending_never_waits_and_nothing_is_durable() {
    let mut broker = TestBroker::start();
    let topic = open(&broker);
    let failure = Failure::default();
    let mut log = KafkaBindingLog::new(&topic, Generation(1), failure.clone()).unwrap();
    let marker = mark(&topic, 1);
    append(&mut log, 1..=5);
    wait_durable(&mut log, 5);
    broker.kill();

    let since = Instant::now();
    append(&mut log, 6..=1_000);
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "appending took {took:?}");
    assert_eq!((log.durable(), log.places().of(6)), (5, None));

    let second = Duration::from_secs(1);
    let error = topic.mark(Generation(2), second).unwrap_err();
    assert!(matches!(error, KafkaError::Unreachable { after_ms: 1_000, .. }), "{error}");
    let error = topic.read(None, marker, second).unwrap_err();
    let expected = format!(
        "topic `{}` partition 0: nothing came for 1000 ms, at offset 0 of {}: ",
        topic.name(),
        marker.offset
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(log.durable(), 5);

    broker.start_again();
    wait_durable(&mut log, 1_000);
    assert!(!failure.is_set(), "{:?}", failure.take());
    let replay = start(&topic, 3).unwrap();
    assert_eq!(*replay.epochs().end(), 1_000);
}
