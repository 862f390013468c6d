//! Which snapshots there are, and what one holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::json;
use tideflow_state::Manifest;

use super::Kept;
use crate::StartError;
use crate::start::Job;

impl Job {
    /// A line a snapshot, oldest first, then the savepoints.
    pub(super) fn list(&self, kept: &Kept, out: &mut dyn Write) -> Result<(), StartError> {
        let (store, name, state) = (&kept.store, &self.name, &self.config.state);
        writeln!(out, "job `{name}`, generation {}, in `{state}`", store.generation()?)?;
        writeln!(out, "{:<41} {:>12} {:>14} {:>15}", "SNAPSHOT", "EPOCH", "WATERMARK", "BYTES")?;
        for name in store.manifests()? {
            let note = match kept.counted.iter().rev().position(|counted| *counted == name) {
                Some(0) => "  the next start goes on from here",
                Some(_) => "",
                None => "  does not count",
            };
            match store.manifest(&name) {
                Ok(manifest) => line(&name, &manifest, note, out)?,
                // Deleted by the running job.
                Err(_) if !store.manifests()?.contains(&name) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for name in store.savepoints()? {
            line(&name, &store.savepoint(&name)?, "  savepoint", out)?;
        }
        Ok(())
    }
}

fn line(
    name: &str,
    manifest: &Manifest,
    note: &str,
    out: &mut dyn Write,
) -> Result<(), StartError> {
    let Manifest { epoch, watermark, .. } = manifest;
    let watermark = watermark.to_string();
    Ok(writeln!(out, "{name:<41} {epoch:>12} {watermark:>14} {:>15}{note}", bytes(manifest))?)
}

/// What a start from it has to read.
fn bytes(manifest: &Manifest) -> u64 {
    manifest.operators.values().flat_map(BTreeMap::values).map(|place| place.len).sum()
}

/// A snapshot as JSON.
pub(super) fn show(
    kept: &Kept,
    snapshot: Option<&str>,
    out: &mut dyn Write,
) -> Result<(), StartError> {
    let manifest = kept.manifest(snapshot)?;
    let operators = manifest.operators.iter().map(|(name, groups)| {
        let versions: BTreeSet<_> = groups.values().map(|place| place.version).collect();
        let bytes: u64 = groups.values().map(|place| place.len).sum();
        json!({ "operator": name, "versions": versions, "key_groups": groups.len(), "bytes": bytes })
    });
    let name = manifest.name();
    let shown = json!({
        "manifest": name,
        "counts": kept.newest() == Some(&name),
        "generation": manifest.generation,
        "epoch": manifest.epoch,
        "watermark": manifest.watermark,
        "bytes": bytes(&manifest),
        "operators": operators.collect::<Vec<_>>(),
        "partitions": manifest.parts,
        "published": manifest.progress,
    });
    Ok(writeln!(out, "{shown:#}")?)
}
