use std::time::{Duration, Instant};

use tideflow_core::kafka::testing::TestBroker;

use super::*;
use crate::kafka::TopicHandle;
use crate::kafka::shard::ShardProgress;
use crate::kafka::shard::job::{DEADLINE, Job, try_write, whole};

/// So many records of an epoch, in each partition of the shard.
struct Numbered {
    topic: Arc<TopicHandle>,
    epoch: u64,
    count: usize,
}

impl EpochRecords for Numbered {
    fn bytes(&self) -> usize {
        2 * 8 * self.count
    }

    fn produce(&self, shard: &mut Shard, _: &dyn Fn() -> bool) -> Result<(), ShardError> {
        try_write(shard, &self.topic, self.epoch, self.count)
    }
}

/// A shard at work as in a graph: its publisher, and what it writes to.
struct AtWork {
    publisher: ShardPublisher,
    topic: Arc<TopicHandle>,
    failure: Failure,
}

impl AtWork {
    fn start(job: &Job, generation: u64) -> (AtWork, ShardProgress) {
        let (owner, found) = job.recover(0, generation);
        let topic = Arc::new(owner.topic(&job.output).unwrap());
        let failure = Failure::default();
        let published = found.epoch.unwrap_or_default();
        let publisher = ShardPublisher::start(owner, published, failure.clone(), || ());
        (AtWork { publisher, topic, failure }, found)
    }

    fn close(&self, epoch: u64, count: usize) {
        let records = Numbered { topic: self.topic.clone(), epoch, count };
        self.publisher.close(epoch, Box::new(records));
    }

    fn wait(&self, what: &str, done: impl Fn(&ShardPublisher) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(&self.publisher) {
            assert!(!self.failure.is_set(), "{}", self.failure.take().unwrap());
            assert!(Instant::now() < deadline, "no {what}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_publisher_publishes_every_epoch_once_and_none_before_it_is_durable() {
    let job = Job::on(TestBroker::shared());
    let (work, _) = AtWork::start(&job, 1);
    // Every third epoch has nothing for this shard. The first are durable late.
    let epochs: Vec<u64> = (1..=90).filter(|epoch| epoch % 3 != 0).collect();
    for epoch in &epochs {
        work.close(*epoch, 5);
    }
    work.publisher.durable(4);
    work.wait("fourth epoch", |p| p.published() == 4);
    assert_eq!(job.seen()[&0], whole(&[1, 2, 4], 5));
    work.publisher.durable(90);
    work.wait("last epoch", |p| p.published() == 89);
    assert_eq!(job.seen()[&0], whole(&epochs, 5));
    assert_eq!(job.seen()[&2], whole(&epochs, 5));

    // A manifest counts with the next epoch, or by itself where none is under way.
    let manifest = |epoch| Manifest { generation: 1, epoch, name: format!("1-{epoch}") };
    work.publisher.manifest(manifest(80));
    work.wait("manifest", |p| p.counts() == 80);
    work.close(91, 1);
    work.publisher.manifest(manifest(90));
    work.publisher.durable(91);
    work.wait("second manifest", |p| (p.published(), p.counts()) == (91, 90));
    let (_, found) = job.recover(0, 2);
    let manifests = vec![manifest(80), manifest(90)];
    assert_eq!(found, ShardProgress { epoch: Some(91), manifests, needed_from: 0 });
}

#[test]
fn fault_a_successor_takes_over_from_a_publisher_and_nothing_is_lost_or_twice() {
    let job = Job::on(TestBroker::shared());
    let (mut work, mut found) = AtWork::start(&job, 1);
    // Each generation is fenced by the next while it is publishing. Bindings are the same: epochs are.
    for generation in 2..6 {
        let from = found.epoch.unwrap_or_default();
        let (next, progress) = std::thread::scope(|threads| {
            threads.spawn(|| {
                // A replay hands over what is out already, too; then come new ones, until it is told.
                for epoch in (1..).take_while(|_| !work.failure.is_set()) {
                    work.close(epoch, 3);
                    work.publisher.durable(epoch);
                    if epoch > from {
                        std::thread::park_timeout(Duration::from_millis(1));
                    }
                }
            });
            work.wait("progress", |p| p.published() > from);
            AtWork::start(&job, generation)
        });
        let error = work.failure.take().expect("it was told").to_string();
        assert!(error.contains("was taken over by another process"), "{error}");
        (work, found) = (next, progress);
    }
    let last = found.epoch.unwrap();
    let all: Vec<u64> = (1..=last).collect();
    let seen = job.seen();
    assert_eq!((&seen[&0], &seen[&2]), (&whole(&all, 3), &whole(&all, 3)));
}
