//! What is on a host.

use std::path::Path;
use std::process::{Command, Stdio};

use super::place::Place;
use super::{AgentError, process};
use crate::clock;
use crate::wire::Facts;

/// What is on this host.
pub(super) fn facts(place: &Place) -> Result<Facts, AgentError> {
    let current = place.linked("current");
    let current = current.and_then(|name| place.manifest(&name).map(|release| (name, release)));
    Ok(Facts {
        now_ms: clock::now_ms(),
        libc: libc(),
        releases: place.releases(),
        current,
        previous: place.linked("previous"),
        assigned: place.assigned(),
        running: process::runs(place)?,
    })
}

/// The C library, as `glibc 2.36`.
pub(crate) fn libc() -> Option<String> {
    first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"))
}

/// The first line that a program prints, if it ends well.
pub(super) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// Whether a process is one of a job's: numbers of processes are used again.
pub(super) fn is_ours(pid: u32, folder: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    pid != 0 && line.contains(&format!("{}/", folder.display()))
}
