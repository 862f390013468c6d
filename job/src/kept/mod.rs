//! What people ask of the state that a job has kept: each answer is text.

mod export;
mod fork;
mod list;
mod verify;

use std::io::Write;
use std::sync::Arc;

use tideflow_core::{StateForm, StateRequest};
use tideflow_sinks::kafka::shard::look_at_progress;
use tideflow_state::{Generation, Manifest, SnapshotError, Store, StoreError, check_log_topic};

use crate::StartError;
use crate::start::{Job, asked_for};

/// Looks at a running job, before its snapshots are taken to be gone faster than they can be looked at.
const LOOKS: usize = 10;

/// The store of a job, and which of its snapshots the next start goes on from.
pub(crate) struct Kept {
    job: Job,
    pub store: Arc<Store>,
    /// The names of the manifests that count, newest last.
    counted: Vec<String>,
}

impl Job {
    /// What is kept of the job; none where it has never started.
    pub fn kept(&self) -> Result<Option<Kept>, StartError> {
        let Some(store) = self.find_store()? else { return Ok(None) };
        if store.generation()? == Generation(0) {
            return Ok(None);
        }
        Ok(Some(Kept { job: self.clone(), store, counted: self.counted()? }))
    }

    /// The names of the manifests that count, newest last.
    fn counted(&self) -> Result<Vec<String>, StartError> {
        let (topic, shards) = (self.progress_topic(), self.config.shards as usize);
        if !check_log_topic(&self.kafka, &topic, shards, self.config.copies())? {
            return Ok(Vec::new());
        }
        let counted = look_at_progress(&self.kafka, &topic, 0)?.manifests;
        Ok(counted.into_iter().map(|manifest| manifest.name).collect())
    }

    /// The manifest of this name, which has counted when it was looked at. A job that runs may have taken
    /// others since, and deleted it.
    fn newest(&self, store: &Store, name: &str) -> Result<Manifest, StartError> {
        let mut name = name.to_string();
        for _ in 0..LOOKS {
            let error = match store.manifest(&name) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let counted = self.counted()?;
            match counted.last() {
                Some(newer) if *newer != name => name = newer.clone(),
                _ => return Err(StartError::of_snapshot(error, &name, &counted, store)),
            }
        }
        Ok(store.manifest(&name)?)
    }

    /// Does what was asked, and writes the answer.
    pub fn answer(
        &self,
        request: &StateRequest,
        states: &[StateForm],
        out: &mut dyn Write,
    ) -> Result<(), StartError> {
        let kept =
            self.kept()?.ok_or_else(|| StartError::NeverStarted { job: self.name.clone() })?;
        match request {
            StateRequest::List => self.list(&kept, out),
            StateRequest::Show { snapshot } => list::show(&kept, snapshot.as_deref(), out),
            StateRequest::Verify { snapshot } => {
                verify::verify(&kept, snapshot.as_deref(), states, out)
            }
            StateRequest::Export { snapshot, operator, key } => {
                let wanted = export::Wanted { operator: operator.as_deref(), key: key.as_deref() };
                export::export(&kept, snapshot.as_deref(), &wanted, states, out)
            }
            StateRequest::Collect { dry_run } => collect(&kept, *dry_run, out),
            StateRequest::Savepoint { name, snapshot } => {
                check_name(name)?;
                let manifest = kept.save(name, snapshot.as_deref())?;
                Ok(writeln!(out, "savepoint `{name}`: the state after epoch {}", manifest.epoch)?)
            }
            StateRequest::Drop { savepoint } => {
                let known = kept.store.savepoints()?;
                if !known.contains(savepoint) {
                    return Err(StartError::no_snapshot(savepoint, &known));
                }
                kept.store.remove_savepoint(savepoint)?;
                Ok(writeln!(out, "savepoint `{savepoint}` is kept no longer")?)
            }
            StateRequest::Fork { job, snapshot } => {
                Store::check_job(&self.config.state, job)?;
                // A job that runs would remove what is being copied. Nobody else's savepoint has such a name.
                let held = format!("_fork-{job}");
                kept.store.remove_savepoint(&held)?;
                let manifest = kept.save(&held, snapshot.as_deref())?;
                let forked = self.fork(&kept.store, &manifest, job, out);
                kept.store.remove_savepoint(&held)?;
                forked
            }
        }
    }
}

impl Kept {
    /// The name of the manifest that the next start goes on from.
    fn newest(&self) -> Option<&str> {
        self.counted.last().map(String::as_str)
    }

