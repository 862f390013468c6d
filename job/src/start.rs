//! A start of a job, in the order that makes it safe: whoever was there before cannot publish any more
//! when what they have left is read.

use std::sync::Arc;
use std::thread;

use tideflow_core::kafka::{KafkaConfig, delete_records, offsets};
use tideflow_core::{Epoch, Failure, Resume, Standing, crash_point};
use tideflow_sinks::files::Counted;
use tideflow_sinks::kafka::shard::{Shard, ShardConfig, ShardProgress, read_progress};
use tideflow_state::{
    BindingsTopic, Generation, Manifest, Replay, Store, Superseded, Topics, check_log_topic,
    open_log_topic,
};

use crate::{JobConfig, StartError};

/// The job's name and what its starts need.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub name: String,
    pub config: JobConfig,
    pub kafka: KafkaConfig,
}

/// What a start has found, and holds from now on.
pub(crate) struct Started {
    pub generation: Generation,
    pub store: Arc<Store>,
    pub bindings: BindingsTopic,
    pub manifest: Option<Manifest>,
    /// The names of the snapshots that count, newest last.
    pub counted: Vec<String>,
    /// The last snapshot that counts: that of `manifest`, unless an earlier one was asked for.
    pub counts: Option<Counted>,
    pub replay: Replay,
    /// All of them, fenced, each with the last epoch that is published of it.
    pub shards: Vec<(Shard, Epoch)>,
}

/// What earlier starts have left in the store, in the order in which a start writes it.
enum Past {
    Nothing,
    /// The job's own topics were made before it was taken.
    Generation,
    /// The job's own topics were written before this was.
    Topics(Topics),
}

impl Started {
    /// Where the graph goes on. Asked once.
    pub fn resume(&mut self) -> Resume {
        let snapshot = self.manifest.as_ref().map(|m| {
            let (epoch, watermark, parts) = (m.epoch, m.watermark, m.parts.clone());
            Standing { epoch, watermark, parts, chosen: m.chosen.clone() }
        });
        let published = self.shards.iter().map(|(_, published)| *published).max().unwrap_or(0);
        let rulings = self.replay.rulings().into();
        Resume { snapshot, recorded: self.replay.give_bindings().into(), rulings, published }
    }
}

impl Job {
    pub fn store(&self) -> Result<Arc<Store>, StartError> {
        Ok(Arc::new(Store::open(&self.config.state, &self.name)?))
    }

    /// The job's store; none where its first start will make the folder.
    ///
    /// What a job leaves in the store and in its topics belongs together: where one of them is gone, it would
    /// begin anew, and publish anew, without a word. A disk that is not mounted looks like that, and so does
    /// another cluster.
    pub fn find_store(&self) -> Result<Option<Arc<Store>>, StartError> {
        let state = &self.config.state;
        Store::check_job(state, &self.name)?;
        let (store, past) = self.look_into_store()?;
        if let Past::Topics(topics) = &past {
            self.check_cluster(topics)?;
        }
        for (topic, partitions) in self.own_topics() {
            let there = check_log_topic(&self.kafka, &topic, partitions, self.config.copies())?;
            let offsets = if there { offsets(&self.kafka, &topic)? } else { Vec::new() };
            let state = state.clone();
            match past {
                Past::Nothing if offsets.iter().all(|(_, offsets)| offsets.end == 0) => {}
                // By another first start, perhaps, that has begun meanwhile: looked at again.
                Past::Nothing if !matches!(self.look_into_store()?.1, Past::Nothing) => {}
                Past::Nothing => return Err(StartError::StoreAway { state, topic }),
                _ if !there => return Err(StartError::TopicAway { state, topic }),
                Past::Generation => {}
                // Each has a sentinel or a marker, or what came later: a job leaves the last offset.
                Past::Topics(_) => {
                    if let Some((partition, _)) = offsets.iter().find(|(_, o)| o.is_empty()) {
                        let partition = *partition;
                        return Err(StartError::TopicEmpty { state, topic, partition });
                    }
                }
            }
        }
        Ok(store)
    }

    /// The newest generation; 0 before the first start, which makes the folder.
    pub fn generation(&self) -> Result<Generation, StartError> {
        match Store::is_there(&self.config.state) {
            true => Ok(self.store()?.generation()?),
            false => Ok(Generation(0)),
        }
    }

    /// The store, if it is there, and what earlier starts have left in it.
    fn look_into_store(&self) -> Result<(Option<Arc<Store>>, Past), StartError> {
        if !Store::is_there(&self.config.state) {
            return Ok((None, Past::Nothing));
        }
        let store = self.store()?;
        let past = match store.generation()? {
            Generation(0) => Past::Nothing,
            _ => store.topics()?.map_or(Past::Generation, Past::Topics),
        };
        Ok((Some(store), past))
    }

