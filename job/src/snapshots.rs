//! What a graph keeps for the next start: two operators, beside its own, and a thread for each.
//!
//! On every worker one writes what the worker's operators add to a snapshot, as one object. On worker 0
//! the other writes the manifest once everything is written and published, and has shard 0 commit its
//! name: only then does it count. Then files become visible that wait for it, and what is not needed any
//! more is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::container::CapacityContainerBuilder;
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::timely::dataflow::channels::pact::{Exchange, Pipeline};
use tideflow_core::timely::dataflow::operators::Capability;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::{Epoch, Failure, Flow, OperatorName, SnapshotPart, Standing, crash_point};
use tideflow_sinks::files::Settling;
use tideflow_sinks::kafka::{Shards, shard};
use tideflow_state::{
    BindingPlaces, BindingsTopic, Generation, Manifest, SnapshotError, Store, Topics, WorkerState,
    Written,
};

use crate::StartError;
use crate::manifest_thread::{Left, ManifestThread, Progress};

/// How soon what worker 0 has recorded is looked for again, in milliseconds: first and then.
const LOOKS: [u64; 6] = [5, 5, 10, 20, 40, 80];
const LOOK_MAX: u64 = 200;

/// What the operators need of the job.
pub(crate) struct Keeper {
    store: Arc<Store>,
    generation: Generation,
    published: Vec<Epoch>,
    log: Option<(BindingsTopic, BindingPlaces, Progress)>,
}

impl Keeper {
    pub fn new(store: Arc<Store>, generation: Generation, published: Vec<Epoch>) -> Self {
        Keeper { store, generation, published, log: None }
    }

    /// What the last start before this one has read and written.
    pub fn topics_before(&self) -> Result<Option<Topics>, SnapshotError> {
        self.store.topics_before(self.generation)
    }

    /// On worker 0, before anything is written.
    pub fn record_topics(&self, topics: Topics) -> Result<(), SnapshotError> {
        self.store.write_topics(self.generation, topics)
    }

    /// On the other workers: a key's records must go to the same shard wherever they come from, so all count
    /// the partitions that worker 0 counts. Waits until it has said so, or something has failed.
    pub fn expect_outputs(
        &self,
        own: &BTreeMap<String, usize>,
        failure: &Failure,
    ) -> Result<(), StartError> {
        if own.is_empty() {
            return Ok(());
        }
        let mut looks = LOOKS.into_iter();
        let recorded = loop {
            if let Some(recorded) = self.store.topics_of(self.generation)? {
                break recorded.outputs;
            }
            if failure.is_set() {
                return Err(StartError::Alone);
            }
            thread::park_timeout(Duration::from_millis(looks.next().unwrap_or(LOOK_MAX)));
        };
        let other = own.iter().find(|(topic, found)| recorded.get(*topic) != Some(found));
        other.map_or(Ok(()), |(topic, found)| {
            let expected = recorded.get(topic).copied().unwrap_or_default();
            Err(StartError::Outputs { topic: topic.clone(), expected, found: *found })
        })
    }

    /// On worker 0.
    pub fn with_log(self, topic: BindingsTopic, places: BindingPlaces, progress: Progress) -> Self {
        Keeper { log: Some((topic, places, progress)), ..self }
    }
}

/// What a worker has added to a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Added {
    epoch: Epoch,
    written: Written,
    /// The last epoch published of each of the worker's shards.
    progress: Vec<(u32, Epoch)>,
}