    /// The snapshot that the next start goes on from, if there is one.
    pub fn next(&self) -> Result<Option<Manifest>, StartError> {
        match (self.job.config.snapshot.as_str(), self.newest()) {
            ("", None) => Ok(None),
            ("", Some(_)) => self.manifest(None).map(Some),
            (asked, _) => asked_for(&self.store, &self.counted, asked).map(Some),
        }
    }

    /// That there is every object of a snapshot that the next start goes on from.
    pub fn expect_whole(&self, manifest: &Manifest) -> Result<(), StartError> {
        let (name, Some(object)) = (manifest.name(), self.store.missing(manifest)?) else {
            return Ok(());
        };
        let counted = self.job.counted()?;
        // A job that runs may have replaced it a moment ago.
        if !counted.contains(&name) {
            return Ok(());
        }
        let missing = StoreError::Missing { place: self.store.place().to_string(), name: object };
        Err(StartError::of_snapshot(missing.into(), &name, &counted, &self.store))
    }

    /// All that may be named.
    fn names(&self) -> Result<Vec<String>, StartError> {
        Ok([self.counted.clone(), self.store.savepoints()?].concat())
    }

    /// A snapshot: a savepoint or a manifest that counts by its name, or the newest.
    fn manifest(&self, snapshot: Option<&str>) -> Result<Manifest, StartError> {
        match (snapshot, self.newest()) {
            (Some(name), _) if self.counted.iter().any(|counted| counted == name) => {
                Ok(self.store.manifest(name)?)
            }
            (Some(name), _) if self.names()?.iter().any(|known| known == name) => {
                Ok(self.store.savepoint(name)?)
            }
            (Some(name), _) => Err(StartError::no_snapshot(name, &self.names()?)),
            (None, Some(name)) => self.job.newest(&self.store, name),
            (None, None) => Err(StartError::NoSnapshot),
        }
    }

    /// Keeps a snapshot under a name. A job that runs may remove the newest before that: then it has a newer one.
    fn save(&self, name: &str, snapshot: Option<&str>) -> Result<Manifest, StartError> {
        for _ in 0..LOOKS {
            let manifest = self.manifest(snapshot)?;
            match self.store.save(name, &manifest) {
                Ok(()) => return self.whole(name, manifest),
                Err(SnapshotError::Store(StoreError::Taken { .. })) => {
                    return Err(StartError::SavepointIsThere { name: name.to_string() });
                }
                Err(SnapshotError::Store(StoreError::Missing { .. })) if snapshot.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StartError::SnapshotGone { name: self.manifest(snapshot)?.name() })
    }

    /// A savepoint that was just made: nothing of it is removed any more. It is kept where all of it can be read.
    fn whole(&self, savepoint: &str, manifest: Manifest) -> Result<Manifest, StartError> {
        match self.store.check(&manifest) {
            Ok(()) => Ok(manifest),
            Err(error) => {
                self.store.remove_savepoint(savepoint)?;
                Err(error.into())
            }
        }
    }

    /// Whether a job that runs has removed it, as it does with what two later snapshots have followed.
    fn is_gone(&self, name: &str) -> Result<bool, StartError> {
        let known = [self.job.counted()?, self.store.savepoints()?].concat();
        Ok(!known.iter().any(|known| known == name))
    }

    /// Why something of the snapshot of this name cannot be read.
    fn why(&self, name: &str, error: SnapshotError) -> Result<StartError, StartError> {
        Ok(match self.is_gone(name)? {
            true => StartError::SnapshotGone { name: name.to_string() },
            false => error.into(),
        })
    }
}

/// A savepoint's name is a file's, and never a manifest's.
fn check_name(name: &str) -> Result<(), StartError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let letter = name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    if letter && name.len() <= 64 && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(StartError::SavepointName { found: name.to_string() })
    }
}

fn collect(kept: &Kept, dry_run: bool, out: &mut dyn Write) -> Result<(), StartError> {
    let newest = kept.manifest(None)?;
    // Looked at again: a job that runs may have taken others since.
    let counted = kept.job.counted()?;
    let garbage = match dry_run {
        true => kept.store.garbage(&newest, &counted)?,
        false => kept.store.collect_garbage(&newest, &counted)?,
    };
    for name in &garbage {
        writeln!(out, "{} {name}", if dry_run { "not needed" } else { "removed" })?;
    }
    Ok(writeln!(out, "{} objects", garbage.len())?)
}