    /// Offsets are those of one cluster.
    fn check_cluster(&self, topics: &Topics) -> Result<(), StartError> {
        let (expected, found) = (topics.cluster.clone(), self.kafka.cluster_id()?);
        if expected.is_empty() || found.is_empty() || expected == found {
            return Ok(());
        }
        Err(StartError::OtherCluster { state: self.config.state.clone(), expected, found })
    }

    /// The topics of the job's own, with their partitions.
    pub fn own_topics(&self) -> [(String, usize); 2] {
        [
            (BindingsTopic::name_for(&self.name), 1),
            (self.progress_topic(), self.config.shards as usize),
        ]
    }

    fn find_or_make_store(&self) -> Result<Arc<Store>, StartError> {
        match self.find_store()? {
            Some(store) => Ok(store),
            None => {
                Store::make_place(&self.config.state)?;
                self.store()
            }
        }
    }

    pub fn progress_topic(&self) -> String {
        format!("{}.progress", self.name)
    }

    /// Takes the job over.
    pub fn start(&self, failure: &Failure) -> Result<Started, StartError> {
        let store = self.find_or_make_store()?;
        let bindings = BindingsTopic::open(&self.kafka, &self.name, self.config.copies())?;
        let shards = self.config.shards as usize;
        open_log_topic(&self.kafka, &self.progress_topic(), shards, self.config.copies())?;
        let generation = store.take_generation()?;
        tracing::info!(job = self.name, generation = generation.0, "taking over");
        crash_point("generation taken");
        let started = self.take_over(store.clone(), bindings, generation, failure);
        // A later start may have changed what this one is reading: that is told, not what came of it.
        started.map_err(|error| newest(&store, generation).err().unwrap_or(error))
    }

    fn take_over(
        &self,
        store: Arc<Store>,
        bindings: BindingsTopic,
        generation: Generation,
        failure: &Failure,
    ) -> Result<Started, StartError> {
        let mut fenced = self.all_shards(|shard| self.fence(shard, generation, failure))?;
        // Who took a later generation may have fenced before us, and must not be fenced by us unnoticed.
        newest(&store, generation)?;
        crash_point("shards fenced");
        let progress = in_parallel(fenced.iter_mut(), |shard| {
            let sentinel = shard.commit_sentinel(|| failure.is_set())?;
            let config = self.shard_config(shard.number(), generation);
            Ok(read_progress(&self.kafka, &config, sentinel, || failure.is_set())?)
        })?;
        crash_point("sentinels committed");
        let marker = bindings.mark(generation, self.kafka.connect_timeout())?;
        crash_point("marker acknowledged");
        let counted = progress.first().map_or(&[][..], |shard_0| &shard_0.manifests);
        let counts = counted.last();
        let counted: Vec<String> = counted.iter().map(|manifest| manifest.name.clone()).collect();
        let manifest = match (self.config.snapshot.as_str(), counted.last()) {
            ("", None) => None,
            ("", Some(name)) => {
                let read = store.manifest(name);
                Some(read.map_err(|error| StartError::of_snapshot(error, name, &counted, &store))?)
            }
            (asked, _) => Some(asked_for(&store, &counted, asked)?),
        };
        let from = manifest.as_ref().map(Manifest::binding);
        let replay = bindings.read(from, marker, self.kafka.connect_timeout())?;
        let published = published(manifest.as_ref(), &progress, *replay.epochs().end())?;
        self.trim_progress(&progress);
        tracing::info!(
            generation = generation.0,
            snapshot = manifest.as_ref().map_or(0, |m| m.epoch),
            replaying = replay.recorded().len(),
            "taken over"
        );
        let counts = counts.map(|m| Counted { generation: m.generation, epoch: m.epoch });
        let shards = fenced.into_iter().zip(published).collect();
        Ok(Started { generation, store, bindings, manifest, counted, counts, replay, shards })
    }

    /// Deletes the progress that no start needs any more. Nothing waits for it.
    fn trim_progress(&self, progress: &[ShardProgress]) {
        let needed = (0..).zip(progress).map(|(shard, p)| (shard, p.needed_from));
        let (kafka, topic, needed) =
            (self.kafka.clone(), self.progress_topic(), needed.collect::<Vec<_>>());
        thread::spawn(move || {
            if let Err(error) = delete_records(&kafka, &topic, &needed) {
                tracing::warn!(topic, %error, "what is not needed of the progress is left there");
            }
        });
    }

    /// Takes one shard over.
    pub fn fence(
        &self,
        shard: u32,
        generation: Generation,
        failure: &Failure,
    ) -> Result<Shard, StartError> {
        let config = self.shard_config(shard, generation);
        Ok(Shard::fence(&self.kafka, &config, || failure.is_set())?)
    }

