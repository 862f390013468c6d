//! What can be done with a cluster file.

mod bring;
mod certs;
mod changes;
mod doctor;
mod logs;
mod plan;
mod status;
mod stop;
mod table;
mod wanted;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::args::{self, Args, Command};
use crate::certs::CertError;
use crate::cluster_file::{ClusterFile, Host, HostError, Refused};
use crate::courier::{CallError, Courier};
use crate::fleet::{self, FleetError};
use crate::release::ReleaseError;
use crate::wire::{Ask, Facts};
use crate::{agent, supervise};

pub use changes::{Change, between};
pub use logs::{Entry, merged};
pub use wanted::{Wanted, flat};

/// Beyond the time that a host is given for something, for it to say how it went.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Why a command is not done.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Something must be changed first. Nothing was touched.
    #[error("{0}")]
    Refused(String),
    /// It failed, on some host perhaps: which, and why.
    #[error("{0}")]
    Failed(String),
}

impl From<Refused> for LaunchError {
    fn from(error: Refused) -> LaunchError {
        LaunchError::Refused(error.to_string())
    }
}

impl From<HostError> for LaunchError {
    fn from(error: HostError) -> LaunchError {
        LaunchError::Refused(error.to_string())
    }
}

impl From<ReleaseError> for LaunchError {
    fn from(error: ReleaseError) -> LaunchError {
        LaunchError::Refused(error.to_string())
    }
}

impl From<CertError> for LaunchError {
    fn from(error: CertError) -> LaunchError {
        LaunchError::Failed(error.to_string())
    }
}

impl From<FleetError> for LaunchError {
    fn from(error: FleetError) -> LaunchError {
        LaunchError::Failed(error.to_string())
    }
}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> LaunchError {
        LaunchError::Failed(error.to_string())
    }
}

/// A cluster file, its hosts, and the way to them.
pub struct Context {
    /// What is wanted.
    pub file: ClusterFile,
    /// The hosts, in the order of their processes' indices.
    pub hosts: Vec<Host>,
    /// The way to them.
    pub courier: Courier,
    /// Longest time of a step on a host.
    pub deadline: Duration,
}

impl Context {
    /// Reads the cluster file and asks for the hosts. None of them is touched.
    fn open(args: &Args) -> Result<Context, LaunchError> {
        let file = ClusterFile::read(&args.cluster)?;
        let hosts = file.hosts.hosts(&file.folder)?;
        if let Some(count) = file.job.processes.filter(|count| *count > hosts.len()) {
            let why = format!("`job.processes` is {count}, and there are {} hosts", hosts.len());
            return Err(Refused(vec![why]).into());
        }
        let courier = Courier::new(&file)?;
        Ok(Context { file, hosts, courier, deadline: args.deadline })
    }

    /// Asks a host something that it has the usual time for.
    fn ask<T: DeserializeOwned>(&self, host: &Host, ask: Ask) -> Result<T, CallError> {
        self.courier.ask(host, ask, self.deadline + ANSWER_TIME)
    }

    /// The time that a host is told it has.
    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX)
    }

    /// What is on each host. The first ones must be reached; of the others, which are to run nothing, those that are
    /// away are told, and are hosts no more.
    fn facts(&mut self, first: usize) -> Result<Vec<Facts>, LaunchError> {
        let answers = fleet::try_step("reach", &self.hosts, |host| self.ask(host, Ask::Facts));
        if answers.iter().all(Result::is_err) {
            return Ok(fleet::all("reach", &self.hosts, answers)?);
        }
        let (mut hosts, mut kept) = (Vec::new(), Vec::new());
        for (index, (host, answer)) in self.hosts.iter().zip(answers).enumerate() {
            match answer {
                Err(error) if index >= first => {
                    eprintln!("note       {} is left out: {error}", host.name);
                }
                answer => {
                    hosts.push(host.clone());
                    kept.push(answer);
                }
            }
        }
        self.hosts = hosts;
        Ok(fleet::all("reach", &self.hosts, kept)?)
    }

    /// The hosts, and those that are hosts of the job no more but were when one of them was given its process.
    fn and_former(&self) -> Vec<Host> {
        let facts = fleet::each(&self.hosts, |host| self.ask(host, Ask::Facts));
        let facts: Vec<Facts> = facts.into_iter().flatten().collect();
        self.hosts.iter().cloned().chain(self.former(&facts)).collect()
    }

    /// The hosts that were given a process with one of these, and are hosts no more.
    fn former(&self, facts: &[Facts]) -> Vec<Host> {
        let known = |old: &Host| self.hosts.iter().any(|host| host.address == old.address);
        let old = facts.iter().find_map(|facts| facts.assigned.as_ref());
        let former = old.into_iter().flat_map(|assigned| &assigned.hosts);
        former.filter(|host| !known(host)).cloned().collect()
    }
}

/// Does what a command line says.
///
/// # Errors
/// When it is refused, or fails on some host.
pub fn run(args: Args) -> Result<ExitCode, LaunchError> {
    let open = || Context::open(&args);
    let changes = matches!(
        args.command,
        Command::Up
            | Command::Stop
            | Command::Rescale { .. }
            | Command::Restart
            | Command::Rollback
            | Command::Down
    );
    let _alone = if changes { alone(&args.cluster)? } else { None };
    match &args.command {
        Command::Plan { no_check } => plan::plan(&mut open()?, !no_check),
        Command::Up => bring::up(&mut open()?),
        Command::Status { watch, json } => status::status(&open()?, *watch, *json),
        Command::Logs(which) => logs::logs(&open()?, which),
        Command::Stop => stop::stop(&open()?),
        Command::Rescale { processes } => bring::rescale(&mut open()?, usize::from(*processes)),
        Command::Restart => bring::restart(&mut open()?),
        Command::Rollback => bring::rollback(&mut open()?),
        Command::Down => stop::down(&open()?),
        Command::Doctor => doctor::doctor(&open()?),
        Command::Certs { action } => certs::certs(&args, *action),
        Command::Supervise(supervised) => match supervise::run(supervised) {
            Ok(code) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
            Err(error) => Err(LaunchError::Failed(error.to_string())),
        },
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::command(), "tideflow", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Command::Man { of } => print(&manual(of.as_deref())?),
        Command::Agent => Ok(agent::main()),
    }
}

/// Which of the hosts it is.
fn index(hosts: &[Host], host: &Host) -> usize {
    hosts.iter().position(|other| other == host).expect("it is one of them")
}

/// The manual page, of all or of one command.
fn manual(of: Option<&str>) -> Result<String, LaunchError> {
    let mut command = args::command();
    command.build();
    if let Some(name) = of {
        let found =
            command.get_subcommands().find(|sub| sub.get_name() == name && !sub.is_hide_set());
        let refused =
            || LaunchError::Refused(format!("there is no command `{name}` (`tideflow --help`)"));
        let sub = found.ok_or_else(refused)?.clone();
        command = sub.name(format!("tideflow-{name}")).version(env!("CARGO_PKG_VERSION"));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Holds the cluster file: two that change the same hosts at once would mix what they bring.
fn alone(cluster: &Path) -> Result<Option<File>, LaunchError> {
    // One that cannot be opened is refused where it is read.
    let Ok(file) = File::open(cluster) else { return Ok(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let why = format!("another `tideflow` is at work with `{}`", cluster.display());
            Err(LaunchError::Refused(why))
        }
        _ => Ok(Some(file)),
    }
}

/// Prints a result. A reader that has seen enough is no failure.
fn print(text: &str) -> Result<ExitCode, LaunchError> {
    use std::io::Write;
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
