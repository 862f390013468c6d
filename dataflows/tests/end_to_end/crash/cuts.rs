//! `fleet_view`, killed at random: what its changelogs say after each of its cuts is what the records up to
//! that cut come to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::sources::kafka::{BatchConsumer, Polled, StartOffset};

use super::start::{SMALL, Start};
use super::view::{Entry, Held, Measured, Said, Standing, entries, over, readings};
use crate::fleet::Numbers;
use crate::fleet_view::Fleet;
use crate::python::python;
use crate::topics::{DEADLINE, Input, Sent, dump, read, send};

/// How many times it is killed.
const KILLS: usize = 8;
/// Longest life of a run that is killed, in milliseconds.
const LIFE_MS: u64 = 2_000;
/// Enough for the bindings to be read before the job removes them.
const SNAPSHOT_EVERY: &str = "--job.snapshot_every=60";

/// Reads a job's log of bindings as it comes, to where it ends once the other end of `gone` is.
fn follow(fleet: &Fleet, gone: &Receiver<()>) -> Vec<Value> {
    let topic = format!("{}.bindings", fleet.sites);
    let is_over = || gone.try_recv() == Err(TryRecvError::Disconnected);
    while fleet.kafka.partitions(&topic).is_err() {
        assert!(!is_over(), "no topic `{topic}`");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let mut consumer = BatchConsumer::new(&fleet.kafka, &topic, "tests", 65_536).expect("plain");
    let (bell, rung) = sync_channel(1);
    consumer.set_wake(Box::new(move || {
        let _ = bell.try_send(());
    }));
    consumer.assign(&[(0, 0)]).expect("it has a partition");
    let (mut entries, mut end) = (Vec::new(), None);
    loop {
        let taken = consumer.poll(1_000, |polled| match polled {
            Polled::Message(m) => {
                assert_eq!(m.offset, entries.len() as i64, "removed before it was read");
                let text = m.payload.expect("an entry has a value");
                entries.push(serde_json::from_slice::<Value>(text).expect("it is JSON"));
            }
            Polled::Eof { .. } => {}
            Polled::Error { error, .. } => panic!("{topic}: {error}"),
        });
        if end.is_none() && is_over() {
            let found = consumer.resolve(&[(0, StartOffset::Latest)]).expect("the broker answers");
            end = Some(found[0].1);
        }
        if end.is_some_and(|end| entries.len() as i64 >= end) {
            return entries;
        }
        if taken == 0 {
            let _ = rung.recv_timeout(Duration::from_millis(50));
        }
    }
}

/// Where the records of each input partition end, epoch by epoch, in the bindings that count: none does
/// of a generation below that of a marker before it.
fn cuts(log: &[Value]) -> Vec<Vec<(bool, usize, usize)>> {
    let (mut newest, mut cuts) = (0, Vec::new());
    for entry in log {
        let generation = entry["generation"].as_u64().expect("a number");
        if entry["marker"] == true {
            newest = newest.max(generation);
        } else if generation >= newest {
            let binding = &entry["binding"];
            assert_eq!(binding["epoch"], cuts.len() + 1, "{entry}");
            let number = |value: &Value| value.as_u64().expect("a number") as usize;
            let parts = binding["parts"].as_array().expect("a list").iter();
            let cut = |part: &Value| {
                (part["source"] == "registry", number(&part["partition"]), number(&part["next"]))
            };
            cuts.push(parts.map(cut).collect());
        }
    }
    cuts
}

/// What is said by the records of each partition, at their offsets.
type Partitions<T> = [Vec<Option<T>>; Fleet::PARTITIONS];

/// Sends records, and keeps what they say.
fn sent<T>(fleet: &Fleet, topic: &str, all: impl Iterator<Item = Said<T>>) -> Partitions<T> {
    let mut partitions = [const { Vec::new() }; Fleet::PARTITIONS];
    let inputs = all.map(|Said { input, what }| -> Input {
        partitions[input.partition as usize].push(what);
        input
    });
    send(&fleet.kafka, topic, inputs);
    partitions
}

/// What was said of each group, one after the other; a tombstone is null.
type Changes = BTreeMap<String, Vec<Value>>;

/// What must be said: that which holds after a cut, where it is not what held before it.
fn recomputed(
    cuts: &[Vec<(bool, usize, usize)>],
    entries: &Partitions<Entry>,
    readings: &Partitions<Measured>,
) -> [Changes; 2] {
    let (mut standing, mut changes) = (Standing::default(), [const { Changes::new() }; 2]);
    let (mut held, mut at) = ([const { Held::new() }; 2], BTreeMap::new());
    for cut in cuts {
        for (of_registry, partition, next) in cut {
            let from = at.insert((*of_registry, *partition), *next).unwrap_or(0);
            let range = from..*next;
            match of_registry {
                true => {
                    let said = entries[*partition][range].iter().flatten();
                    said.for_each(|entry| standing.entry(entry));
                }
                false => {
                    let said = readings[*partition][range].iter().flatten();
                    said.for_each(|reading| standing.reading(reading));
                }
            }
        }
        let after = standing.held();
        for ((before, after), changes) in held.iter().zip(&after).zip(&mut changes) {
            for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
                if before.get(key) != after.get(key) {
                    let value = after.get(key).cloned().unwrap_or_default();
                    changes.entry(key.clone()).or_default().push(value);
                }
            }
        }
        held = after;
    }
    let read: usize = at.values().sum();
    let all = entries.iter().map(Vec::len).chain(readings.iter().map(Vec::len)).sum::<usize>();
    assert_eq!(read, all, "the last cut is at the end");
    changes
}

