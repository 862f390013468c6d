//! Which snapshots there are, and what one holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use serde_json::json;
use tideflow_core::ErrorKind;
use tideflow_state::{Manifest, SnapshotError};

use super::Kept;
use crate::StartError;
use crate::start::Job;

impl Job {
    /// A line a snapshot, oldest first, then the savepoints: all of them, whatever is wrong with some.
    pub(super) fn list(&self, kept: &Kept, out: &mut dyn Write) -> Result<(), StartError> {
        let (store, name, state) = (&kept.store, &self.name, &self.config.state);
        writeln!(out, "job `{name}`, generation {}, in `{state}`", store.generation()?)?;
        writeln!(out, "{:<41} {:>12} {:>14} {:>15}", "SNAPSHOT", "EPOCH", "WATERMARK", "BYTES")?;
        let next = match self.config.snapshot.as_str() {
            "" => kept.newest(),
            asked => Some(asked),
        };
        let (mut of, mut bad) = (0, 0);
        let names: BTreeSet<_> =
            store.manifests()?.into_iter().chain(kept.counted.clone()).collect();
        for name in &names {
            let (counts, next) = (kept.counted.contains(name), next == Some(name));
            let row = Row::of(kept, store.manifest(name))?;
            // Removed by the running job.
            let gone = || match counts {
                true => kept.is_gone(name),
                false => Ok(!store.manifests()?.contains(name)),
            };
            if row.problem.is_some() && gone()? {
                continue;
            }
            of += usize::from(counts);
            bad += usize::from(counts && row.problem.is_some());
            let note = match (counts, next, &row.problem) {
                (false, ..) => "does not count".to_string(),
                (true, true, None) => "the next start goes on from here".to_string(),
                (true, true, Some(why)) => format!("the next start is refused: {why}"),
                (true, false, None) => String::new(),
                (true, false, Some(why)) => format!("cannot be gone on from: {why}"),
            };
            row.write(name, &note, out)?;
        }
        for name in store.savepoints()? {
            let row = Row::of(kept, store.savepoint(&name))?;
            (of, bad) = (of + 1, bad + usize::from(row.problem.is_some()));
            let why = row.problem.as_ref().map(|why| format!(", cannot be gone on from: {why}"));
            row.write(&name, &format!("savepoint{}", why.unwrap_or_default()), out)?;
        }
        match bad {
            0 => Ok(()),
            _ => Err(StartError::Unusable { bad, of }),
        }
    }
}

/// What a line says of a snapshot.
struct Row {
    manifest: Option<Manifest>,
    /// Why it cannot be gone on from, as far as is seen without reading all of it.
    problem: Option<String>,
}

impl Row {
    fn of(kept: &Kept, manifest: Result<Manifest, SnapshotError>) -> Result<Row, StartError> {
        Ok(match manifest {
            Ok(manifest) => {
                let missing = kept.store.missing(&manifest)?;
                let problem = missing.map(|object| format!("`{object}` is missing"));
                Row { manifest: Some(manifest), problem }
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error.into()),
            Err(error) => Row { manifest: None, problem: Some(error.to_string()) },
        })
    }

    fn write(&self, name: &str, note: &str, out: &mut dyn Write) -> Result<(), StartError> {
        let known = |text: fn(&Manifest) -> String| {
            self.manifest.as_ref().map_or_else(|| "-".to_string(), text)
        };
        let epoch = known(|manifest| manifest.epoch.to_string());
        let watermark = known(|manifest| manifest.watermark.to_string());
        let bytes = known(|manifest| bytes(manifest).to_string());
        let line = format!("{name:<41} {epoch:>12} {watermark:>14} {bytes:>15}  {note}");
        Ok(writeln!(out, "{}", line.trim_end())?)
    }
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
