//! A job with shards, for tests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as RdError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tideflow_core::kafka::testing::{TestBroker, unique_name};
use tideflow_core::kafka::{KafkaConfig, Role};

use super::{
    Note, ReadProgressError, Shard, ShardConfig, ShardError, ShardProgress, TRANSACTION_TIMEOUT_MS,
    read_progress,
};
use crate::kafka::producer::TopicHandle;
use crate::kafka::record::Record;

pub(super) const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn never() -> bool {
    false
}

/// A job of two shards and one output topic of four partitions, on a broker.
pub(super) struct Job {
    pub(super) kafka: KafkaConfig,
    pub(super) id: String,
    pub(super) progress: String,
    pub(super) output: String,
}

impl Job {
    pub(super) fn on(broker: &TestBroker) -> Job {
        let (progress, output) = (broker.topic("progress", 2), broker.topic("output", 4));
        Job { kafka: broker.config(), id: unique_name("job"), progress, output }
    }

    pub(super) fn config(&self, shard: u32, generation: u64) -> ShardConfig {
        ShardConfig {
            transactional_id: format!("{}-{shard}", self.id),
            progress_topic: self.progress.clone(),
            shard,
            generation,
            timeout_ms: TRANSACTION_TIMEOUT_MS,
        }
    }

    pub(super) fn fence(&self, shard: u32, generation: u64) -> Shard {
        Shard::fence(&self.kafka, &self.config(shard, generation), never).unwrap()
    }

    /// Takes a shard over as a recovery does, and what it finds.
    pub(super) fn recover(&self, shard: u32, generation: u64) -> (Shard, ShardProgress) {
        let mut owner = self.fence(shard, generation);
        owner.commit_sentinel(never).unwrap();
        (owner, self.read(shard, generation).unwrap())
    }

    pub(super) fn read(
        &self,
        shard: u32,
        generation: u64,
    ) -> Result<ShardProgress, ReadProgressError> {
        let read = read_progress(&self.kafka, &self.config(shard, generation), 0, never)?;
        Ok(ShardProgress { needed_from: 0, ..read })
    }

    /// What a reader of committed records sees of the output, by partition.
    pub(super) fn seen(&self) -> BTreeMap<i32, Vec<String>> {
        let role = Role::Consumer { group: "tests", queue_kb_max: 65_536 };
        let consumer: BaseConsumer = self.kafka.client(role).unwrap().create().unwrap();
        let mut list = TopicPartitionList::new();
        let start = Offset::Offset(0);
        (0..4).for_each(|p| list.add_partition_offset(&self.output, p, start).unwrap());
        consumer.assign(&list).unwrap();
        let (mut all, mut ended) = (BTreeMap::<_, Vec<_>>::new(), 0);
        let deadline = Instant::now() + DEADLINE;
        while ended < 4 {
            assert!(Instant::now() < deadline, "{ended} of 4 partitions read");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(m)) => {
                    let value = String::from_utf8_lossy(m.payload().unwrap_or_default());
                    let headers = m.headers().into_iter().flat_map(|headers| headers.iter());
                    let headers: String = headers.map(|h| format!(" {}", h.key)).collect();
                    all.entry(m.partition()).or_default().push(format!("{value}{headers}"));
                }
                Some(Err(RdError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        all
    }
}

/// So many records in each partition of the shard: 0 and 2, or 1 and 3.
pub(super) fn try_write(
    owner: &mut Shard,
    topic: &TopicHandle,
    epoch: u64,
    count: usize,
) -> Result<(), ShardError> {
    let values: Vec<_> = (0..count).map(|n| format!("{epoch}.{n}")).collect();
    let shard = owner.config.shard as i32;
    let records = values.iter().flat_map(|value| {
        let value = Some(value.as_bytes());
        [shard, shard + 2].map(|partition| Record { partition, key: Some(b"k"), value })
    });
    owner.produce_batch(topic, records, never)
}

/// A transaction of one epoch.
pub(super) fn publish(
    owner: &mut Shard,
    topic: &TopicHandle,
    epoch: u64,
    count: usize,
) -> Result<(), ShardError> {
    owner.begin()?;
    try_write(owner, topic, epoch, count)?;
    owner.commit(&[Note::Published(epoch)], never)
}

/// What [`publish`] puts into a partition.
pub(super) fn whole(epochs: &[u64], count: usize) -> Vec<String> {
    epochs.iter().flat_map(|epoch| (0..count).map(move |n| format!("{epoch}.{n}"))).collect()
}

/// Waits until the brokers have all that was taken, without a commit.
pub(super) fn sent(owner: &Shard) {
    let deadline = Instant::now() + DEADLINE;
    while !owner.producer.flush_slice().unwrap() {
        assert!(Instant::now() < deadline);
    }
}

pub(super) fn epoch(epoch: u64) -> ShardProgress {
    ShardProgress { epoch: Some(epoch), ..ShardProgress::default() }
}
