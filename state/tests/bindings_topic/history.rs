//! Generations after one another, and beside one another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tideflow_core::ErrorKind;

use super::*;

#[test]
fn a_generation_goes_on_behind_what_those_before_it_have_bound() {
    let topic = open(TestBroker::shared());
    let mut all = Vec::new();
    for generation in 1..=3 {
        let mut log = log(&topic, generation);
        let replay = start(&topic, generation).unwrap();
        assert_eq!(counts(&replay), all);
        let bound = all.len() as Epoch;
        let mut log = {
            assert_eq!(log.durable(), 0);
            log.after(&replay)
        };
        assert_eq!(log.durable(), bound);
        append(&mut log, bound + 1..=bound + 10);
        wait_durable(&mut log, bound + 10);
        all.extend((bound + 1..=bound + 10).map(|epoch| (generation, epoch)));
        // The places are those of the records, the older generations' included.
        let places = log.places();
        let expected: Vec<_> = all.iter().map(|(by, epoch)| (*by, *epoch)).collect();
        let found = (1..=bound + 10).map(|epoch| places.of(epoch).unwrap());
        let found: Vec<_> = found.map(|place| (place.generation.0, place.epoch)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_zombie_that_goes_on_appending_behind_its_successors_marker_does_not_count() {
    let topic = open(TestBroker::shared());
    let (mut first, mut second) = (log(&topic, 1), log(&topic, 2));
    first = first.after(&start(&topic, 1).unwrap());
    append(&mut first, 1..=5);
    wait_durable(&mut first, 5);

    let replay = start(&topic, 2).unwrap();
    assert_eq!(counts(&replay), (1..=5).map(|epoch| (1, epoch)).collect::<Vec<_>>());
    second = second.after(&replay);
    for epoch in 6..=30 {
        append(&mut first, [epoch]);
        append(&mut second, [epoch]);
        // Both are acknowledged: nothing in Kafka stops the first.
        wait_durable(&mut first, epoch);
        wait_durable(&mut second, epoch);
    }

    let marker = mark(&topic, 3);
    append(&mut first, 31..=40);
    wait_durable(&mut first, 40);
    let replay = topic.read(None, marker, DEADLINE).unwrap();
    let by = |epoch| if epoch <= 5 { 1 } else { 2 };
    let expected: Vec<_> = (1..=30).map(|epoch| (by(epoch), epoch)).collect();
    assert_eq!(counts(&replay), expected);

    // The same from the place of a snapshot's binding, whoever has made the manifest.
    for epoch in [3, 5, 6, 29, 30] {
        let named = if by(epoch) == 1 { first.places() } else { second.places() }.of(epoch);
        let replay = topic.read(named, marker, DEADLINE).unwrap();
        assert_eq!(counts(&replay), expected[epoch as usize..], "from epoch {epoch}");
    }
}

#[test]
fn a_generation_whose_successor_has_marked_the_log_is_told_so() {
    let topic = open(TestBroker::shared());
    mark(&topic, 3);
    let error = start(&topic, 2).unwrap_err();
    let expected = format!(
        "topic `{}` partition 0: generation 3 has taken over from generation 2",
        topic.name()
    );
    assert_eq!((error.to_string(), error.kind()), (expected, ErrorKind::Fatal));
}

#[test]
fn the_callback_comes_when_an_epoch_becomes_durable() {
    let topic = open(TestBroker::shared());
    let mut log = log(&topic, 1);
    let (calls, waiting) = (Arc::new(AtomicU64::new(0)), std::thread::current());
    let counted = calls.clone();
    log.wake_with(Box::new(move || {
        counted.fetch_add(1, Ordering::Release);
        waiting.unpark();
    }));
    for epoch in 1..=20 {
        append(&mut log, [epoch]);
        let deadline = Instant::now() + DEADLINE;
        while calls.load(Ordering::Acquire) < epoch {
            assert!(Instant::now() < deadline, "epoch {epoch}");
            std::thread::park_timeout(DEADLINE);
        }
        assert_eq!(log.durable(), epoch);
    }
}

#[test]
fn a_trimmed_log_goes_on_from_the_place_that_it_was_trimmed_to() {
    let broker = TestBroker::shared();
    let topic = open(broker);
    let mut log = log(&topic, 1);
    append(&mut log, 1..=10);
    wait_durable(&mut log, 10);
    let (places, kept) = (log.places(), log.places().of(7).unwrap());
    assert_eq!(topic.trim(kept.offset).unwrap(), kept.offset);
    places.forget_before(kept.offset);
    assert_eq!((places.of(6), places.of(7)), (None, Some(kept)));
    append(&mut log, [11]);
    wait_durable(&mut log, 11);
    let replay = topic.read(Some(kept), mark(&topic, 2), DEADLINE).unwrap();
    assert_eq!(counts(&replay), [(1, 8), (1, 9), (1, 10), (1, 11)]);
    assert_eq!(all_records(broker, topic.name()).keys().next(), Some(&kept.offset));
}
