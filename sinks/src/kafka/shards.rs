//! The shards that a worker owns, and what all sinks of the graph have for them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tideflow_core::kafka::{KafkaConfig, KafkaError};
use tideflow_core::prometheus::{Histogram, IntCounter};
use tideflow_core::timely::scheduling::SyncActivator;
use tideflow_core::{Epoch, ErrorKind, Failure, Sink, SinkStart};

use super::arena::Arena;
use super::producer::TopicHandle;
use super::shard::{EpochRecords, Manifest, Shard, ShardError, ShardPublisher};

/// Encoded records on their way to the owner of a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    pub(super) shard: u32,
    pub(super) arena: Arena,
}

/// A job's shards, as one worker of it sees them: put into the graph with
/// [`Flow::local`](tideflow_core::Flow::local), it makes every Kafka sink publish exactly once.
///
/// Shard `i` is owned by worker `i`, modulo the number of workers. An epoch of a shard is handed to its
/// thread when all sinks have all of it, so that its records, whatever topics they go to, become visible
/// together. Memory: the encoded records of the epochs in flight.
#[derive(Clone)]
pub struct Shards {
    count: u32,
    kafka: KafkaConfig,
    wakers: Wakers,
    /// The number of partitions that a replay must find keys in, by topic.
    recorded: Rc<BTreeMap<String, usize>>,
    inner: Rc<RefCell<Inner>>,
}

/// The operators that wait for something to be published.
type Wakers = Arc<Mutex<Vec<SyncActivator>>>;

fn wake_all(wakers: &Wakers) {
    for waker in wakers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let _ = waker.activate(); // fails when the worker has ended, which needs no waking
    }
}

#[derive(Default)]
struct Inner {
    own: BTreeMap<u32, OwnShard>,
    sinks: Vec<SinkState>,
    /// All epochs up to this one are handed over.
    closed: Epoch,
    durable: Epoch,
    /// The last epoch of which every shard's records are out, by earlier starts.
    out: Epoch,
    /// The number of partitions of each topic, as this run writes it.
    outputs: BTreeMap<String, usize>,
}

struct OwnShard {
    stage: Stage,
    /// Epochs that are not handed over yet.
    open: BTreeMap<Epoch, Vec<Topical>>,
    /// Epochs that are, and are not published yet.
    waiting: VecDeque<Waiting>,
}

enum Stage {
    /// While the graph is being built.
    Fenced(Box<Shard>, Epoch),
    Publishing(ShardPublisher),
}

struct SinkState {
    complete: Epoch,
    records: IntCounter,
    seconds: Histogram,
}

struct Waiting {
    epoch: Epoch,
    since: Instant,
    /// The number of each sink's records.
    records: Vec<(usize, usize)>,
}

/// Records of one sink's topic.
struct Topical {
    sink: usize,
    topic: Arc<TopicHandle>,
    arena: Arena,
}

impl EpochRecords for Vec<Topical> {
    fn bytes(&self) -> usize {
        self.iter().map(|t| t.arena.bytes()).sum()
    }

    fn produce(&self, shard: &mut Shard, give_up: &dyn Fn() -> bool) -> Result<(), ShardError> {
        self.iter().try_for_each(|Topical { topic, arena, .. }| {
            for (headers, mut records) in arena.runs() {
                match headers {
                    [] => shard.produce_batch(topic, records, give_up)?,
                    _ => records.try_for_each(|record| {
                        shard.produce_with_headers(topic, record, headers, give_up)
                    })?,
                }
            }
            arena.letters().try_for_each(|(record, headers)| {
                shard.produce_with_headers(topic, record, headers, give_up)
            })
        })
    }
}

impl Shards {
    /// Those of the job's `count` shards that this worker owns: fenced, each with the last epoch that is
    /// published of it.
    pub fn new(kafka: &KafkaConfig, count: u32, own: Vec<(Shard, Epoch)>) -> Self {
        let fenced = |(shard, published): (Shard, Epoch)| {
            let stage = Stage::Fenced(Box::new(shard), published);
            let number = stage.number();
            (number, OwnShard { stage, open: BTreeMap::new(), waiting: VecDeque::new() })
        };
        let own = own.into_iter().map(fenced).collect();
        let inner = Rc::new(RefCell::new(Inner { own, ..Inner::default() }));
        let (wakers, recorded) = (Wakers::default(), Rc::default());
        Shards { count, kafka: kafka.clone(), wakers, recorded, inner }
    }

