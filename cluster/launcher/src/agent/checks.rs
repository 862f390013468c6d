//! Has the graph's own program look at what it needs, on the host where it would run.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::place::Place;
use super::placing::lay_out;
use super::{AgentError, at, doctor};
use crate::release::{CONFIG, MODELS};
use crate::wire::{Checked, Placement};
use crate::{bounded, clock, env_file};

/// Runs `check` of a release in a placement, or of what is current.
pub(super) fn check(
    place: &Place,
    release: Option<&str>,
    placement: Option<&Placement>,
    timeout: Duration,
) -> Result<Checked, AgentError> {
    let what = || "checking what the graph needs".to_string();
    let name = release.map(str::to_owned).or_else(|| place.current());
    let name = name.ok_or_else(|| AgentError::Found("no release is there yet".into()))?;
    let manifest = place.manifest(&name);
    let manifest = manifest.ok_or_else(|| AgentError::Found(format!("no release `{name}`")))?;
    let folder = place.release(&name);
    let run = |base: &Path| {
        let mut command = Command::new(folder.join(&manifest.binary));
        command.arg("check").current_dir(base.join("work"));
        if manifest.files.contains_key(CONFIG) {
            command.arg("--config").arg(folder.join(CONFIG));
        }
        for file in ["run.env", "secrets/run.env"] {
            command.envs(env_file::read(&fs::read_to_string(base.join(file))?));
        }
        ended(command, timeout)
    };
    match placement {
        None => run(&place.folder).map_err(at(what())),
        Some(placement) => {
            doctor::expect_free_for(place, &placement.assigned)?;
            // A folder of its own, which nobody else may enter: nothing of what runs is touched.
            let draft = tempfile::Builder::new().prefix(".check-").tempdir_in(&place.folder);
            let draft = draft.map_err(at(what()))?;
            lay_out(draft.path(), &folder, placement)
                .and_then(|()| borrow_work(place, draft.path()))
                .and_then(|()| run(draft.path()))
                .map_err(at(what()))
        }
    }
}

/// What the process has written into its working folder is there for the check too.
fn borrow_work(place: &Place, draft: &Path) -> io::Result<()> {
    for entry in fs::read_dir(place.at("work")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name != MODELS {
            symlink(entry.path(), draft.join("work").join(name))?;
        }
    }
    Ok(())
}

/// What a check has said.
fn ended(command: Command, timeout: Duration) -> io::Result<Checked> {
    let ended = bounded::run(command, timeout)?;
    let mut lines: Vec<_> =
        ended.out.lines().chain(ended.errors.lines()).map(str::to_owned).collect();
    if ended.late {
        lines.push(format!("FAIL  check: not done within {}", clock::shown(timeout)));
    }
    Ok(Checked { code: ended.code.unwrap_or(1), lines })
}
