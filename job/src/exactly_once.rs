//! Exactly once: what a graph is given before it is built, and after.

use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::kafka::{Connection, KafkaConfig};
use tideflow_core::{
    BindingLog, BuildError, Check, Durability, Epoch, Flow, Job as Run, KeyGroup, Plan,
    RecentBindings, Recovered, RestoreFrom, StateForm, StateRequest, crash_point,
};
use tideflow_sinks::files::{Counted, Folders};
use tideflow_sinks::kafka::Shards;
use tideflow_sinks::kafka::shard::Shard;
use tideflow_state::{Generation, GenerationWatch, KafkaBindingLog, Manifest, Store};

use crate::changes::{Changes, check_sources, same_as_before, still_known};
use crate::manifest_thread::Progress;
use crate::snapshots::{Keeper, keep};
use crate::start::{Job, Started, newest};
use crate::{JobConfig, StartError};

/// Between two questions for a later generation.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// A job that publishes exactly once: each start takes over from the last one, restores its state from a
/// snapshot, replays what was recorded since, and publishes what was not.
pub struct ExactlyOnce {
    job: Job,
    /// What this process's workers share while they start.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// What worker 0 found, in its process.
    started: Option<Started>,
    /// Shards that were fenced by it, for the workers of its process.
    shards: BTreeMap<u32, Shard>,
    store: Option<Arc<Store>>,
    watch: Option<(Generation, GenerationWatch)>,
    /// For the questions of the start, and those after each snapshot.
    connection: Option<Connection>,
}

/// What every worker must know, beside where the graph goes on.
#[derive(Serialize, Deserialize)]
struct Notes {
    generation: Generation,
    manifest: Option<String>,
    /// The names of the snapshots that count, newest last.
    counted: Vec<String>,
    /// The last snapshot that counts.
    counts: Option<Counted>,
    /// The last epoch published of each shard.
    published: Vec<Epoch>,
    /// With how many partitions topics are to be written in a replay.
    outputs: BTreeMap<String, usize>,
}

impl ExactlyOnce {
    /// A job of this name, on this cluster.
    pub fn new(name: &str, config: &JobConfig, kafka: &KafkaConfig) -> Self {
        let job = Job { name: name.to_string(), config: config.clone(), kafka: kafka.clone() };
        ExactlyOnce { job, held: Mutex::default() }
    }

    /// The topics of its own that the job's first start makes.
    pub fn own_topics(&self) -> Vec<String> {
        self.job.own_topics().map(|(topic, _)| topic).into()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder of this lock panics")
    }

    /// The store, which this process finds out by whether it is superseded.
    fn store(&self, run: &Run, generation: Generation) -> Result<Arc<Store>, StartError> {
        let mut held = self.held();
        if held.store.is_none() {
            held.store = Some(self.job.store()?);
        }
        let store = held.store.clone().expect("just opened");
        held.watch.get_or_insert_with(|| {
            let failure = run.failure.clone();
            (generation, GenerationWatch::start(store.clone(), generation, WATCH_EVERY, failure))
        });
        Ok(store)
    }

    fn own_shards(
        &self,
        flow: &Flow<'_>,
        store: &Store,
        notes: &Notes,
    ) -> Result<Vec<(Shard, Epoch)>, StartError> {
        let (worker, workers) = flow.worker();
        let own = (0..self.job.config.shards).filter(|n| *n as usize % workers == worker);
        let own = own.map(|number| {
            let fenced = self.held().shards.remove(&number);
            let shard = match fenced {
                Some(shard) => shard,
                None => self.job.fence(number, notes.generation, &flow.job().failure)?,
            };
            Ok((shard, notes.published[number as usize]))
        });
        let own = own.collect::<Result<_, StartError>>()?;
        // Fencing goes by who comes last, not by who is newest.
        newest(store, notes.generation)?;
        Ok(own)
    }
}

impl Durability for ExactlyOnce {
    fn snapshot_every(&self) -> u64 {
        self.job.config.snapshot_every
    }

    fn checks(&self, plan: &Plan) -> Vec<Check> {
        self.job.checks(plan)
    }

    fn generation(&self) -> Result<Option<u64>, BuildError> {
        Ok(Some(self.job.generation()?.0))
    }

    fn answer(
        &self,
        request: &StateRequest,
        states: &[StateForm],
        out: &mut dyn Write,
    ) -> Result<(), BuildError> {
        let _held = self.job.kafka.connect().map_err(StartError::from)?;
        Ok(self.job.answer(request, states, out)?)
    }

