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
        // A clean-up that has not seen it has removed all else that names the snapshot's parts before.
        let named = self.is_named(manifest, name);
        if let Ok(true) = named {
            return Ok(());
        }
        self.remove(&path)?;
        named?;
        let (place, name) = (self.place().to_string(), format!("{MANIFESTS}/{}", manifest.name()));
        Err(StoreError::Missing { place, name }.into())
    }

    /// Whether the manifest is still there, or a savepoint of the same but this one.
    fn is_named(&self, manifest: &Manifest, but: &str) -> Result<bool, SnapshotError> {
        if self.names(MANIFESTS)?.contains(&manifest.name()) {
            return Ok(true);
        }
        for name in self.savepoints()?.iter().filter(|name| *name != but) {
            if self.savepoint_if_there(name)?.is_some_and(|of| of.name() == manifest.name()) {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// One that was listed may have been dropped since.
    fn savepoint_if_there(&self, name: &str) -> Result<Option<Manifest>, SnapshotError> {
        match self.savepoint(name) {
            Err(_) if !self.savepoints()?.iter().any(|there| there == name) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Keeps a savepoint no longer; what no other snapshot needs of it goes with the next clean-up.
    ///
    /// # Errors
    /// When the store does not do it; none of this name is well too.
    pub fn remove_savepoint(&self, name: &str) -> Result<(), StoreError> {
        self.remove(&format!("{SAVEPOINTS}/{name}"))
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
        let (needed, old) = self.manifests_by_need(kept, beside)?;
        Ok([old, self.unnamed_segments(kept, &needed)?].concat())
    }

    /// Removes the [`Store::garbage`], and says what that was.
    ///
    /// # Errors
    /// Those of it; when the store does not do it.
    pub fn collect_garbage(
        &self,
        kept: &Manifest,
        beside: &[String],
    ) -> Result<Vec<String>, SnapshotError> {
        let (needed, old) = self.manifests_by_need(kept, beside)?;
        old.iter().try_for_each(|name| self.remove(name))?;
        // Savepoints are looked at when no new one can be made of what was removed.
        let segments = self.unnamed_segments(kept, &needed)?;
        segments.iter().try_for_each(|name| self.remove(name))?;
        Ok([old, segments].concat())
    }

    /// The names of the manifests that are needed, and the objects of the others.
    fn manifests_by_need(
        &self,
        kept: &Manifest,
        beside: &[String],
    ) -> Result<(Vec<String>, Vec<String>), SnapshotError> {
        let kept_name = kept.name();
        let needed = |name: &String| *name >= kept_name || beside.contains(name);
        let (needed, old) = self.names(MANIFESTS)?.into_iter().partition::<Vec<_>, _>(needed);
        Ok((needed, old.into_iter().map(|name| format!("{MANIFESTS}/{name}")).collect()))
    }

    fn unnamed_segments(
        &self,
        kept: &Manifest,
        manifests: &[String],
    ) -> Result<Vec<String>, SnapshotError> {
        let mut named = BTreeSet::new();
        for name in manifests {
            named.extend(self.manifest(name)?.segments().map(str::to_string));
        }
        for name in self.savepoints()? {
            let savepoint = self.savepoint_if_there(&name)?;
            named.extend(savepoint.iter().flat_map(Manifest::segments).map(str::to_string));
        }
        // A segment of a later epoch may be that of a snapshot under way.
        let limit = format!("{:020}-", kept.epoch);
        let segments = self.names(SEGMENTS)?.into_iter();
        let segments = segments.filter(|name| *name < limit && !named.contains(name));
        Ok(segments.map(|name| format!("{SEGMENTS}/{name}")).collect())
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
