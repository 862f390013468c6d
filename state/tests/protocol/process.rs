//! One generation of the job: it recovers, then cuts, binds and publishes epochs.

use std::collections::BTreeMap;

use tideflow_core::{Binding, Ending, EventTime};
use tideflow_state::{Replay, ReplayError, SnapshotAt};

use crate::rules::{Rule, Rules};
use crate::world::{Entry, Epoch, Generation, History, Manifest, SHARDS, World};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub generation: Generation,
    pub phase: Phase,
}

/// What a recovery has read of each shard's progress, and of shard 0's manifests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Read {
    progress: [Epoch; SHARDS],
    manifest: Option<(Generation, Epoch)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Initialises the transactional ids, in any order.
    Fencing {
        done: [bool; SHARDS],
        read: Option<Read>,
    },
    /// Reads the generation again.
    Checking {
        read: Option<Read>,
    },
    /// Commits a sentinel to each shard in turn and reads its progress up to it.
    Reading {
        next: usize,
        read: Read,
    },
    /// Appends its marker to the log.
    Marking {
        read: Read,
    },
    /// Loads the manifest, and reads the log up to the marker.
    Loading {
        read: Read,
        marker: usize,
    },
    Running(Running),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Running {
    /// Who cut each epoch bound so far, and where its binding lies in the log, as far as durable.
    pub history: History,
    offsets: Vec<usize>,
    /// By shard: whether its owner has initialised it again, and read the generation since.
    owned: [bool; SHARDS],
    checked: [bool; SHARDS],
    /// By shard: the last epoch that is out, as far as this process knows; and the last it committed.
    done: [Epoch; SHARDS],
    progress: [Epoch; SHARDS],
    /// The last snapshot's epoch; one written and not yet committed; the offset to trim to.
    snapshot: Epoch,
    written: Option<Epoch>,
    trim: usize,
}

/// What a process can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Init(usize),
    Check,
    Read,
    Mark,
    Load,
    Own(usize),
    CheckOwner(usize),
    Cut,
    Bind,
    Publish { shard: usize, through: Epoch },
    WriteManifest(Epoch),
    CommitManifest,
    Trim,
}

/// Whether the process goes on after a step, or ends: fenced, superseded or stopped.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    GoesOn,
    Ends,
}

use Fate::{Ends, GoesOn};

impl Process {
    pub fn start(world: &mut World, rules: &Rules) -> Process {
        world.generation += 1;
        let phase = match rules.hold(Rule::FenceFirst) {
            true => Phase::Fencing { done: [false; SHARDS], read: None },
            false => Phase::Reading { next: 0, read: Read::default() },
        };
        Process { generation: world.generation, phase }
    }

    pub fn steps(&self, rules: &Rules) -> Vec<Step> {
        match &self.phase {
            Phase::Fencing { done, .. } => {
                (0..SHARDS).filter(|s| !done[*s]).map(Step::Init).collect()
            }
            Phase::Checking { .. } => vec![Step::Check],
            Phase::Reading { .. } => vec![Step::Read],
            Phase::Marking { .. } => vec![Step::Mark],
            Phase::Loading { .. } => vec![Step::Load],
            Phase::Running(running) => running.steps(rules),
        }
    }

    pub fn take(&mut self, step: Step, world: &mut World, rules: &Rules) -> Fate {
        let generation = self.generation;
        match (&mut self.phase, step) {
            (Phase::Fencing { done, read }, Step::Init(shard)) => {
                world.shards[shard].owner = generation;
                done[shard] = true;
                if done.iter().all(|d| *d) {
                    world.fenced_by = world.fenced_by.max(generation);
                    self.phase = Phase::Checking { read: read.take() };
                }
            }
            (Phase::Checking { read }, Step::Check) => {
                if rules.hold(Rule::ReadGenerationAgain) && world.generation > generation {
                    return Ends;
                }
                self.phase = match read.take() {
                    Some(read) => Phase::Marking { read },
                    None => Phase::Reading { next: 0, read: Read::default() },
                };
            }
            (Phase::Reading { next, read }, Step::Read) => {
                let (shard, fenced) = (&world.shards[*next], rules.hold(Rule::FenceFirst));
                if fenced && shard.owner != generation {
                    return Ends;
                }
                read.progress[*next] = shard.progress;
                read.manifest = read.manifest.or(shard.manifest);
                *next += 1;
                if *next == SHARDS {
                    let read = std::mem::take(read);
                    self.phase = match fenced {
                        true => Phase::Marking { read },
                        false => Phase::Fencing { done: [false; SHARDS], read: Some(read) },
                    };
                }
            }
            (Phase::Marking { read }, Step::Mark) => {
                let marker = world.append(Entry::Marker(generation));
                self.phase = Phase::Loading { read: std::mem::take(read), marker };
            }
            (Phase::Loading { read, marker }, Step::Load) => {
                match load(generation, read, *marker, world, rules) {
                    Ok(running) => self.phase = Phase::Running(running),
                    Err(Stopped::Superseded) => return Ends,
                    // A successor may have trimmed the log already: whoever finds it unfit must ask who
                    // is at work before he calls it broken.
                    Err(Stopped::By(_)) if world.generation > generation => return Ends,
                    Err(Stopped::By(what)) => {
                        world.violate(what);
                        return Ends;
                    }
                }
            }
            (Phase::Running(running), step) => return running.take(generation, step, world, rules),
            (phase, step) => unreachable!("{step:?} in {phase:?}"),
        }
        GoesOn
    }
}

