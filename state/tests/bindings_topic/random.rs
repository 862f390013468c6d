//! Random histories of several generations, most of whose writers go on after they were replaced.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

const WRITERS: u64 = 4;
const READER: Generation = Generation(WRITERS + 1);

#[derive(Clone, Debug)]
enum Step {
    /// The next generation marks the log, reads it, and goes on behind what it has read; or, where
    /// something is wrong with it, behind this epoch.
    Start { wrong: Option<Epoch> },
    /// One of those started appends a few epochs.
    Append { writer: prop::sample::Index, count: u64 },
    /// All that was appended is acknowledged before the next step.
    Settle,
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => prop::option::weighted(0.1, 0_u64..12).prop_map(|wrong| Step::Start { wrong }),
        6 => (any::<prop::sample::Index>(), 1_u64..6)
            .prop_map(|(writer, count)| Step::Append { writer, count }),
        1 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..30)
}

/// A generation's log, and the next epoch.
struct Writer {
    log: KafkaBindingLog,
    next: Epoch,
}

/// Plays the steps; returns what lies in the log by what the writers were told of it.
fn play(topic: &BindingsTopic, steps: &[Step]) -> (BTreeMap<i64, Entry>, Vec<BindingPlace>) {
    let mut idle: Vec<_> = (1..=WRITERS).rev().map(|generation| log(topic, generation)).collect();
    let (mut writers, mut list) = (Vec::<Writer>::new(), BTreeMap::new());
    for step in steps {
        match step {
            Step::Start { wrong } => {
                let Some(log) = idle.pop() else { continue };
                let marker = mark(topic, writers.len() as u64 + 1);
                list.insert(marker.offset, Entry::Marker(marker.generation));
                let behind = |epoch| {
                    let binding = marker.generation;
                    Replay::new(binding, Some(SnapshotAt { epoch, binding }))
                };
                let read = topic.read(None, marker, DEADLINE);
                let replay = wrong.map(behind).or(read.ok()).unwrap_or_else(|| behind(0));
                writers.push(Writer { next: replay.epochs().end() + 1, log: log.after(&replay) });
            }
            Step::Append { writer, count } if !writers.is_empty() => {
                let index = writer.index(writers.len());
                let writer = &mut writers[index];
                for epoch in writer.next..writer.next + count {
                    writer.log.append(binding(epoch, index as i64));
                }
                writer.next += count;
            }
            Step::Append { .. } => {}
            Step::Settle => writers.iter_mut().for_each(|w| wait_durable(&mut w.log, w.next - 1)),
        }
    }
    let mut all = Vec::new();
    for (index, writer) in writers.iter_mut().enumerate() {
        wait_durable(&mut writer.log, writer.next - 1);
        let own = (1..writer.next).filter_map(|epoch| writer.log.places().of(epoch));
        for place in own.filter(|place| place.generation.0 == index as u64 + 1) {
            let entry = Entry::Binding(place.generation, binding(place.epoch, index as i64));
            assert_eq!(list.insert(place.offset, entry), None, "two at {place:?}");
            all.push(place);
        }
    }
    (list, all)
}

#[test]
fn oracle_what_counts_of_a_random_history_is_what_its_list_of_records_says() {
    let broker = TestBroker::shared();
    let config =
        Config { cases: 10, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let (whole, broken) = (Cell::new(0), Cell::new(0));
    TestRunner::new(config)
        .run(&history(), |steps| {
            let topic = open(broker);
            let (mut list, places) = play(&topic, &steps);
            let marker = topic.mark(READER, DEADLINE).unwrap();
            list.insert(marker.offset, Entry::Marker(READER));

            let raw = all_records(broker, topic.name());
            let raw: BTreeMap<_, _> =
                raw.iter().map(|(at, bytes)| (*at, Entry::decode(bytes).unwrap())).collect();
            prop_assert_eq!(&raw, &list);

            for named in std::iter::once(None).chain(places.iter().copied().step_by(7).map(Some)) {
                let expected = fold(&list, READER, named);
                let kind = if expected.is_ok() { &whole } else { &broken };
                kind.set(kind.get() + 1);
                let found = match topic.read(named, marker, DEADLINE) {
                    Ok(replay) => Ok(replay.recorded().to_vec()),
                    Err(ReadBindingsError::Replay { source, .. }) => Err(source),
                    Err(other) => panic!("{other}"),
                };
                prop_assert_eq!(found, expected, "from {:?}", named);
            }
            Ok(())
        })
        .unwrap();
    let (whole, broken) = (whole.get(), broken.get());
    assert!(whole > 5, "{whole} histories hold together, {broken} do not");
}
