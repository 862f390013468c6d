//! The process's unit, where systemd keeps it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::place::Place;
use super::{AgentError, at, facts};
use crate::release::CONFIG;
use crate::systemd::{Unit, unit_name};
use crate::wire::State;

/// Where units of this machine's own are.
const UNITS: &str = "/etc/systemd/system";

/// The version of systemd, where it runs and this user may give it units.
pub(super) fn version() -> Option<u32> {
    if !Path::new("/run/systemd/system").is_dir() || !rustix::process::geteuid().is_root() {
        return None;
    }
    let line = facts::first_line(Command::new("systemctl").arg("--version"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How systemd says that the process is.
pub(super) struct Shown {
    pub state: State,
    pub restarts: u64,
    pub uptime_ms: Option<i64>,
    pub ended: Option<String>,
}

/// Writes the unit and starts it, now and when the machine starts.
pub(super) fn start(place: &Place) -> Result<(), AgentError> {
    let none = || AgentError::Found("nothing was brought here yet".into());
    let assigned = place.assigned().ok_or_else(none)?;
    let release = place.current().and_then(|name| place.manifest(&name)).ok_or_else(none)?;
    let unit = Unit {
        job: &place.job,
        folder: &place.folder,
        binary: &release.binary,
        config: release.files.contains_key(CONFIG),
        stop_timeout_ms: assigned.stop_timeout_ms,
        limits: &assigned.limits,
        writable: &assigned.writable,
    };
    let path = unit_path(place);
    fs::write(&path, unit.text()).map_err(at(format!("writing `{}`", path.display())))?;
    let name = unit_name(&place.job);
    systemctl(&["daemon-reload"])?;
    // Refused where it never failed.
    let _ = systemctl(&["reset-failed", &name]);
    systemctl(&["enable", "--quiet", &name])?;
    systemctl(&["start", &name])
}

/// Stops the process, for the machine's next start too: returns once it is gone, with how it ended where that
/// was not well.
pub(super) fn stop(place: &Place) -> Result<Option<String>, AgentError> {
    if !unit_path(place).exists() {
        return Ok(None);
    }
    let name = unit_name(&place.job);
    systemctl(&["stop", &name])?;
    systemctl(&["disable", "--quiet", &name])?;
    Ok(show(place).ended)
}

/// Removes the unit of a process that was stopped.
pub(super) fn remove(place: &Place) -> Result<(), AgentError> {
    let path = unit_path(place);
    if path.exists() {
        fs::remove_file(&path).map_err(at(format!("removing `{}`", path.display())))?;
        systemctl(&["daemon-reload"])?;
    }
    Ok(())
}

/// How the process is.
pub(super) fn show(place: &Place) -> Shown {
    let what = "--property=ActiveState,NRestarts,Result,ExecMainStatus,\
                ExecMainStartTimestampMonotonic";
    let output = Command::new("systemctl").args(["show", &unit_name(&place.job), what]).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let found: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let text = |key: &str| found.get(key).copied().unwrap_or_default();
    let number = |key: &str| text(key).parse::<u64>().unwrap_or(0);
    let (failed, code) = (text("Result"), number("ExecMainStatus"));
    let state = match text("ActiveState") {
        _ if !unit_path(place).exists() => State::Nothing,
        "active" | "deactivating" | "reloading" => State::Running,
        "activating" => State::Restarting,
        "failed" => State::Failed,
        _ => State::Stopped,
    };
    let started_ms = number("ExecMainStartTimestampMonotonic") / 1_000;
    let up_ms = up_ms().filter(|_| state == State::Running && started_ms > 0);
    Shown {
        state,
        restarts: number("NRestarts"),
        uptime_ms: up_ms.map(|up| up - i64::try_from(started_ms).unwrap_or(0)),
        ended: (state == State::Failed)
            .then(|| format!("the process ended: {failed}, code {code}")),
    }
}

/// A command that prints the process's log.
pub(super) fn journal(place: &Place, lines: usize, follow: bool) -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "-q", "-o", "cat", "-u", &unit_name(&place.job)]);
    command.args(["-n", &lines.to_string()]);
    if follow {
        command.arg("-f");
    }
    command
}

fn unit_path(place: &Place) -> PathBuf {
    Path::new(UNITS).join(unit_name(&place.job))
}

/// How long the machine has been up.
fn up_ms() -> Option<i64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some((seconds * 1_000.0) as i64)
}

fn systemctl(args: &[&str]) -> Result<(), AgentError> {
    let shown = format!("systemctl {}", args.join(" "));
    let output = Command::new("systemctl").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(at(shown.clone()))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(AgentError::Found(format!("{shown}: {words}")))
        }
    }
}
