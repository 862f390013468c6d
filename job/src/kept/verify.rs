//! Whether snapshots are whole.

use std::collections::BTreeMap;
use std::io::Write;

use tideflow_core::{Restored, StateForm};
use tideflow_state::Manifest;

use super::Kept;
use crate::StartError;

/// Reads all of a snapshot, or of every one that may be gone on from: what is damaged, missing or cannot be
/// read by this graph is told, and an error in the end.
pub(super) fn verify(
    kept: &Kept,
    snapshot: Option<&str>,
    states: &[StateForm],
    out: &mut dyn Write,
) -> Result<(), StartError> {
    let names = match snapshot {
        Some(name) => vec![name.to_string()],
        None => kept.names()?,
    };
    let mut bad = 0;
    for name in &names {
        let problems = match kept.manifest(Some(name)) {
            Ok(manifest) => problems(kept, &manifest, states),
            // A mistake of whoever asks, and none of the snapshots.
            Err(error @ StartError::NoSuchSnapshot { .. }) => return Err(error),
            Err(error) => vec![error.to_string()],
        };
        match problems[..] {
            [] => writeln!(out, "ok    {name}")?,
            _ if kept.is_gone(name)? => writeln!(out, "gone  {name}: the job has removed it")?,
            _ => {
                bad += 1;
                for problem in &problems {
                    writeln!(out, "FAIL  {name}: {problem}")?;
                }
            }
        }
    }
    match bad {
        0 => Ok(()),
        _ => Err(StartError::Unusable { bad, of: names.len() }),
    }
}

/// What is wrong with a snapshot: a line for each object that is, and each operator that does not read what it has
/// kept. Of several key groups the first is told, and how many there are.
fn problems(kept: &Kept, manifest: &Manifest, states: &[StateForm]) -> Vec<String> {
    let mut problems = BTreeMap::<String, (String, usize)>::new();
    let mut found = |of: String, problem: String| {
        problems.entry(of).or_insert((problem, 0)).1 += 1;
    };
    for (operator, groups) in &manifest.operators {
        let form = states.iter().find(|form| form.operator == *operator);
        if form.is_none() && !kept.job.config.drop_state.contains(operator) {
            found(
                format!("operator {operator}"),
                format!("this graph has no operator `{operator}`"),
            );
        }
        for (place, read) in groups.values().zip(kept.store.groups(manifest, operator)) {
            match read {
                Err(error) => found(format!("object {}", place.segment), error.to_string()),
                Ok(group) => {
                    if let Some(problem) = form.and_then(|form| unreadable(form, &group)) {
                        found(format!("operator {operator}"), problem);
                    }
                }
            }
        }
    }
    let told = |(problem, count): (String, usize)| match count {
        1 => problem,
        _ => format!("{problem} (and {} more key groups there)", count - 1),
    };
    problems.into_values().map(told).collect()
}

/// Why an operator cannot read a key group.
fn unreadable(form: &StateForm, (group, version, bytes): &Restored) -> Option<String> {
    let reason = form.show(*version, bytes, &mut |_, _| ()).err()?;
    Some(format!("key group {} of operator `{}`: {reason}", group.0, form.operator))
}
