//! A job of two processes, each kept by `tideflow supervise` as on a host without systemd.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tideflow_benches::program::{Lines, beside};

const PROCESSES: usize = 2;
/// What the process that is left says before it ends, and its supervisor once it has.
const ENDED: &str = "starting again in";

/// The processes, until they are dropped.
pub struct Pair {
    folder: TempDir,
    supervisors: Vec<Child>,
    /// What the first one and its supervisor say.
    lines: Lines,
}

impl Pair {
    /// Starts both, each with the arguments of this command and its place among the two.
    pub fn start(job: &Command) -> Result<Pair> {
        let folder = tempfile::tempdir()?;
        let listeners: Vec<_> =
            (0..PROCESSES).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let hosts: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
        let hosts: String = hosts?.iter().map(|address| format!("{address}\n")).collect();
        drop(listeners);
        let file = folder.path().join("hosts");
        fs::write(&file, hosts)?;
        let lines = Lines::of_file(&place(&folder, 0).join("logs/process.log"));
        let mut pair = Pair { folder, supervisors: Vec::new(), lines };
        for process in 0..PROCESSES {
            let started = supervised(job, &place(&pair.folder, process), &file, process).spawn();
            pair.supervisors.push(started.context("starting a supervisor")?);
        }
        Ok(pair)
    }

    /// Waits until the first process, or its supervisor, says this: when it was.
    pub fn says(&self, text: &str) -> Result<Instant> {
        self.lines.line(text).map(|(at, _)| at)
    }

    /// Waits until the process that was left has ended: when it was.
    pub fn ended(&self) -> Result<Instant> {
        self.says(ENDED)
    }

    /// Kills the second process: when it was.
    pub fn kill(&self) -> Result<Instant> {
        let report = fs::read(place(&self.folder, 1).join("supervise.json"))?;
        let report: Value = serde_json::from_slice(&report)?;
        let pid = report["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).context("its supervisor says which it is")?;
        let at = Instant::now();
        kill_process(pid, Signal::KILL)?;
        Ok(at)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Together: a process alone would wait for the other.
        for supervisor in &self.supervisors {
            let _ = kill_process(Pid::from_child(supervisor), Signal::TERM);
        }
        for supervisor in &mut self.supervisors {
            let _ = supervisor.wait();
        }
    }
}

/// The folder of a process's supervisor.
fn place(folder: &TempDir, process: usize) -> PathBuf {
    folder.path().join(process.to_string())
}

fn supervised(job: &Command, folder: &Path, hosts: &Path, process: usize) -> Command {
    let mut command = beside("tideflow");
    command.args(["supervise", "--folder"]).arg(folder).arg("--");
    command.arg(job.get_program()).args(job.get_args());
    command.arg(format!("--workers.process={process}"));
    command.arg(format!("--workers.hostfile={}", hosts.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