    /// For a run that replays what an earlier one has published of some shards, and of others not: keys go to
    /// the shards that they went to then. `recorded` are that run's [`Shards::outputs`]. Epochs up to `out` are
    /// published of all shards, whichever their keys went to.
    #[must_use]
    pub fn replaying(self, recorded: BTreeMap<String, usize>, out: Epoch) -> Self {
        self.inner.borrow_mut().out = out;
        Shards { recorded: Rc::new(recorded), ..self }
    }

    /// The number of partitions that each topic is written with.
    pub fn outputs(&self) -> BTreeMap<String, usize> {
        self.inner.borrow().outputs.clone()
    }

    /// The number of partitions to write a topic with: as many as it has or, in a replay, had.
    pub(super) fn partitions(&self, topic: &str) -> Result<usize, KafkaError> {
        let found = self.kafka.partitions(topic)?;
        let partitions = match self.recorded.get(topic) {
            Some(recorded) if *recorded > found => {
                return Err(KafkaError::Client {
                    doing: format!("replaying into topic `{topic}`"),
                    reason: format!("expected {recorded} partitions as before, found {found}"),
                    kind: ErrorKind::Invalid,
                });
            }
            Some(recorded) => *recorded,
            None => found,
        };
        self.inner.borrow_mut().outputs.insert(topic.to_string(), partitions);
        Ok(partitions)
    }

    /// Starts the shards' threads: to be called when all sinks are there.
    pub fn start(&self, failure: &Failure) {
        let own = std::mem::take(&mut self.inner.borrow_mut().own);
        let started = own.into_iter().map(|(number, shard)| {
            let Stage::Fenced(fenced, published) = shard.stage else {
                unreachable!("shards are started once")
            };
            let wakers = self.wakers.clone();
            let wake = move || wake_all(&wakers);
            let publisher = ShardPublisher::start(*fenced, published, failure.clone(), wake);
            (number, OwnShard { stage: Stage::Publishing(publisher), ..shard })
        });
        let started = started.collect();
        self.inner.borrow_mut().own = started;
    }

    /// Has an operator woken whenever something has been published.
    pub fn wake(&self, waker: SyncActivator) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push(waker);
    }

    /// A manifest to be committed by shard 0, on the worker that owns it.
    pub fn manifest(&self, manifest: Manifest) {
        if let Some(publisher) = self.inner.borrow().own.get(&0).and_then(OwnShard::publisher) {
            publisher.manifest(manifest);
        }
    }

    /// The epoch of the last manifest that shard 0 has committed here; 0 before the first.
    pub fn counts(&self) -> Epoch {
        let inner = self.inner.borrow();
        inner.own.get(&0).and_then(OwnShard::publisher).map_or(0, ShardPublisher::counts)
    }

    /// The last epoch with records that is published of each shard owned here.
    pub fn progress(&self) -> Vec<(u32, Epoch)> {
        let inner = self.inner.borrow();
        let own = inner.own.iter();
        own.filter_map(|(number, s)| Some((*number, s.publisher()?.published()))).collect()
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn kafka(&self) -> &KafkaConfig {
        &self.kafka
    }

    /// One more sink, to this topic.
    pub(super) fn sink(
        &self,
        topic: &str,
        start: &SinkStart<'_, '_>,
    ) -> Result<ShardSink, KafkaError> {
        let (metrics, label) = (&start.flow.job().metrics, [start.name.as_str()]);
        let mut inner = self.inner.borrow_mut();
        let mut topics = BTreeMap::new();
        for (number, own) in &inner.own {
            if let Stage::Fenced(shard, _) = &own.stage {
                topics.insert(*number, Arc::new(shard.topic(topic)?));
            }
        }
        inner.sinks.push(SinkState {
            complete: 0,
            records: metrics.sink_records.with_label_values(&label),
            seconds: metrics.sink_seconds.with_label_values(&label),
        });
        self.wake(start.waker.clone());
        Ok(ShardSink { shards: self.clone(), sink: inner.sinks.len() - 1, topics })
    }
}

