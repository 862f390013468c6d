//! State as JSON lines.

use std::io::{self, Write};

use tideflow_core::StateForm;

use super::Kept;
use crate::StartError;

/// Which of it.
pub(super) struct Wanted<'a> {
    pub operator: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// Writes `{"operator":…,"key":…,"state":…}` for each key of each operator, a line each: a key may have
/// several.
pub(super) fn export(
    kept: &Kept,
    snapshot: Option<&str>,
    wanted: &Wanted<'_>,
    states: &[StateForm],
    out: &mut dyn Write,
) -> Result<(), StartError> {
    let manifest = kept.manifest(snapshot)?;
    // A key that is a text is meant by its text.
    let key = wanted.key.map(|key| [key.to_string(), serde_json::json!(key).to_string()]);
    if let Some(operator) = wanted.operator
        && !states.iter().any(|form| form.operator == operator)
    {
        let known = states.iter().map(|form| format!("`{}`", form.operator)).collect::<Vec<_>>();
        let (found, known) = (operator.to_string(), known.join(", "));
        return Err(StartError::NoOperator { found, known });
    }
    let mut found_any = false;
    let meant = |form: &&StateForm| wanted.operator.is_none_or(|name| name == form.operator);
    for form in states.iter().filter(meant) {
        let operator = serde_json::json!(form.operator);
        for found in kept.store.groups(&manifest, &form.operator) {
            let (group, version, bytes) = match found {
                Ok(found) => found,
                Err(error) => {
                    let name = manifest.name();
                    return Err(kept.why(snapshot.unwrap_or(&name), error)?);
                }
            };
            let mut written: io::Result<()> = Ok(());
            let shown = form.show(version, &bytes, &mut |found, state| {
                if written.is_ok() && key.as_ref().is_none_or(|key| key.iter().any(|k| k == found))
                {
                    found_any = true;
                    written = writeln!(
                        out,
                        "{{\"operator\":{operator},\"key\":{found},\"state\":{state}}}"
                    );
                }
            });
            written?;
            shown.map_err(|reason| StartError::Unreadable {
                operator: form.operator.clone(),
                group: group.0,
                reason,
            })?;
        }
    }
    match wanted.key {
        Some(key) if !found_any => Err(StartError::NoKey { key: key.to_string() }),
        _ => Ok(()),
    }
}
