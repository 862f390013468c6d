//! The thread that publishes a shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tideflow_core::{BuildError, Epoch, ErrorKind, Failure, OperatorName, crash_point};

use super::{Group, Manifest, Next, Note, Shard, ShardError, group_bytes_max};

/// The records of one epoch that go to one shard.
pub trait EpochRecords: Send {
    /// About how many bytes they are.
    fn bytes(&self) -> usize;
    /// Hands all of them to the shard, whose transaction is open, in order.
    ///
    /// # Errors
    /// Those of the shard.
    fn produce(&self, shard: &mut Shard, give_up: &dyn Fn() -> bool) -> Result<(), ShardError>;
}

/// Publishes the epochs of one shard, each once.
///
/// An epoch's records are produced as soon as it is complete, and committed with the shard's progress
/// once its binding is durable too. A shard that is behind commits several epochs at a time; no shard
/// waits for another. An error ends the run: what is out stands in the shard's progress.
///
/// Memory: the epochs handed over and not yet produced, which the epochs in flight bound.
pub struct ShardPublisher {
    work: Sender<Work>,
    told: Arc<Told>,
}

enum Work {
    Close(Epoch, Box<dyn EpochRecords>),
    Durable(Epoch),
    Manifest(Manifest),
}

/// What the thread has done.
struct Told {
    published: AtomicU64,
    manifest: AtomicU64,
}

impl ShardPublisher {
    /// Starts the thread of a shard that is fenced, of which epochs up to `published` are out. `wake` is
    /// called whenever it has published something.
    pub fn start(
        shard: Shard,
        published: Epoch,
        failure: Failure,
        wake: impl Fn() + Send + 'static,
    ) -> Self {
        // Bounded by the epochs in flight: no more is handed over.
        let (work, todo) = unbounded();
        let told = Told { published: AtomicU64::new(published), manifest: AtomicU64::new(0) };
        let told = Arc::new(told);
        let name = OperatorName::new("kafka shard");
        let (told_too, wake) = (told.clone(), Box::new(wake));
        let publishing = Publishing { shard, told: told_too, failure, wake, first: true };
        name.spawn(move || {
            let failure = publishing.failure.clone();
            if let Err(error) = publishing.run(&todo) {
                let (operator, kind) = (name.as_str().to_string(), ErrorKind::Fatal);
                failure.set(BuildError { operator, kind, source: Box::new(error) });
            }
        });
        ShardPublisher { work, told }
    }

    /// Hands over the records of a complete epoch. Epochs come in order; one that is out already, in a
    /// replay, is dropped.
    pub fn close(&self, epoch: Epoch, records: Box<dyn EpochRecords>) {
        self.give(Work::Close(epoch, records));
    }

    /// The bindings of all epochs up to this one are durable.
    pub fn durable(&self, through: Epoch) {
        self.give(Work::Durable(through));
    }

    /// A manifest to be committed, so that it counts; on shard 0 only.
    pub fn manifest(&self, manifest: Manifest) {
        self.give(Work::Manifest(manifest));
    }

    /// The last epoch with records of which all are out.
    pub fn published(&self) -> Epoch {
        self.told.published.load(Ordering::Acquire)
    }

    /// The epoch of the last manifest that was committed here; 0 before the first.
    pub fn counts(&self) -> Epoch {
        self.told.manifest.load(Ordering::Acquire)
    }

    fn give(&self, work: Work) {
        // Fails after the thread has reported why it ended, which ends the run.
        let _ = self.work.send(work);
    }
}

struct Publishing {
    shard: Shard,
    told: Arc<Told>,
    failure: Failure,
    wake: Box<dyn Fn() + Send>,
    first: bool,
}

impl Publishing {
    /// Does what comes, until nobody is left to hand over more.
    fn run(mut self, todo: &Receiver<Work>) -> Result<(), ShardError> {
        let mut group = Group::new(group_bytes_max(self.shard.timeout_ms()));
        let (mut closed, mut manifest) = (VecDeque::new(), None);
        let published = self.told.published.load(Ordering::Acquire);
        while let Ok(first) = todo.recv() {
            for work in std::iter::once(first).chain(todo.try_iter()) {
                match work {
                    Work::Close(epoch, records) if epoch > published => {
                        group.close(epoch, records.bytes());
                        closed.push_back(records);
                    }
                    Work::Close(..) => {}
                    Work::Durable(through) => group.durable(through),
                    Work::Manifest(next) => manifest = Some(next),
                }
            }
            loop {
                match group.act() {
                    Next::Produce(_) => {
                        let records = closed.pop_front().expect("one for each epoch closed");
                        self.produce(&*records)?;
                    }
                    Next::Commit(epoch) => self.commit(Some(epoch), manifest.take())?,
                    Next::Wait => break,
                }
            }
            // With the next epoch, if one is under way; alone, if none is.
            if manifest.is_some() && !self.shard.is_open() {
                self.shard.begin()?;
                self.commit(None, manifest.take())?;
            }
        }
        Ok(())
    }

    fn produce(&mut self, records: &dyn EpochRecords) -> Result<(), ShardError> {
        if !self.shard.is_open() {
            self.shard.begin()?;
        }
        let failure = &self.failure;
        records.produce(&mut self.shard, &|| failure.is_set())
    }

    fn commit(&mut self, through: Option<Epoch>, next: Option<Manifest>) -> Result<(), ShardError> {
        let (epoch, counts) = (through.map(Note::Published), next.clone().map(Note::Manifest));
        let notes: Vec<Note> = epoch.into_iter().chain(counts).collect();
        crash_point("produced");
        self.shard.commit(&notes, || self.failure.is_set())?;
        crash_point("committed");
        if let Some(epoch) = through
            && std::mem::take(&mut self.first)
        {
            // What a recovery is measured by.
            tracing::info!(shard = self.shard.number(), epoch, "first results published");
        }
        let told = &self.told;
        through.inspect(|epoch| told.published.store(*epoch, Ordering::Release));
        next.inspect(|manifest| told.manifest.store(manifest.epoch, Ordering::Release));
        (self.wake)();
        Ok(())
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
