//! A job's process on a host, kept by systemd or by `tideflow supervise`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::place::Place;
use super::{AgentError, at, doctor, facts, pages, systemctl};
use crate::clock;
use crate::release::{CONFIG, SUPERVISOR};
use crate::supervise::{self, Phase, Report};
use crate::wire::{State, Status};

/// How often something that changes is looked at.
const EVERY: Duration = Duration::from_millis(20);
/// Time for a supervisor to have started the process, or to have said why not.
const START_TIME: Duration = Duration::from_secs(5);
/// Time for a process to be gone that was killed.
const KILL_TIME: Duration = Duration::from_secs(5);
/// What a supervisor says where nobody looks.
const SUPERVISOR_LOG: &str = "logs/supervise.log";
/// Beyond the process's own limit, before its supervisor kills it: it says why it is late.
const STOP_SPARE_MS: u64 = 2_000;

/// Whether the process runs, or is being started again.
pub(super) fn runs(place: &Place) -> Result<bool, AgentError> {
    Ok(match systemctl::version() {
        Some(_) => matches!(systemctl::show(place).state, State::Running | State::Restarting),
        None => held(place)?,
    })
}

fn held(place: &Place) -> Result<bool, AgentError> {
    supervise::is_held(&place.folder).map_err(at("looking at the supervisor's lock"))
}

/// That nothing runs here: what runs must not have its release and its place changed beneath it.
pub(super) fn expect_stopped(place: &Place) -> Result<(), AgentError> {
    match runs(place)? {
        true => {
            let why = "a process of the job runs here: `tideflow stop` first";
            Err(AgentError::Found(why.into()))
        }
        false => Ok(()),
    }
}

/// Starts the process that is placed here. Nothing runs.
pub(super) fn start(place: &Place) -> Result<(), AgentError> {
    doctor::expect_free(place)?;
    if systemctl::version().is_some() {
        return systemctl::start(place);
    }
    let log = place.at(SUPERVISOR_LOG);
    let what = || "starting the supervisor".to_string();
    let out = File::create(&log).map_err(at(what()))?;
    let mut command = supervisor(place)?;
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().map_err(at(what()))?).stderr(out);
    let since_ms = clock::now_ms();
    let mut child = command.spawn().map_err(at(what()))?;
    let started = clock::until(Instant::now() + START_TIME, EVERY, || {
        let report = Report::read(&place.folder).filter(|report| report.written_ms >= since_ms);
        let begun = report.is_some_and(|report| report.supervisor == child.id() && report.pid != 0);
        // One that ends at once has said why, and how it ended is told by `status`.
        let ended = matches!(child.try_wait(), Ok(Some(_)));
        (begun || ended).then_some(begun)
    });
    match started {
        Some(true) => Ok(()),
        _ => {
            let words = fs::read_to_string(&log).unwrap_or_default();
            Err(AgentError::Found(format!("{}: {}", what(), words.trim().replace('\n', "; "))))
        }
    }
}

/// The supervisor of the process that is placed here.
fn supervisor(place: &Place) -> Result<Command, AgentError> {
    let none = || AgentError::Found("nothing was brought here yet: `tideflow up` does".into());
    let assigned = place.assigned().ok_or_else(none)?;
    let release = place.current().and_then(|name| place.manifest(&name)).ok_or_else(none)?;
    let current = place.at("current");
    let mut command = Command::new(current.join(SUPERVISOR));
    let mut with = |flag: &str, value: PathBuf| {
        command.arg(flag).arg(value);
    };
    with("supervise", "--detach".into());
    with("--folder", place.folder.clone());
    with("--env", place.at("run.env"));
    with("--env", place.at("secrets/run.env"));
    with("--work", place.at("work"));
    let limits = &assigned.limits;
    for (flag, number) in [
        ("--stop-timeout-ms", assigned.stop_timeout_ms + STOP_SPARE_MS),
        ("--restart-wait-ms-min", limits.restart_wait_ms_min.into()),
        ("--restart-wait-ms-max", limits.restart_wait_ms_max.into()),
        ("--open-files", limits.open_files.into()),
    ] {
        with(flag, number.to_string().into());
    }
    with("--", current.join(&release.binary));
    command.arg("run");
    if release.files.contains_key(CONFIG) {
        command.arg("--config").arg(current.join(CONFIG));
    }
    Ok(command)
}