    fn recover(&self, run: &Run) -> Result<Recovered, BuildError> {
        let connection = self.job.kafka.connect().map_err(StartError::from)?;
        let mut started = self.job.start(&run.failure)?;
        let resume = started.resume();
        if resume.ended() {
            tracing::info!(
                "the job has come to its end: what is recorded is published, no more is read"
            );
        }
        let (shards, published): (Vec<Shard>, Vec<Epoch>) = started.shards.drain(..).unzip();
        let manifest = started.manifest.as_ref().map(|m| m.name());
        let (generation, counts) = (started.generation, started.counts);
        // With nothing to replay, all shards stand at the same epoch, and keys may move.
        let outputs = match resume.recorded[..] {
            [] => BTreeMap::new(),
            _ => {
                let before = started.store.topics_before(generation).map_err(StartError::from)?;
                before.unwrap_or_default().outputs
            }
        };
        let counted = started.counted.clone();
        let notes = Notes { generation, manifest, counted, counts, published, outputs };
        let notes = serde_json::to_vec(&notes).expect("numbers and a name are JSON");
        let mut held = self.held();
        held.store = Some(started.store.clone());
        held.shards = shards.into_iter().map(|shard| (shard.number(), shard)).collect();
        held.started = Some(started);
        held.connection = Some(connection);
        Ok(Recovered { resume, notes })
    }

    fn begin(&self, flow: &Flow<'_>, notes: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        crash_point("plan shared");
        let notes: Notes = serde_json::from_slice(notes).expect("as `recover` has written them");
        flow.job().metrics.generation.set(notes.generation.0 as f64);
        let store = self.store(flow.job(), notes.generation)?;
        if let Some(name) = &notes.manifest {
            let manifest = flow.local(|| store.manifest(name)).map_err(StartError::from)?;
            let (store, name, counted) = (store.clone(), name.clone(), notes.counted.clone());
            let restore = move |operator: &str, own: &dyn Fn(KeyGroup) -> bool| {
                let read = store.read_state(&manifest, operator, own);
                Ok(read.map_err(|error| StartError::of_snapshot(error, &name, &counted, &store))?)
            };
            flow.local(|| Ok::<_, BuildError>(RestoreFrom(Rc::new(restore))))?;
        }
        let own = self.own_shards(flow, &store, &notes)?;
        let folders = Folders::held(&self.job.name, notes.generation.0, notes.counts);
        flow.local(|| Ok::<_, BuildError>(folders))?;
        let keeper = Keeper::new(store, notes.generation, notes.published);
        let shards = Shards::new(&self.job.kafka, self.job.config.shards, own);
        // A snapshot counts when all before it is published. From an earlier one outputs may have got partitions
        // since, and keys have gone to a shard that has published less.
        let out = notes.counts.map_or(0, |counts| counts.epoch);
        flow.local(|| Ok::<_, BuildError>(shards.replaying(notes.outputs, out)))?;
        let Some(started) = (flow.worker().0 == 0).then(|| self.held().started.take()).flatten()
        else {
            flow.local(|| Ok::<_, BuildError>(keeper))?;
            return Ok(Box::new(RecentBindings::new(1)));
        };
        let failure = flow.job().failure.clone();
        let log = KafkaBindingLog::new(&started.bindings, started.generation, failure);
        let log = log.map_err(StartError::from)?.after(&started.replay);
        let progress = Progress::of(&self.job.kafka, self.job.progress_topic());
        let keeper = keeper.with_log(started.bindings, log.places(), progress);
        flow.local(|| Ok::<_, BuildError>(keeper))?;
        Ok(Box::new(log))
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        let (inputs, drop_state) = (flow.inputs(), &self.job.config.drop_state);
        // Looked at before the start too; another one may have taken a snapshot since.
        if let Some(manifest) = flow.found::<Manifest>() {
            Changes::between(&manifest, &inputs, &flow.states()).allowed(drop_state)?;
        }
        let shards = flow.found::<Shards>().expect("`begin` has put it there");
        let keeper = flow.found::<Keeper>().expect("`begin` has put it there");
        let folders = flow.found::<Folders>().expect("`begin` has put it there");
        let files = folders.settling().expect("it takes snapshots");
        if flow.worker().0 == 0 {
            let before = keeper.topics_before().map_err(StartError::from)?;
            let states = flow.states();
            check_sources(flow.resume(), &inputs, drop_state)?;
            if let Some(before) = &before {
                same_as_before(before, &inputs, &states)?;
            }
            let manifest = flow.found::<Manifest>();
            let mut topics = still_known(before, flow.resume(), manifest.as_deref());
            topics.cluster = self.job.kafka.cluster_id().map_err(StartError::from)?;
            topics.outputs = shards.outputs();
            topics.inputs.extend(inputs.into_iter().filter_map(|(name, to)| Some((name, to?))));
            let meanings = states.into_iter().map(|form| (form.operator, form.meaning));
            topics.meanings.extend(meanings.filter(|(_, meaning)| !meaning.is_empty()));
            keeper.record_topics(topics).map_err(StartError::from)?;
            files.begin().map_err(StartError::from)?;
            crash_point("files settled");
        } else {
            keeper.expect_outputs(&shards.outputs(), &flow.job().failure)?;
        }
        shards.start(&flow.job().failure);
        keep(flow, &keeper, &shards, files);
        Ok(())
    }

    fn reason(&self, first: BuildError) -> BuildError {
        let held = self.held();
        let (Some(store), Some((generation, _))) = (&held.store, &held.watch) else { return first };
        match newest(store, *generation) {
            Err(superseded @ StartError::Superseded(_)) => superseded.into(),
            // One that cannot be asked knows no better reason.
            _ => first,
        }
    }
}
