//! What makes a run durable, in memory: the double of a job's log and store.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use tideflow_core::timely::dataflow::operators::Inspect;
use tideflow_core::{
    BindingLog, BuildError, Durability, Epoch, Flow, Job, KeyGroup, RecentBindings, Recovered,
    RestoreFrom, Restored, Resume, SnapshotPart, Standing,
};

/// The states of all operators, as snapshots hold them.
pub type States = BTreeMap<(&'static str, KeyGroup), (u32, Vec<u8>)>;

/// What a run leaves behind, and where it goes on. Clones are the same.
#[derive(Clone, Default)]
pub struct Memory {
    resume: Resume,
    states: States,
    left: Arc<Mutex<Left>>,
    every: u64,
}

/// What a run leaves behind.
#[derive(Default)]
struct Left {
    log: Option<RecentBindings>,
    standings: Vec<Standing>,
    parts: BTreeMap<Epoch, Vec<SnapshotPart>>,
}

impl Memory {
    /// A run that goes on here.
    pub fn resume(resume: Resume, states: States) -> Self {
        Memory { resume, states, ..Memory::default() }
    }

    /// With snapshots every so many epochs.
    pub fn snapshots_every(self, every: u64) -> Self {
        Memory { every, ..self }
    }

    /// The bindings of the run.
    pub fn log(&self) -> Vec<tideflow_core::Binding> {
        self.left.lock().unwrap().log.as_ref().map(RecentBindings::kept).unwrap_or_default()
    }

    /// What was ruled upon its epochs.
    #[allow(dead_code, reason = "not all tests have a model that fails")]
    pub fn rulings(&self) -> Vec<tideflow_core::Ruling> {
        self.left.lock().unwrap().log.as_ref().map(RecentBindings::rulings).unwrap_or_default()
    }

    /// Its snapshots, oldest first, with the states that they and those before add up to.
    pub fn snapshots(&self) -> Vec<(Standing, States)> {
        let left = self.left.lock().unwrap();
        let mut states = self.states.clone();
        let after = |standing: &Standing| {
            for part in left.parts.get(&standing.epoch).into_iter().flatten() {
                for (group, _) in &part.segment.groups {
                    let bytes = part.segment.of(*group).expect("it is listed").to_vec();
                    states.insert((part.operator, *group), (part.version, bytes));
                }
            }
            (standing.clone(), states.clone())
        };
        left.standings.iter().map(after).collect()
    }
}

impl Durability for Memory {
    fn snapshot_every(&self) -> u64 {
        self.every
    }

    fn recover(&self, _job: &Job) -> Result<Recovered, BuildError> {
        Ok(Recovered { resume: self.resume.clone(), notes: b"heard by all".to_vec() })
    }

    fn begin(&self, flow: &Flow<'_>, notes: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        assert_eq!(notes, b"heard by all");
        let states = self.states.clone();
        flow.local(|| {
            Ok::<_, BuildError>(RestoreFrom(Rc::new(move |operator, own| {
                let of =
                    states.iter().filter(|((name, group), _)| *name == operator && own(*group));
                let restored =
                    |((_, group), (version, bytes)): (&(_, KeyGroup), &(u32, Vec<u8>))| {
                        (*group, *version, bytes.clone())
                    };
                Ok(of.map(restored).collect::<Vec<Restored>>())
            })))
        })?;
        let log = RecentBindings::new(usize::MAX).after(flow.resume().last());
        if flow.worker().0 == 0 {
            self.left.lock().unwrap().log = Some(log.clone());
        }
        Ok(Box::new(log))
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        let snapshots = flow.snapshots();
        let (parts, standings) = (self.left.clone(), self.left.clone());
        snapshots.parts.inspect(move |part| {
            parts.lock().unwrap().parts.entry(part.epoch).or_default().push(part.clone());
        });
        snapshots.standings.inspect(move |standing| {
            standings.lock().unwrap().standings.push(standing.clone());
            (snapshots.taken)(standing.epoch);
        });
        Ok(())
    }
}