/// Stops the process: returns once it is gone, with how it ended where that was not well.
pub(super) fn stop(place: &Place, timeout: Duration) -> Result<Option<String>, AgentError> {
    if systemctl::version().is_some() {
        return systemctl::stop(place);
    }
    if !held(place)? {
        return Ok(None);
    }
    let Some(report) = Report::read(&place.folder) else {
        return Err(AgentError::Found(
            "something holds the lock and says nothing of itself".into(),
        ));
    };
    // Its supervisor kills it where it must: not before that, it may be publishing still.
    let own = place.assigned().map_or(0, |assigned| assigned.stop_timeout_ms + STOP_SPARE_MS);
    let timeout = timeout.max(Duration::from_millis(own) + KILL_TIME);
    let ours = |pid: &u32| facts::is_ours(*pid, &place.folder);
    let signal = |pid: u32, signal| {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may be gone already.
            let _ = rustix::process::kill_process(pid, signal);
        }
    };
    // A supervisor that was killed leaves a process behind.
    let alive = [report.supervisor, report.pid].into_iter().find(ours);
    alive.into_iter().for_each(|pid| signal(pid, Signal::TERM));
    let gone = |time: Duration| {
        clock::until(Instant::now() + time, EVERY, || (!held(place).ok()?).then_some(()))
    };
    if gone(timeout).is_some() {
        let report = Report::read(&place.folder);
        return Ok(report.and_then(|report| report.ended_badly()));
    }
    let report = Report::read(&place.folder).unwrap_or(report);
    for pid in [report.supervisor, report.pid].into_iter().filter(ours) {
        signal(pid, Signal::KILL);
    }
    let end =
        if gone(KILL_TIME).is_some() { "killed, its last epochs unpublished" } else { "not gone" };
    Err(AgentError::Found(format!("not stopped within {}: {end}", clock::shown(timeout))))
}

/// How the process is.
pub(super) fn status(place: &Place) -> Result<Status, AgentError> {
    let assigned = place.assigned();
    let mut status = match systemctl::version() {
        Some(_) => of_systemd(place),
        None => of_supervisor(place)?,
    };
    status.process = assigned.as_ref().map(|assigned| assigned.process);
    status.release = place.current();
    if status.process.is_none() && status.state != State::Running {
        status.state = State::Nothing;
    }
    if let (State::Running, Some(assigned)) = (status.state, &assigned) {
        match pages::get(place, assigned, "/metrics") {
            Ok((200, text)) => {
                let figures = pages::figures(&text);
                (status.generation, status.epoch) = (figures.generation, figures.epoch);
                status.lag = figures.lag;
            }
            Ok((401, _)) => {
                let words = "its pages want a token: put `http.token` into `[secrets]`";
                status.words = Some(words.into());
            }
            Ok((code, _)) => status.words = Some(format!("its pages answer with {code}")),
            Err(error) => status.words = Some(format!("its pages do not answer: {error}")),
        }
        status.ready = pages::get(place, assigned, "/readyz").ok().map(|(code, _)| code == 200);
    }
    Ok(status)
}

fn of_systemd(place: &Place) -> Status {
    let shown = systemctl::show(place);
    let words = shown.ended.map(|ended| {
        let last = facts::first_line(&mut systemctl::journal(place, 1, false));
        last.map_or(ended.clone(), |last| format!("{ended}: {last}"))
    });
    let (state, restarts, uptime_ms) = (shown.state, shown.restarts, shown.uptime_ms);
    Status { state, restarts, uptime_ms, words, ..Status::default() }
}

fn of_supervisor(place: &Place) -> Result<Status, AgentError> {
    let Some(report) = Report::read(&place.folder) else { return Ok(Status::default()) };
    let held = held(place)?;
    let alone = held && !facts::is_ours(report.supervisor, &place.folder);
    let state = match report.phase {
        Phase::Running if held => State::Running,
        Phase::Restarting if held => State::Restarting,
        Phase::Stopped => State::Stopped,
        _ => State::Failed,
    };
    let words = match state {
        _ if alone => Some("its supervisor is gone: `tideflow restart` brings another".into()),
        State::Running => None,
        _ => report.told(),
    };
    let running = state == State::Running;
    Ok(Status {
        state,
        restarts: report.restarts,
        uptime_ms: running.then(|| clock::now_ms() - report.started_ms),
        words,
        ..Status::default()
    })
}

/// Takes the process's place away. It was stopped before.
pub(super) fn leave(place: &Place) -> Result<(), AgentError> {
    expect_stopped(place)?;
    systemctl::remove(place)?;
    for name in ["assigned.json", "supervise.json", "hosts", "run.env"] {
        let path = place.at(name);
        if path.exists() {
            fs::remove_file(&path).map_err(at(format!("removing `{}`", path.display())))?;
        }
    }
    let secrets = place.at("secrets");
    match secrets.exists() {
        true => fs::remove_dir_all(&secrets).map_err(at("removing the secrets")),
        false => Ok(()),
    }
}

/// Removes the job's folder, but for what the process has written itself: that folder, where it is not
/// empty.
pub(super) fn remove(place: &Place) -> Result<Option<PathBuf>, AgentError> {
    leave(place)?;
    let what = || format!("removing `{}`", place.folder.display());
    let work = place.at("work");
    let written = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_symlink());
    let kept = fs::read_dir(&work).is_ok_and(|entries| entries.flatten().any(|e| written(&e)));
    for entry in fs::read_dir(&place.folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if kept && path == work {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(at(what()))?;
    }
    if kept {
        return Ok(Some(work));
    }
    match place.folder.exists() {
        true => fs::remove_dir(&place.folder).map(|()| None).map_err(at(what())),
        false => Ok(None),
    }
}
