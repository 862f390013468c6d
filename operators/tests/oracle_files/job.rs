//! A job in memory, with files on disk, that is killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tideflow_core::{
    Binding, BindingLog, BuildError, Durability, Epoch, Flow, Job, Recovered, Resume, Standing,
};
use tideflow_sinks::files::{Counted, Folders, Settling};

use crate::memory::{Memory, States};
use crate::{OUTPUTS, Reading, Shape, run};

/// A run, and what it has done when it is killed; fractions are of what it could have.
#[derive(Clone, Debug)]
pub struct Kill {
    pub shape: Shape,
    /// Snapshots that count.
    pub counted: f64,
    /// Of them, those whose files are visible.
    pub shown: f64,
    /// How far the log goes.
    pub log_end: f64,
    /// Which snapshot the next run goes on from.
    pub from: f64,
    /// For what happens to single files.
    pub seed: u64,
}

/// What survives of a job.
pub struct Killed {
    folder: PathBuf,
    history: Vec<Vec<Reading>>,
    generation: u64,
    counted: Option<Counted>,
    /// Those that count.
    snapshots: Vec<(Standing, States)>,
    bindings: Vec<Binding>,
    resume: Resume,
    states: States,
}

impl Killed {
    pub fn new(folder: &Path, history: Vec<Vec<Reading>>) -> Self {
        Killed {
            folder: folder.to_path_buf(),
            history,
            generation: 0,
            counted: None,
            snapshots: Vec::new(),
            bindings: Vec::new(),
            resume: Resume::default(),
            states: States::default(),
        }
    }

    /// Runs to the end, no snapshot counting on the way: those that it has taken, and what can make files
    /// visible.
    fn run(&mut self, shape: Shape) -> (Vec<(Standing, States)>, Settling) {
        self.generation += 1;
        let memory = Memory::resume(self.resume.clone(), self.states.clone());
        let memory = memory.snapshots_every(shape.snapshot_every);
        let settling = Arc::<Mutex<Option<Settling>>>::default();
        let durability = Files {
            memory: memory.clone(),
            generation: self.generation,
            counted: self.counted,
            settling: settling.clone(),
        };
        run(&self.history, shape, &self.folder, &Job::default(), durability);
        self.bindings.truncate(self.resume.last() as usize);
        self.bindings.extend(memory.log());
        let settling = settling.lock().unwrap().take();
        (memory.snapshots(), settling.expect("worker 0 has left it there"))
    }

    /// What processes of earlier generations write that do not know that they are superseded: of epochs behind
    /// their last snapshot that counts, before which they had written all there was. The next snapshot or
    /// start deletes it.
    fn haunt(&self) {
        for (n, epoch) in self.bindings.iter().map(|binding| binding.epoch).enumerate() {
            let generation = n as u64 % self.generation;
            let written = self.counted.filter(|c| c.generation == generation);
            if generation == 0 || written.is_some_and(|c| epoch <= c.epoch) {
                continue;
            }
            let name = format!("{epoch:020}-{generation:020}-{}", n % 5);
            for output in OUTPUTS {
                let pending = self.folder.join(output).join(".pending");
                fs::write(pending.join(&name), "{\"zombie\":true}\n").expect("there is room");
            }
        }
    }

    pub fn run_to_the_end(&mut self, shape: Shape) {
        let (snapshots, settling) = self.run(shape);
        if !snapshots.is_empty() {
            self.haunt();
        }
        for (standing, _) in snapshots {
            settling.counts(standing.epoch).expect("there is room");
        }
    }

