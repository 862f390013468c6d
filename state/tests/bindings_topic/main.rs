//! The log of bindings on a real broker.

mod broker;
mod faults;
mod history;
mod random;
mod settings;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tideflow_core::kafka::Role;
use tideflow_core::kafka::testing::{TestBroker, unique_name};
use tideflow_core::{Binding, BindingLog, Ending, Epoch, EventTime, Failure};
use tideflow_state::{
    BindingPlace, BindingsTopic, Copies, Entry, Generation, KafkaBindingLog, Marker,
    ReadBindingsError, Recorded, Replay, ReplayError, SnapshotAt,
};

const DEADLINE: Duration = Duration::from_secs(60);
const ONE: Copies = Copies { replication: 1, insync_min: 1 };

/// The topic of a job that nobody else has.
fn open(broker: &TestBroker) -> BindingsTopic {
    BindingsTopic::open(&broker.config(), &unique_name("job"), ONE).unwrap()
}

fn log(topic: &BindingsTopic, generation: u64) -> KafkaBindingLog {
    KafkaBindingLog::new(topic, Generation(generation), Failure::default()).unwrap()
}

fn mark(topic: &BindingsTopic, generation: u64) -> Marker {
    topic.mark(Generation(generation), DEADLINE).unwrap()
}

/// What a start of this generation finds.
fn start(topic: &BindingsTopic, generation: u64) -> Result<Replay, ReadBindingsError> {
    topic.read(None, mark(topic, generation), DEADLINE)
}

/// A binding that tells who has made it.
fn binding(epoch: Epoch, by: i64) -> Binding {
    let watermark = EventTime(0);
    let (parts, ending, chosen) = (vec![], Ending::No, Default::default());
    Binding { epoch, parts, watermark, wall_ms: by, ending, chosen }
}

fn append(log: &mut KafkaBindingLog, epochs: impl IntoIterator<Item = Epoch>) {
    epochs.into_iter().for_each(|epoch| log.append(binding(epoch, 0)));
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn wait_durable(log: &mut KafkaBindingLog, epoch: Epoch) {
    wait_for(&format!("epoch {epoch} is durable"), || log.durable() >= epoch);
}

/// Generation and epoch of what counts.
fn counts(replay: &Replay) -> Vec<(u64, Epoch)> {
    replay.recorded().iter().map(|r| (r.generation.0, r.binding.epoch)).collect()
}

/// Every record, read without any of what is tested here.
fn all_records(broker: &TestBroker, topic: &str) -> BTreeMap<i64, Vec<u8>> {
    let role = Role::Consumer { group: "tests", queue_kb_max: 65_536 };
    let consumer: BaseConsumer = broker.config().client(role).unwrap().create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let (mut all, deadline) = (BTreeMap::new(), Instant::now() + DEADLINE);
    loop {
        assert!(Instant::now() < deadline, "the end of `{topic}` is reached");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                all.insert(record.offset(), record.payload().unwrap().to_vec());
            }
            Some(Err(RdError::PartitionEOF(_))) => return all,
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
}

/// What [`Replay`] makes of a list.
fn fold(
    list: &BTreeMap<i64, Entry>,
    own: Generation,
    snapshot: Option<BindingPlace>,
) -> Result<Vec<Recorded>, ReplayError> {
    let at = snapshot.map(|s| SnapshotAt { epoch: s.epoch, binding: s.generation });
    let mut replay = Replay::new(own, at);
    for (offset, entry) in list.range(snapshot.map_or(0, |s| s.offset)..) {
        replay.take(*offset, entry.clone())?;
    }
    Ok(replay.recorded().to_vec())
}