/// Adds the operators to a graph whose parts are all there.
pub(crate) fn keep(flow: &Flow<'_>, keeper: &Keeper, shards: &Shards, files: Settling) {
    let snapshots = flow.snapshots();
    let added = write_states(flow, keeper, shards, snapshots.parts);
    let name = OperatorName::new("snapshot manifest");
    let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
    let mut added = builder.new_input(added, Exchange::new(|_: &Added| 0));
    let mut standings = builder.new_input(snapshots.standings, Pipeline);
    let _published = builder.new_input(snapshots.published, Pipeline);
    let address = builder.operator_info().address.to_vec();
    let waker = flow.scope().worker().sync_activator_for(address);
    let mut manifests = keeper.log.clone().map(|(topic, places, progress)| {
        shards.wake(waker.clone());
        let wake = move || {
            let _ = waker.activate(); // fails when the worker has ended, which needs no waking
        };
        let (failure, files_wait) = (flow.job().failure.clone(), !files.is_empty());
        let left = Left { store: keeper.store.clone(), topic, progress, files };
        Manifests {
            generation: keeper.generation,
            places,
            shards: shards.clone(),
            progress: keeper.published.clone(),
            last: None,
            open: None,
            added: Vec::new(),
            thread: ManifestThread::start(name, left, failure, wake),
            files_wait,
            taken: snapshots.taken,
        }
    });
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        move |frontiers| {
            name.run(|| {
                let Some(manifests) = manifests.as_mut() else { return false };
                added.for_each(|_, added| added.drain(..).for_each(|a| manifests.added.push(a)));
                standings.for_each(|_, found| {
                    found.drain(..).for_each(|s| manifests.open = Some(Open::Waiting(s)));
                });
                manifests.go_on(|epoch| frontiers.iter().all(|f| !f.less_equal(&epoch)));
                manifests.open.is_some()
            })
        }
    });
}

/// The operator that writes a worker's share of snapshots.
fn write_states<'s>(
    flow: &Flow<'s>,
    keeper: &Keeper,
    shards: &Shards,
    parts: StreamVec<'s, Epoch, SnapshotPart>,
) -> StreamVec<'s, Epoch, Added> {
    let name = OperatorName::new("snapshot state");
    let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
    let mut parts = builder.new_input(parts, Pipeline);
    let (out, added) = builder.new_output::<Vec<Added>>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Added>>>::from(out);
    let address = builder.operator_info().address.to_vec();
    let waker = flow.scope().worker().sync_activator_for(address);
    let (store, generation, failure) =
        (keeper.store.clone(), keeper.generation, flow.job().failure.clone());
    let (worker, shards) = (flow.worker().0, shards.clone());
    // One snapshot is under way at a time, so neither holds more than one.
    let (to_thread, work) = channel::<(Epoch, Vec<SnapshotPart>)>();
    let (done, from_thread) = channel::<(Epoch, Written)>();
    name.spawn(move || {
        for (epoch, parts) in work {
            let mut state = WorkerState::default();
            for SnapshotPart { operator, version, segment, .. } in parts {
                state.add(operator, version, &segment);
            }
            let write = || store.write_state(generation, epoch, worker, state.clone());
            let Some(written) = failure.until_it_works("writing state", write) else { return };
            crash_point("state written");
            let _ = done.send((epoch, written));
            let _ = waker.activate(); // fails when the worker has ended, which needs no waking
        }
    });
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut open: Option<(Capability<Epoch>, Vec<SnapshotPart>)> = None;
        let mut writing: Option<Capability<Epoch>> = None;
        move |frontiers| {
            name.run(|| {
                parts.for_each(|capability, parts| {
                    let epoch = *capability.least().expect("parts carry one epoch");
                    let open =
                        open.get_or_insert_with(|| (capability.delayed(&epoch, 0), Vec::new()));
                    assert_eq!(*open.0.time(), epoch, "one snapshot at a time");
                    open.1.append(parts);
                });
                if let Some((at, parts)) =
                    open.take_if(|(at, _)| !frontiers[0].less_equal(at.time()))
                {
                    // Fails after a failure of the run.
                    let _ = to_thread.send((*at.time(), parts));
                    writing = Some(at);
                }
                if let Ok((epoch, written)) = from_thread.try_recv() {
                    let at = writing.take().expect("it was given out");
                    let progress = shards.progress();
                    out.activate().session(&at).give(Added { epoch, written, progress });
                }
                open.is_some() || writing.is_some()
            })
        }
    });
    added
}

/// Manifests on their way.
struct Manifests {
    generation: Generation,
    places: BindingPlaces,
    shards: Shards,
    progress: Vec<Epoch>,
    last: Option<Manifest>,
    open: Option<Open>,
    added: Vec<Added>,
    thread: ManifestThread,
    /// For a manifest that counts, to become visible.
    files_wait: bool,
    taken: Box<dyn Fn(Epoch)>,
}