enum Stopped {
    Superseded,
    By(&'static str),
}

/// The manifest that counts, and the log from its epoch's binding on.
fn load(
    generation: Generation,
    read: &Read,
    marker: usize,
    world: &World,
    rules: &Rules,
) -> Result<Running, Stopped> {
    let mut manifests = world.manifests.iter();
    let manifest = match rules.hold(Rule::ManifestCommitted) {
        true => manifests.find(|m| Some((m.generation, m.epoch)) == read.manifest),
        false => manifests.max_by_key(|m| (m.generation, m.epoch)),
    };
    let (from, least) = match manifest {
        None => (0, 0),
        Some(m) if rules.hold(Rule::StartFromBindingsGeneration) => (m.offset, m.binding),
        Some(m) => (m.offset, m.generation),
    };
    if from < world.log_start {
        return Err(Stopped::By("stopped: the log is trimmed beyond the manifest"));
    }
    let snapshot = manifest.map_or(0, |m| m.epoch);
    let mut history = manifest.map_or(Vec::new(), |m| m.state.clone());
    let mut offsets = vec![from; history.len()];
    let log = || world.log.iter().copied().enumerate().take(marker).skip(from);
    let recorded = match rules.hold(Rule::MarkersVoidBindings) {
        true => replay(generation, snapshot, least, log())?,
        false => last_of_each(snapshot, log()),
    };
    for (offset, by) in recorded {
        history.push(by);
        offsets.push(offset);
    }
    let bound = history.len() as Epoch;
    for (shard, progress) in read.progress.into_iter().enumerate() {
        let least = match rules.hold(Rule::IdleShardsMayLag) {
            true => manifest.map_or(0, |m| m.progress[shard]),
            false => snapshot,
        };
        if progress < least || progress > bound {
            return Err(Stopped::By("stopped: progress does not fit the bindings"));
        }
    }
    let done = match rules.hold(Rule::DropPublished) {
        true => read.progress.map(|progress| progress.max(snapshot)),
        false => [snapshot; SHARDS],
    };
    let progress = read.progress;
    // One process owns all shards since it has fenced them; of several each makes its own again.
    let (owned, checked) = ([!rules.many_owners; SHARDS], [!rules.many_owners; SHARDS]);
    let (written, trim) = (None, 0);
    Ok(Running { history, offsets, owned, checked, done, progress, snapshot, written, trim })
}

/// What the log says of each epoch after the snapshot: the code that recoveries run.
fn replay(
    own: Generation,
    snapshot: Epoch,
    least: Generation,
    log: impl Iterator<Item = (usize, Entry)>,
) -> Result<Vec<(usize, Generation)>, Stopped> {
    let number = |generation: Generation| tideflow_state::Generation(generation.into());
    let at = SnapshotAt { epoch: snapshot.into(), binding: number(least) };
    let mut replay = Replay::new(number(own), (snapshot > 0).then_some(at));
    for (offset, entry) in log {
        let entry = match entry {
            Entry::Marker(by) => tideflow_state::Entry::Marker(number(by)),
            Entry::Binding { generation, epoch } => {
                let (parts, watermark, ending) = (Vec::new(), EventTime(0), Ending::No);
                let chosen = Default::default();
                let epoch = epoch.into();
                let binding = Binding { epoch, parts, watermark, wall_ms: 0, ending, chosen };
                tideflow_state::Entry::Binding(number(generation), binding)
            }
        };
        replay.take(offset as i64, entry).map_err(|error| match error {
            ReplayError::Superseded { .. } => Stopped::Superseded,
            _ => Stopped::By("stopped: the bindings are not contiguous"),
        })?;
    }
    let recorded = replay.recorded().iter();
    Ok(recorded.map(|r| (r.offset as usize, r.generation.0 as Generation)).collect())
}

/// The same by who does not look at markers: the last binding of each epoch.
fn last_of_each(
    snapshot: Epoch,
    log: impl Iterator<Item = (usize, Entry)>,
) -> Vec<(usize, Generation)> {
    let mut last = BTreeMap::new();
    for (offset, entry) in log {
        if let Entry::Binding { generation, epoch } = entry
            && epoch > snapshot
        {
            last.insert(epoch, (offset, generation));
        }
    }
    last.into_values().collect()
}

impl Running {
    fn bound(&self) -> Epoch {
        self.history.len() as Epoch
    }