    pub fn all_shards<T: Send>(
        &self,
        act: impl Fn(u32) -> Result<T, StartError> + Sync,
    ) -> Result<Vec<T>, StartError> {
        in_parallel(0..self.config.shards, act)
    }

    fn shard_config(&self, shard: u32, generation: Generation) -> ShardConfig {
        ShardConfig {
            transactional_id: format!("{}-{shard}", self.name),
            progress_topic: self.progress_topic(),
            shard,
            generation: generation.0,
            timeout_ms: self.config.transaction_timeout_ms,
        }
    }
}

/// That nobody has taken a later generation.
pub(crate) fn newest(store: &Store, own: Generation) -> Result<(), StartError> {
    match store.generation_since(own)? {
        by if by > own => Err(Superseded { own, by }.into()),
        _ => Ok(()),
    }
}

/// The manifest that a user has named: one of those that count.
pub(crate) fn asked_for(
    store: &Store,
    counted: &[String],
    name: &str,
) -> Result<Manifest, StartError> {
    match counted.iter().any(|counted| counted == name) {
        true => Ok(store.manifest(name)?),
        false => Err(StartError::no_snapshot(name, counted)),
    }
}

/// The last epoch with records that each shard has published: what its progress says and, where that was
/// trimmed, what the snapshot does. For a shard that had nothing to say it lies before the snapshot, and
/// stays there in the next one: a later start finds the same in its progress.
fn published(
    manifest: Option<&Manifest>,
    progress: &[ShardProgress],
    most: Epoch,
) -> Result<Vec<Epoch>, StartError> {
    if let Some(manifest) = manifest
        && manifest.progress.len() != progress.len()
    {
        let (expected, found) = (progress.len() as u32, manifest.progress.len());
        return Err(StartError::Shards { expected, found });
    }
    let of = |(shard, progress): (usize, &ShardProgress)| {
        let least = manifest.map_or(0, |m| m.progress[shard]);
        let published = progress.epoch.unwrap_or(least);
        if (least..=most).contains(&published) {
            Ok(published)
        } else {
            Err(StartError::Published { shard, published, least, most })
        }
    };
    progress.iter().enumerate().map(of).collect()
}

/// Does it for all at once: each waits for brokers.
fn in_parallel<I: Send, T: Send>(
    items: impl Iterator<Item = I>,
    act: impl Fn(I) -> Result<T, StartError> + Sync,
) -> Result<Vec<T>, StartError> {
    thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = items.map(|item| scope.spawn(move || act(item))).collect();
        let join = |t: thread::ScopedJoinHandle<'_, _>| t.join().expect("a panic ends the process");
        threads.into_iter().map(join).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(epoch: Epoch, progress: Vec<Epoch>) -> Manifest {
        Manifest {
            v: Manifest::VERSION,
            generation: Generation(1),
            epoch,
            watermark: tideflow_core::EventTime(0),
            parts: Vec::new(),
            chosen: Default::default(),
            binding_offset: 0,
            binding_generation: Generation(1),
            progress,
            operators: Default::default(),
        }
    }

    fn told(epoch: Option<Epoch>) -> ShardProgress {
        ShardProgress { epoch, ..ShardProgress::default() }
    }

    #[test]
    fn a_shard_goes_on_behind_what_it_has_published_or_the_snapshot_says_that_it_had() {
        let shards = [told(Some(12)), told(Some(7)), told(None)];
        let of = published(Some(&manifest(10, vec![9, 7, 3])), &shards, 15).expect("it fits");
        assert_eq!(of, [12, 7, 3]);
        let first = published(None, &[told(None), told(Some(3))], 3).expect("it fits");
        assert_eq!(first, [0, 3]);
    }

    #[test]
    fn a_shard_that_is_silent_over_many_snapshots_and_starts_fits_each_time() {
        let (silent, mut known) = ([told(Some(7))], vec![7]);
        for epoch in [10, 20, 30] {
            known = published(Some(&manifest(epoch, known)), &silent, epoch).expect("it fits");
        }
        assert_eq!(known, [7]);
    }

    #[test]
    fn fault_progress_that_does_not_fit_is_refused_with_its_shard() {
        let error = |manifest: Option<&Manifest>, epoch, most| {
            published(manifest, &[told(epoch)], most).expect_err("it does not fit").to_string()
        };
        let ahead = error(None, Some(4), 3);
        assert!(
            ahead.starts_with("shard 0 has published up to epoch 4, expected 0 to 3"),
            "{ahead}"
        );
        let behind = error(Some(&manifest(10, vec![9])), Some(8), 10);
        assert!(behind.contains("epoch 8, expected 9 to 10"), "{behind}");
        let fewer = error(Some(&manifest(10, vec![9, 9])), Some(9), 10);
        assert!(fewer.starts_with("the job has 2 shards, expected 1"), "{fewer}");
    }
}