/// The snapshot under way.
enum Open {
    /// Not all of it is written, or published.
    Waiting(Standing),
    /// Its manifest is being written.
    Writing(Box<Manifest>),
    /// Its manifest is with shard 0.
    Committing(Box<Manifest>),
    /// It counts, and files are becoming visible.
    Showing(Box<Manifest>),
}

impl Manifests {
    fn go_on(&mut self, passed: impl Fn(Epoch) -> bool) {
        self.open = match self.open.take() {
            Some(Open::Waiting(standing)) if passed(standing.epoch) => {
                let manifest = self.manifest(standing);
                self.thread.write(manifest.clone());
                Some(Open::Writing(Box::new(manifest)))
            }
            Some(Open::Writing(manifest)) if self.thread.is_done() => {
                let (name, epoch) = (manifest.name(), manifest.epoch);
                let generation = self.generation.0;
                self.shards.manifest(shard::Manifest { generation, epoch, name });
                Some(Open::Committing(manifest))
            }
            Some(Open::Committing(manifest)) if self.shards.counts() >= manifest.epoch => {
                tracing::debug!(epoch = manifest.epoch, "snapshot taken");
                crash_point("manifest committed");
                if self.files_wait {
                    self.thread.show(manifest.epoch);
                    Some(Open::Showing(manifest))
                } else {
                    self.end(*manifest)
                }
            }
            // Waited for: the process may end with this snapshot.
            Some(Open::Showing(manifest)) if self.thread.is_done() => self.end(*manifest),
            other => other,
        };
    }

    fn end(&mut self, manifest: Manifest) -> Option<Open> {
        (self.taken)(manifest.epoch);
        if let Some(before) = self.last.replace(manifest.clone()) {
            self.thread.clean_up(manifest, before, &self.places);
        }
        None
    }

    fn manifest(&mut self, standing: Standing) -> Manifest {
        let Standing { epoch, watermark, parts, chosen } = standing;
        let added = std::mem::take(&mut self.added);
        debug_assert!(added.iter().all(|a| a.epoch == epoch), "one snapshot at a time");
        for (shard, published) in added.iter().flat_map(|a| &a.progress) {
            self.progress[*shard as usize] = *published;
        }
        let written: Vec<Written> = added.into_iter().map(|a| a.written).collect();
        let place = self.places.of(epoch).expect("what is published has a durable binding");
        Manifest {
            v: Manifest::VERSION,
            generation: self.generation,
            epoch,
            watermark,
            parts,
            chosen,
            binding_offset: place.offset,
            binding_generation: place.generation,
            progress: self.progress.clone(),
            operators: Manifest::operators(self.last.as_ref(), &written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of a first start, and the folder of its store.
    fn keeper() -> (tempfile::TempDir, Keeper) {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let place = folder.path().to_str().expect("plain");
        let store = Arc::new(Store::open(place, "fleet").expect("it is there"));
        let generation = store.take_generation().expect("it works");
        (folder, Keeper::new(store, generation, Vec::new()))
    }

    #[test]
    fn fault_a_worker_that_counts_other_partitions_than_worker_0_does_not_go_on() {
        let (_folder, keeper) = keeper();
        let outputs = |n: usize| BTreeMap::from([("windows".to_string(), n)]);
        let failure = Failure::default();
        keeper.expect_outputs(&BTreeMap::new(), &failure).expect("it writes no topic");
        thread::scope(|scope| {
            let waits = scope.spawn(|| keeper.expect_outputs(&outputs(4), &failure));
            let topics = Topics { outputs: outputs(4), ..Topics::default() };
            keeper.record_topics(topics).expect("it works");
            waits.join().expect("no panic").expect("the same");
        });
        let told = keeper.expect_outputs(&outputs(5), &failure).expect_err("another number");
        let words = "topic `windows`: worker 0 has found 4 partitions, and another worker 5";
        assert!(told.to_string().starts_with(words), "{told}");
    }

    #[test]
    fn fault_a_worker_does_not_wait_for_one_that_has_failed() {
        let (_folder, keeper) = keeper();
        let failure = Failure::default();
        failure.set(tideflow_core::BuildError::invalid("sink", "it cannot start"));
        let own = BTreeMap::from([("windows".to_string(), 4)]);
        let told = keeper.expect_outputs(&own, &failure).expect_err("nobody comes");
        assert_eq!(told.to_string(), "worker 0 of the job has not started");
    }
}
