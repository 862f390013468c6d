//! What a job has cut its input into, read from its log of bindings while it runs.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tideflow::core::kafka::KafkaConfig;
use tideflow::sources::kafka::{BatchConsumer, Polled, StartOffset};

/// Where the records of an input partition end in an epoch: source, partition, offset.
pub type Cut = (String, usize, usize);

/// Who reads a job's log of bindings as it comes: the job removes what it does not need any more.
pub struct Follower {
    going: Sender<()>,
    reading: JoinHandle<Option<Vec<Value>>>,
}

impl Follower {
    /// Of the job of this name, before its first start.
    pub fn of(kafka: &KafkaConfig, job: &str) -> Follower {
        let (kafka, topic) = (kafka.clone(), format!("{job}.bindings"));
        let (going, gone) = channel();
        Follower { going, reading: std::thread::spawn(move || follow(&kafka, &topic, &gone)) }
    }

    /// The cuts of all epochs, once the job has come to its end; none where a part of the log was removed
    /// before it was read.
    pub fn cuts(self) -> Option<Vec<Vec<Cut>>> {
        drop(self.going);
        let log = self.reading.join().expect("it only reads");
        log.map(|log| effective(&log))
    }
}

/// Reads the log to where it ends once the other end of `gone` is.
fn follow(kafka: &KafkaConfig, topic: &str, gone: &Receiver<()>) -> Option<Vec<Value>> {
    let is_over = || gone.try_recv() == Err(TryRecvError::Disconnected);
    while kafka.partitions(topic).is_err() {
        if is_over() {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let mut consumer = BatchConsumer::new(kafka, topic, "tests", 65_536).expect("plain");
    let (bell, rung) = sync_channel(1);
    consumer.set_wake(Box::new(move || {
        let _ = bell.try_send(());
    }));
    consumer.assign(&[(0, 0)]).expect("it has a partition");
    let (mut entries, mut whole, mut end) = (Vec::new(), true, None);
    loop {
        let taken = consumer.poll(1_000, |polled| match polled {
            Polled::Message(m) => {
                whole &= m.offset == entries.len() as i64;
                let text = m.payload.expect("an entry has a value");
                entries.push(serde_json::from_slice::<Value>(text).expect("it is JSON"));
            }
            Polled::Eof { .. } => {}
            Polled::Error { .. } => whole = false,
        });
        if !whole {
            return None;
        }
        if end.is_none() && is_over() {
            let found = consumer.resolve(&[(0, StartOffset::Latest)]);
            let Ok(found) = found else { return None };
            end = Some(found[0].1);
        }
        if end.is_some_and(|end| entries.len() as i64 >= end) {
            return Some(entries);
        }
        if taken == 0 {
            let _ = rung.recv_timeout(Duration::from_millis(50));
        }
    }
}

/// Epoch by epoch, what the bindings say that count: none does of a generation below that of a marker
/// before it.
fn effective(log: &[Value]) -> Vec<Vec<Cut>> {
    let (mut newest, mut epochs) = (0, Vec::new());
    for entry in log {
        let generation = entry["generation"].as_u64().expect("a number");
        if entry["marker"] == true {
            newest = newest.max(generation);
        } else if generation >= newest {
            let binding = &entry["binding"];
            assert_eq!(binding["epoch"], epochs.len() + 1, "{entry}");
            let number = |value: &Value| value.as_u64().expect("a number") as usize;
            let parts = binding["parts"].as_array().expect("a list").iter();
            let cut = |part: &Value| {
                let source = part["source"].as_str().expect("a name").to_owned();
                (source, number(&part["partition"]), number(&part["next"]))
            };
            epochs.push(parts.map(cut).collect());
        }
    }
    epochs
}
