//! `cluster.toml`: what is wanted, read and checked as a whole before anything is touched.
//!
//! `examples/cluster.toml` explains every key, and a test reads it. Paths are relative to the file's
//! own folder.

mod hosts;
mod read;
mod reader;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use hosts::{HostError, HostSource};

/// Everything that is wrong with the cluster file, or with what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Vec<String>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "cluster file refused: {one}"),
            many => {
                write!(f, "cluster file refused, {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Refused {}

/// A cluster file.
#[derive(Clone, Debug)]
pub struct ClusterFile {
    /// The folder that its paths are relative to.
    pub folder: PathBuf,
    /// What runs.
    pub job: Job,
    /// Where the hosts come from.
    pub hosts: HostSource,
    /// How they are reached.
    pub ssh: SshSettings,
    /// What the processes listen on.
    pub ports: Ports,
    /// Settings that are secrets, and where their values are kept.
    pub secrets: BTreeMap<String, SecretSource>,
    /// The folder of certificates and of the job's token.
    pub certs: PathBuf,
    /// Where it goes on a host.
    pub place: Place,
    /// Bounds of a process, and how it is started again.
    pub limits: Limits,
}

/// `[job]`: what runs.
#[derive(Clone, Debug)]
pub struct Job {
    /// The folder and the unit on a host are named by it.
    pub name: String,
    /// The graph's program.
    pub binary: PathBuf,
    /// Its settings, or none.
    pub config: Option<PathBuf>,
    /// Folders of models.
    pub models: Vec<PathBuf>,
    /// The folder of native libraries.
    pub native: Option<PathBuf>,
    /// Workers a process.
    pub threads: u16,
    /// Processes, or one on each host.
    pub processes: Option<usize>,
}

/// `[ssh]`: how hosts are reached.
#[derive(Clone, Debug)]
pub struct SshSettings {
    /// Who logs in; nobody said leaves it to OpenSSH.
    pub user: Option<String>,
    /// Where sshd listens.
    pub port: Option<u16>,
    /// The private key's file.
    pub key: Option<PathBuf>,
    /// The hosts' keys; OpenSSH's own file when nobody says.
    pub known_hosts: Option<PathBuf>,
    /// A configuration of OpenSSH in place of the user's.
    pub config: Option<PathBuf>,
    /// Whether the agent runs by `sudo`.
    pub sudo: bool,
}

/// `[ports]`: what a process listens on.
#[derive(Clone, Debug)]
pub struct Ports {
    /// Where processes reach each other.
    pub cluster: u16,
    /// The pages.
    pub http: u16,
    /// The address of the pages.
    pub http_bind: std::net::IpAddr,
}

/// `[place]`: where things go on a host.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of all jobs.
    pub folder: PathBuf,
    /// Folders outside of it that the process writes to.
    pub writable: Vec<PathBuf>,
}

/// `[limits]`: bounds of a process, and how it is started again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Memory at most, as systemd writes it; held where there is systemd.
    pub memory: Option<String>,
    /// Files open at once.
    pub open_files: u32,
    /// Wait before the first start after a loss.
    pub restart_wait_ms_min: u32,
    /// Longest wait before a start.
    pub restart_wait_ms_max: u32,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// What people call it.
    pub name: String,
    /// Where it is reached, by SSH and by the other hosts.
    pub address: String,
}

impl Host {
    /// Its line in a host file, and what its process listens on.
    pub fn endpoint(&self, port: u16) -> String {
        match self.address.contains(':') {
            true => format!("[{}]:{port}", self.address),
            false => format!("{}:{port}", self.address),
        }
    }

    /// Whether it is this machine, and reached by nobody else.
    pub fn is_loopback(&self) -> bool {
        let ip = self.address.parse::<std::net::IpAddr>();
        self.address == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// Where the value of a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the launcher's environment.
    Variable(String),
    /// A file. One line end at its end is not part of the secret.
    File(PathBuf),
}

impl SecretSource {
    /// The secret itself.
    ///
    /// # Errors
    /// When it is not there, is empty, or has line ends: it goes into a file of variables.
    pub fn read(&self) -> Result<String, String> {
        let (from, value) = match self {
            SecretSource::Variable(name) => {
                let value = std::env::var(name).map_err(|e| format!("variable `{name}`: {e}"))?;
                (format!("variable `{name}`"), value)
            }
            SecretSource::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| format!("file `{}` cannot be read: {e}", path.display()))?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let value = line.strip_suffix('\r').unwrap_or(line).to_owned();
                (format!("file `{}`", path.display()), value)
            }
        };
        match value {
            value if value.is_empty() => Err(format!("{from} is empty")),
            value if value.contains(char::is_control) => {
                Err(format!("{from} has a line end or another control character"))
            }
            value => Ok(value),
        }
    }
}

impl ClusterFile {
    /// Reads a cluster file and looks at every file that it names.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn read(path: &Path) -> Result<ClusterFile, Refused> {
        read::read(path)
    }

    /// What stands for a process in the environment: `TIDEFLOW__SECTION__KEY`.
    pub fn variable(setting: &str) -> String {
        format!("TIDEFLOW__{}", setting.replace('.', "__").to_uppercase())
    }
}
