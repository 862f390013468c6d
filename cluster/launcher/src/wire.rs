//! What the launcher and its agent say to each other.
//!
//! The launcher writes a [`Request`] as one line of JSON, and behind it the bytes of the objects that
//! it names, one after the other. The agent answers with [`Line`]s of JSON, of which the last is `Done` or
//! `Failed`. Both are the same program: its digest is part of the agent's name, so no other version
//! ever answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster_file::{Host, Limits};
use crate::release::{Object, Release};

/// One question to a host. It may hold secrets: it is no text of a command line, and is not printed.
#[derive(Serialize, Deserialize)]
pub struct Request {
    /// The folder of all jobs.
    pub place: PathBuf,
    /// The job.
    pub job: String,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked of a host.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// What is there: [`Facts`].
    Facts,
    /// Which of these objects are not there: their digests.
    Missing(Vec<Object>),
    /// Takes these objects, whose bytes follow.
    Put(Vec<Object>),
    /// Lays out a release of objects that are there, beside the current one.
    Install {
        /// Its folder's name.
        name: String,
        /// What it holds.
        release: Box<Release>,
    },
    /// Has the graph check what it needs: [`Checked`]. Without a release and a placement, the current one.
    Check {
        /// A release that is installed.
        release: Option<String>,
        /// How its process would run.
        placement: Option<Box<Placement>>,
        /// Longest time.
        timeout_ms: u64,
    },
    /// Stops the process well. Answers once it is gone: how it ended, where that was not well.
    Stop {
        /// Longest time; what is left then is killed.
        timeout_ms: u64,
    },
    /// Makes a release and a placement the current ones, where they are given, and starts the process. Answers why
    /// old releases could not be removed, where they could not.
    Start {
        /// A release that is installed.
        release: Option<String>,
        /// How its process runs.
        placement: Option<Box<Placement>>,
    },
    /// Takes the process's place away: nothing runs here until another start gives it one.
    Leave,
    /// How the process is: [`Status`].
    Status,
    /// Prints lines of the log, as [`Line::Log`].
    Logs {
        /// The newest lines, at most.
        lines: usize,
        /// Whether to go on until standard input ends.
        follow: bool,
    },
    /// Looks at the host: a list of [`Finding`]s.
    Doctor {
        /// Where its pages listen.
        http: u16,
        /// Where other processes reach it.
        cluster: u16,
        /// All hosts.
        hosts: Vec<Host>,
        /// Which one it is.
        own: usize,
    },
    /// Removes the job's folder, but for what the process has written into its working folder: what stays.
    Remove,
}

/// A line of an answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A line of the process's log.
    Log(String),
    /// The end: what was asked for.
    Done(Value),
    /// The end: why not.
    Failed(String),
}

/// What is on a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Its clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// The C library, as `glibc 2.36`.
    pub libc: Option<String>,
    /// The names of all releases.
    pub releases: Vec<String>,
    /// The current release.
    pub current: Option<(String, Release)>,
    /// The name of the one before.
    pub previous: Option<String>,
    /// Which process runs here.
    pub assigned: Option<Assigned>,
    /// Whether it runs, or is being started again.
    pub running: bool,
}

/// Which process runs on a host. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Its index.
    pub process: usize,
    /// All hosts of the job, by index.
    pub hosts: Vec<Host>,
    /// Workers a process.
    pub threads: u16,
    /// The port for other processes.
    pub cluster_port: u16,
    /// Where the pages listen.
    pub http: String,
    /// What the settings leave a stop, in milliseconds.
    pub stop_timeout_ms: u64,
    /// Its bounds.
    pub limits: Limits,
    /// Folders outside of the place that it writes to.
    pub writable: Vec<PathBuf>,
    /// The digest of its certificate and the authorities it trusts.
    pub certs: Option<String>,
    /// The secrets, each as a digest that only who has the job's token could make.
    pub secrets: BTreeMap<String, String>,
}

/// How a process runs on a host, secrets in the clear.
#[derive(Serialize, Deserialize)]
pub struct Placement {
    /// Which one it is.
    pub assigned: Assigned,
    /// Secret settings as variables.
    pub secrets: BTreeMap<String, String>,
    /// The job's token.
    pub token: String,
    /// Certificates, where hosts are not all this machine.
    pub certs: Option<CertFiles>,
}

/// The certificates of a process, as PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct CertFiles {
    /// The authorities that are trusted.
    pub ca: String,
    /// Its own certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// How a process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs.
    Running,
    /// It was lost, and is about to be started again.
    Restarting,
    /// It was stopped, or has come to its end.
    Stopped,
    /// It ended in a way that no start mends.
    Failed,
    /// There is none.
    #[default]
    Nothing,
}

/// A process, as people watch it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// How it is.
    pub state: State,
    /// Its index.
    pub process: Option<usize>,
    /// The release that runs.
    pub release: Option<String>,
    /// Whether it says that it is ready.
    pub ready: Option<bool>,
    /// Its generation.
    pub generation: Option<u64>,
    /// The newest epoch bound.
    pub epoch: Option<u64>,
    /// Records between where it reads and the ends of its partitions.
    pub lag: Option<u64>,
    /// How often it was started again.
    pub restarts: u64,
    /// How long it has run, in milliseconds.
    pub uptime_ms: Option<i64>,
    /// What is to be said: how it ended and its last words, or why its pages do not answer.
    pub words: Option<String>,
}

/// What the graph's own check has said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checked {
    /// Its exit code.
    pub code: i32,
    /// Its lines, `ok    what: found` and `FAIL  what: why`, and then its errors.
    pub lines: Vec<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, and may not for long.
    Warn,
    /// It cannot work.
    Fail,
}

/// One thing that was looked at on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(what: &str, found: impl Into<String>) -> Finding {
        Finding { grade: Grade::Ok, what: what.into(), found: found.into(), remedy: None }
    }

    /// Something to be mended.
    pub fn bad(grade: Grade, what: &str, found: impl Into<String>, remedy: &str) -> Finding {
        Finding { grade, what: what.into(), found: found.into(), remedy: Some(remedy.into()) }
    }
}