    pub fn run_and_kill(&mut self, kill: &Kill) {
        let durable = self.resume.last();
        let (mut snapshots, settling) = self.run(kill.shape);
        self.haunt();
        snapshots.truncate(part(kill.counted, snapshots.len() + 1));
        let shown = part(kill.shown, snapshots.len() + 1);
        if let Some((standing, _)) = snapshots[..shown].last() {
            settling.counts(standing.epoch).expect("there is room");
        }
        let last = snapshots.last().map(|(standing, _)| standing.epoch);
        if let Some(epoch) = last {
            self.counted = Some(Counted { generation: self.generation, epoch });
        }
        self.snapshots.extend(snapshots);
        let least = durable.max(last.unwrap_or_default()) as usize;
        let log_end = least + part(kill.log_end, self.bindings.len() - least + 1);
        self.damage(last.unwrap_or_default(), log_end as Epoch, kill.seed);
        // An earlier one is asked for only where the newest is damaged.
        let from = match part(kill.from, 2 * self.snapshots.len()) {
            _ if self.snapshots.is_empty() => None,
            n => Some(self.snapshots[n.min(self.snapshots.len() - 1)].clone()),
        };
        let (snapshot, states) =
            from.map_or((None, States::default()), |(s, states)| (Some(s), states));
        let state_of = snapshot.as_ref().map_or(0, |s| s.epoch) as usize;
        let recorded = self.bindings[state_of..log_end].to_vec();
        (self.resume, self.states) =
            (Resume { snapshot, recorded: recorded.into(), ..Resume::default() }, states);
    }

    /// Of the files of this generation that wait: renames some that are to be visible, cuts or removes some
    /// that were on their way, and removes those that were not written yet.
    fn damage(&self, counted: Epoch, log_end: Epoch, seed: u64) {
        let mut chances = Chances(seed);
        for output in OUTPUTS {
            let folder = self.folder.join(output);
            for name in self.waiting(output) {
                let parts: Vec<u64> =
                    name.split('-').map(|part| part.parse().expect("a number")).collect();
                let (epoch, generation, worker) = (parts[0], parts[1], parts[2]);
                let path = folder.join(".pending").join(&name);
                if generation != self.generation {
                    continue;
                }
                match chances.next() % 3 {
                    _ if epoch > log_end => fs::remove_file(&path).expect("it is there"),
                    0 if epoch > counted => fs::remove_file(&path).expect("it is there"),
                    1 if epoch > counted => fs::write(&path, "{\"half").expect("there is room"),
                    0 => {
                        let to = folder.join(format!("{epoch:020}-{worker}.jsonl"));
                        fs::rename(&path, to).expect("there is room");
                    }
                    _ => {}
                }
            }
        }
    }

    /// The files of an output that wait.
    pub fn waiting(&self, output: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join(output).join(".pending")).expect("it is there");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        let names = names.map(|name| name.into_string().expect("plain"));
        let names: BTreeSet<_> = names.filter(|name| !name.starts_with("job-")).collect();
        names.into_iter().collect()
    }
}

/// A number below `count` from a fraction.
fn part(fraction: f64, count: usize) -> usize {
    (fraction * count as f64) as usize
}

/// Numbers that differ.
struct Chances(u64);

impl Chances {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// The double of a job's log and store, whose files wait until the test says that a snapshot counts.
struct Files {
    memory: Memory,
    generation: u64,
    counted: Option<Counted>,
    settling: Arc<Mutex<Option<Settling>>>,
}

impl Durability for Files {
    fn snapshot_every(&self) -> u64 {
        self.memory.snapshot_every()
    }

    fn recover(&self, job: &Job) -> Result<Recovered, BuildError> {
        self.memory.recover(job)
    }

    fn begin(&self, flow: &Flow<'_>, notes: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        let folders = Folders::held("killed", self.generation, self.counted);
        flow.local(|| Ok::<_, BuildError>(folders))?;
        self.memory.begin(flow, notes)
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        let folders = flow.found::<Folders>().expect("just put there");
        let settling = folders.settling().expect("it takes snapshots");
        if flow.worker().0 == 0 {
            settling.begin().expect("it goes on");
            *self.settling.lock().unwrap() = Some(settling);
        }
        self.memory.end(flow)
    }
}