/// What was said.
fn published(changelog: &[Sent]) -> Changes {
    let mut changes = Changes::new();
    for sent in changelog {
        let key = String::from_utf8(sent.key.clone().expect("a group")).expect("text");
        let value = sent.value.as_ref().map(|_| sent.json()).unwrap_or_default();
        changes.entry(key).or_default().push(value);
    }
    changes
}

/// Runs it until it ends by itself, killed on the way as often as said.
fn run_over(fleet: &Fleet) {
    let mut numbers = Numbers(19);
    let flags = [&SMALL[..], &[SNAPSHOT_EVERY]].concat();
    for kill in 0..=KILLS {
        let layout = (1 + numbers.below(2) as usize, 1 + numbers.below(2) as usize);
        let run = Start::of(|| over(fleet, &flags), layout, None, &[]);
        // Every other one wherever it is, the rest after they have published something.
        let published = match kill % 2 {
            1 if run.publishes() => run.age(),
            _ => Duration::ZERO,
        };
        let life = match kill < KILLS {
            true => published + Duration::from_millis(numbers.below(LIFE_MS)),
            false => DEADLINE,
        };
        if run.lives_for(life, |_| ()) {
            run.end_well();
            println!("{kill} kills");
            return;
        }
        run.signal("KILL");
        run.end();
    }
    panic!("it does not end");
}

#[test]
fn oracle_changelogs_of_a_killed_view_say_after_every_cut_what_is_recomputed() {
    let fleet = Fleet::new(TestBroker::shared());
    let entries = sent(&fleet, &fleet.registry, entries(23).into_iter());
    let readings = sent(&fleet, &fleet.readings, readings(29));
    let (going, gone) = channel();
    let log = std::thread::scope(|threads| {
        let of = &fleet;
        let follower = threads.spawn(move || follow(of, &gone));
        run_over(&fleet);
        drop(going);
        follower.join().expect("it has read all")
    });
    let cuts = cuts(&log);
    let expected = recomputed(&cuts, &entries, &readings);
    let [sites, regions] = [&fleet.sites, &fleet.regions].map(|topic| read(&fleet.kafka, topic));
    println!("{} cuts, {} records of sites, {} of regions", cuts.len(), sites.len(), regions.len());
    assert!(sites.iter().any(|sent| sent.value.is_none()), "the site of one device has gone");
    for (changelog, expected) in [&sites, &regions].into_iter().zip(expected) {
        let found = published(changelog);
        assert!(expected.values().map(Vec::len).sum::<usize>() > 400, "too few to show anything");
        for (group, expected) in &expected {
            let found = found.get(group).map_or(&[][..], Vec::as_slice);
            let differs = (0..).zip(expected).find(|(n, value)| found.get(*n) != Some(value));
            assert!(differs.is_none(), "{group}: {differs:?} in {found:?}");
        }
        assert_eq!(found, expected);
    }
    let folder = tempfile::tempdir().expect("a folder for a while");
    conform(folder.path(), &[("sites", sites), ("regions", regions)]);
}

/// The records are as their schemas say.
fn conform(folder: &Path, topics: &[(&str, Vec<Sent>)]) {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files: Vec<PathBuf> = Vec::new();
    for (topic, records) in topics {
        let values: Vec<_> = records.iter().filter(|r| r.value.is_some()).cloned().collect();
        let path = folder.join(topic);
        dump(&path, &values);
        files.extend([schemas.join(format!("{topic}.json")), path]);
    }
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    println!("{}", python("conform.py", &files));
}