impl Stage {
    fn number(&self) -> u32 {
        match self {
            Stage::Fenced(shard, _) => shard.number(),
            Stage::Publishing(_) => unreachable!("asked before the start"),
        }
    }
}

impl OwnShard {
    fn publisher(&self) -> Option<&ShardPublisher> {
        match &self.stage {
            Stage::Publishing(publisher) => Some(publisher),
            Stage::Fenced(..) => None,
        }
    }

    /// Hands over all epochs up to this one; true when one of them is out already, as those up to `out` are.
    fn close(&mut self, through: Epoch, out: Epoch) -> bool {
        let mut was_out = false;
        while let Some(first) = self.open.first_entry()
            && *first.key() <= through
        {
            let (epoch, records) = first.remove_entry();
            let published = self.publisher().map_or(0, ShardPublisher::published);
            if epoch <= published.max(out) {
                // By an earlier start: this one replays it, and has published nothing.
                was_out = true;
                continue;
            }
            let counts = records.iter().map(|t| (t.sink, t.arena.len())).collect();
            self.waiting.push_back(Waiting { epoch, since: Instant::now(), records: counts });
            if let Some(publisher) = self.publisher() {
                publisher.close(epoch, Box::new(records));
            }
        }
        was_out
    }
}

impl Inner {
    /// True when an epoch is out of which the other sinks may hold records: no thread will wake them.
    fn complete(&mut self, sink: usize, through: Epoch) -> bool {
        self.sinks[sink].complete = through;
        let all = self.sinks.iter().map(|s| s.complete).min().unwrap_or_default();
        if all <= self.closed {
            return false;
        }
        self.closed = all;
        let out = self.out;
        self.own.values_mut().fold(false, |any, shard| shard.close(all, out) | any)
    }

    fn durable(&mut self, through: Epoch) {
        if through > self.durable {
            self.durable = through;
            self.own.values().filter_map(OwnShard::publisher).for_each(|p| p.durable(through));
        }
    }

    /// The last epoch of which everything is out.
    fn published(&mut self) -> Epoch {
        let mut out = self.closed;
        for shard in self.own.values_mut() {
            let published = shard.publisher().map_or(0, ShardPublisher::published);
            while let Some(done) = shard.waiting.pop_front_if(|w| w.epoch <= published) {
                for (sink, records) in done.records {
                    self.sinks[sink].records.inc_by(records as u64);
                    self.sinks[sink].seconds.observe(done.since.elapsed().as_secs_f64());
                }
            }
            if let Some(next) = shard.waiting.front() {
                out = out.min(next.epoch - 1);
            }
        }
        out
    }
}

/// A topic's records on the worker that owns their shards.
pub struct ShardSink {
    shards: Shards,
    sink: usize,
    topics: BTreeMap<u32, Arc<TopicHandle>>,
}

impl Sink<Parcel> for ShardSink {
    fn take(&mut self, epoch: Epoch, parcels: &mut Vec<Parcel>) {
        let mut inner = self.shards.inner.borrow_mut();
        for Parcel { shard, arena } in parcels.drain(..) {
            let topic = self.topics[&shard].clone();
            let own = inner.own.get_mut(&shard).expect("parcels go to the shard's owner");
            own.open.entry(epoch).or_default().push(Topical { sink: self.sink, topic, arena });
        }
    }

    fn close(&mut self, _epoch: Epoch) {}

    fn published(&mut self) -> Epoch {
        self.shards.inner.borrow_mut().published()
    }

    fn complete(&mut self, through: Epoch) {
        if self.shards.inner.borrow_mut().complete(self.sink, through) {
            wake_all(&self.shards.wakers);
        }
    }

    fn durable(&mut self, through: Epoch) {
        self.shards.inner.borrow_mut().durable(through);
    }
}