    fn durable(&self) -> Epoch {
        self.offsets.len() as Epoch
    }

    fn steps(&self, rules: &Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        let through = match rules.hold(Rule::BindingBeforeCommit) {
            true => self.durable(),
            false => self.bound(),
        };
        for shard in 0..SHARDS {
            if !self.owned[shard] {
                steps.push(Step::Own(shard));
            } else if !self.checked[shard] {
                steps.push(Step::CheckOwner(shard));
            } else if self.done[shard] < through {
                // One epoch, or all that are ready: the group commit.
                steps.push(Step::Publish { shard, through: self.done[shard] + 1 });
                if self.done[shard] + 1 < through {
                    steps.push(Step::Publish { shard, through });
                }
            }
        }
        // One epoch is open at most: more would only be the same more often.
        if self.bound() < rules.epochs && self.bound() == self.durable() {
            steps.push(Step::Cut);
        }
        if self.durable() < self.bound() {
            steps.push(Step::Bind);
        }
        let out = match rules.hold(Rule::PublishedBeforeManifest) {
            true => self.done.into_iter().min().unwrap_or(0).min(self.durable()),
            false => self.durable(),
        };
        let next = (self.snapshot + 1..=out).find(|epoch| rules.snapshot_at(*epoch));
        match (self.written, next) {
            (Some(_), _) => steps.push(Step::CommitManifest),
            (None, Some(epoch)) => steps.push(Step::WriteManifest(epoch)),
            (None, None) => {}
        }
        if self.trim > 0 {
            steps.push(Step::Trim);
        }
        steps
    }

    fn take(&mut self, by: Generation, step: Step, world: &mut World, rules: &Rules) -> Fate {
        match step {
            Step::Own(shard) => {
                world.shards[shard].owner = by;
                self.owned[shard] = true;
            }
            Step::CheckOwner(shard) => {
                let check = rules.hold(Rule::OwnersReadGenerationAgain);
                if check && world.generation > by {
                    return Ends;
                }
                self.checked[shard] = true;
            }
            Step::Cut => self.history.push(by),
            Step::Bind => {
                let epoch = self.durable() + 1;
                self.offsets.push(world.append(Entry::Binding { generation: by, epoch }));
            }
            Step::Publish { shard, through } => {
                let epochs = self.done[shard] + 1..=through;
                // Nothing to say is no transaction: a fenced process does not notice.
                if epochs.clone().any(|epoch| rules.has_output(shard, epoch)) {
                    if !world.commit(shard, by, epochs, &self.history, rules) {
                        return Ends;
                    }
                    self.progress[shard] = through;
                }
                self.done[shard] = through;
            }
            Step::WriteManifest(epoch) => {
                let place = usize::from(epoch) - 1;
                world.manifests.push(Manifest {
                    generation: by,
                    epoch,
                    state: self.history[..=place].to_vec(),
                    progress: self.progress,
                    offset: self.offsets[place],
                    binding: self.history[place],
                });
                (self.snapshot, self.written) = (epoch, Some(epoch));
                if !rules.hold(Rule::TrimAfterManifestCounts) {
                    self.trim = self.offsets[place];
                }
            }
            Step::CommitManifest => {
                if world.shards[0].owner != by || !self.checked[0] {
                    return if self.checked[0] { Ends } else { GoesOn };
                }
                let epoch = self.written.take().expect("one is written");
                world.shards[0].manifest = Some((by, epoch));
                self.trim = self.offsets[usize::from(epoch) - 1];
            }
            Step::Trim => {
                world.log_start = world.log_start.max(self.trim);
                self.trim = 0;
            }
            other => unreachable!("{other:?} while running"),
        }
        GoesOn
    }
}
