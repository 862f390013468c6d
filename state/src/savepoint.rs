//! Savepoints: snapshots that are kept under a name, until they are dropped.

use std::collections::BTreeSet;

use crate::snapshot::{MANIFESTS, SEGMENTS, SnapshotError};
use crate::{Manifest, Store, StoreError};

/// Their folder: each is a manifest, under its own name.
const SAVEPOINTS: &str = "savepoint";

impl Store {
    /// Keeps the snapshot of a manifest under a name that is not in use.
    ///
    /// # Errors
    /// [`StoreError::Taken`] where it is; when a part of the snapshot is not there any more.
    pub fn save(&self, name: &str, manifest: &Manifest) -> Result<(), SnapshotError> {
        let path = format!("{SAVEPOINTS}/{name}");
        self.create(&path, manifest.text())?;
        // What was cleaned up before this was written is gone.
        let there: BTreeSet<String> = self.names(SEGMENTS)?.into_iter().collect();
        match manifest.segments().find(|segment| !there.contains(*segment)) {
            None => Ok(()),
            Some(segment) => {
                self.remove(&path)?;
                let (place, name) = (self.place().to_string(), format!("{SEGMENTS}/{segment}"));
                Err(StoreError::Missing { place, name }.into())
            }
        }
    }

    /// The names of all savepoints, in order.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn savepoints(&self) -> Result<Vec<String>, StoreError> {
        self.names(SAVEPOINTS)
    }

    /// Reads a savepoint.
    ///
    /// # Errors
    /// When it is missing, or no manifest of this version.
    pub fn savepoint(&self, name: &str) -> Result<Manifest, SnapshotError> {
        self.read_manifest(SAVEPOINTS, name)
    }

    /// Keeps a savepoint no longer; what no other snapshot needs of it goes with the next clean-up.
    ///
    /// # Errors
    /// [`StoreError::Missing`] where there is none of this name.
    pub fn drop_savepoint(&self, name: &str) -> Result<(), StoreError> {
        let path = format!("{SAVEPOINTS}/{name}");
        self.read(&path)?;
        self.remove(&path)
    }

    /// The objects that are not needed: manifests of `kept`'s generation and before that are neither `kept`
    /// nor one of those `beside` it, and segments that none of those left names, nor a savepoint. Only once
    /// `kept` counts; what a later generation has written is left alone.
    ///
    /// # Errors
    /// When the store does not answer, or a manifest that is kept cannot be read.
    pub fn garbage(
        &self,
        kept: &Manifest,
        beside: &[String],
    ) -> Result<Vec<String>, SnapshotError> {
        let names = self.names(MANIFESTS)?;
        let kept_name = kept.name();
        let needed = |name: &String| *name >= kept_name || beside.contains(name);
        let (needed, old): (Vec<_>, Vec<_>) = names.into_iter().partition(needed);
        let mut named = BTreeSet::new();
        for name in &needed {
            named.extend(self.manifest(name)?.segments().map(str::to_string));
        }
        for name in self.savepoints()? {
            named.extend(self.savepoint(&name)?.segments().map(str::to_string));
        }
        // A segment of a later epoch may be that of a snapshot under way.
        let limit = format!("{:020}-", kept.epoch);
        let segments = self.names(SEGMENTS)?.into_iter();
        let segments = segments.filter(|name| *name < limit && !named.contains(name));
        let manifests = old.into_iter().map(|name| format!("{MANIFESTS}/{name}"));
        Ok(manifests.chain(segments.map(|name| format!("{SEGMENTS}/{name}"))).collect())
    }

    /// Removes the [`Store::garbage`].
    ///
    /// # Errors
    /// Those of it; when the store does not do it.
    pub fn collect_garbage(&self, kept: &Manifest, beside: &[String]) -> Result<(), SnapshotError> {
        let garbage = self.garbage(kept, beside)?;
        garbage.iter().try_for_each(|name| Ok(self.remove(name)?))
    }

    /// Copies the parts of a snapshot into the store of another job.
    ///
    /// # Errors
    /// When one is missing here, or there already there.
    pub fn copy_parts(&self, manifest: &Manifest, to: &Store) -> Result<(), StoreError> {
        let segments: BTreeSet<_> = manifest.segments().collect();
        segments.into_iter().try_for_each(|segment| {
            let name = format!("{SEGMENTS}/{segment}");
            to.create(&name, self.read(&name)?)
        })
    }
}
