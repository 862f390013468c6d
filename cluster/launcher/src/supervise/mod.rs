//! Runs a program and starts it again when it is lost, where there is no systemd.
//!
//! 1. Two never run in one folder. The lock is held by the supervisor and by the program itself, whose
//!    standard input it is: a supervisor that is killed leaves a program behind that still holds it.
//! 2. The codes 0 (done), 2 (refused), 4 (superseded) and 130 (asked twice to end) end it, and so does a
//!    signal. All else is a loss, and the program is started again: first soon, then after waits that double.
//!    After 5 (another process is lost) it is always soon: that other one waits as it must.
//! 3. What the program prints goes to `logs/process.log`, bounded by its size.
//! 4. `supervise.json` says at any time how it is ([`Report`]).
//!
//! Nothing starts it when the machine starts: `tideflow restart` does, or whatever runs there in place of
//! systemd.

mod backoff;
mod log;
mod report;

use std::fs::{File, TryLockError};
use std::io::{self, PipeReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::SuperviseArgs;
use crate::{clock, env_file};

pub use backoff::Backoff;
pub use log::{LOG, RotatingLog, files};
pub use report::{Phase, Report};

/// Exit codes after which no start mends anything: done, refused, superseded, asked twice to end. They are those of
/// `tideflow_cluster::Exit`, and a test compares them.
pub const FINAL_CODES: [i32; 4] = [0, 2, 4, 130];

/// The code that says that another process is lost, and this one is well.
pub const PEER_LOST: i32 = 5;

/// The file that is locked while something runs.
const LOCK: &str = "supervise.lock";
/// Longest wait for the lock: whoever looks whether something runs holds it for a moment.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// A signal that a child has ended may be merged with another: looked at this often anyway.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time for the last lines after the program's end: what it has started may hold its output open.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A supervisor that cannot do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// Something runs in the folder already.
    #[error("`{folder}`: something runs there already (`supervise.json` says what)")]
    Held {
        /// The folder.
        folder: PathBuf,
    },
    /// The operating system refuses.
    #[error("supervising in `{folder}`: {what}: {source}")]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What was tried.
        what: String,
        /// Its words.
        source: io::Error,
    },
}

/// Runs the program until it has come to its end: returns the code to end with.
///
/// # Errors
/// When something runs there already, or the operating system refuses.
pub fn run(args: &SuperviseArgs) -> Result<i32, SuperviseError> {
    let refused = |what: &str| {
        let (folder, what) = (args.folder.clone(), what.to_string());
        move |source| SuperviseError::Refused { folder, what, source }
    };
    if args.detach {
        // Refused where it leads a session already, which is as well.
        let _ = rustix::process::setsid();
    }
    let lock = lock(&args.folder).map_err(refused("its lock"))?;
    let lock = lock.ok_or_else(|| SuperviseError::Held { folder: args.folder.clone() })?;
    if args.open_files > 0 {
        let limit = Rlimit { current: Some(args.open_files), maximum: Some(args.open_files) };
        // A user other than root may not raise it: the program says so if it needs more.
        let _ = rustix::process::setrlimit(Resource::Nofile, limit);
    }
    let log = RotatingLog::open(&args.folder).map_err(refused("its log"))?;
    let signals = signals().map_err(refused("its signals"))?;
    let mut supervisor = Supervisor { args, lock, log, signals, report: Report::starting() };
    let ended = supervisor.run();
    if let Err(error) = &ended {
        supervisor.tell(Phase::Failed, Some(error.to_string()), None);
    }
    ended.map_err(refused("the program"))
}

/// Whether something runs in a folder.
///
/// # Errors
/// When its lock cannot be looked at.
pub fn is_held(folder: &Path) -> io::Result<bool> {
    let path = folder.join(LOCK);
    if !path.exists() {
        return Ok(false);
    }
    // Shared: of two who look none takes the other for a supervisor.
    match File::open(path)?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The lock, or nothing when somebody else has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(folder)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(folder.join(LOCK))?;
    let locked = clock::until(Instant::now() + LOCK_WAIT, Duration::from_millis(20), || match file
        .try_lock()
    {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => Some(Err(error)),
    });
    locked.transpose().map(|locked| locked.map(|()| file))
}

/// Signals, as they come.
fn signals() -> io::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGCHLD])?;
    let (send, received) = mpsc::channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if send.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(received)
}

struct Supervisor<'a> {
    args: &'a SuperviseArgs,
    lock: File,
    log: RotatingLog,
    signals: Receiver<i32>,
    report: Report,
}

impl Supervisor<'_> {
    fn run(&mut self) -> io::Result<i32> {
        let args = self.args;
        let soon = Duration::from_millis(args.restart_wait_ms_min);
        let mut backoff = Backoff::new(soon, Duration::from_millis(args.restart_wait_ms_max));
        // Where nothing can be written it is refused here, before anything runs.
        self.report.write(&args.folder, Phase::Restarting, None, None)?;
        loop {
            let began = Instant::now();
            let (ended, words, wait) = match self.start() {
                Err(error) if self.report.pid == 0 => return Err(error),
                // The machine may be short of memory, say.
                Err(error) => (error.to_string(), None, backoff.after(Duration::ZERO)),
                Ok((child, pump)) => {
                    let (status, stopping) = self.watch(child)?;
                    // Its last words come before what is said about its end.
                    let over = Instant::now() + LAST_LINES;
                    let every = Duration::from_millis(2);
                    clock::until(over, every, || pump.is_finished().then_some(()));
                    let (ended, words) = (shown(status), self.log.last_line());
                    if stopping {
                        self.say(&format!("stopped: {ended}"));
                        self.tell(Phase::Stopped, Some(ended), words);
                        return Ok(status.code().unwrap_or(1));
                    }
                    if let Some(code) = status.code().filter(|code| FINAL_CODES.contains(code)) {
                        self.say(&format!("{ended}, not started again"));
                        let phase = if code == 0 { Phase::Stopped } else { Phase::Failed };
                        self.tell(phase, Some(ended), words);
                        return Ok(code);
                    }
                    let wait = match status.code() {
                        Some(PEER_LOST) => soon,
                        _ => backoff.after(began.elapsed()),
                    };
                    (ended, words, wait)
                }
            };
            self.say(&format!("{ended}, starting again in {} ms", wait.as_millis()));
            self.report.restarts += 1;
            self.tell(Phase::Restarting, Some(ended), words);
            if self.stopped_within(wait) {
                self.say("stopped while nothing ran");
                self.tell(Phase::Stopped, None, None);
                return Ok(0);
            }
        }
    }

    /// Starts the program. What it prints goes to the log, on a thread that ends with its output.
    fn start(&mut self) -> io::Result<(Child, JoinHandle<()>)> {
        let args = self.args;
        let mut command = Command::new(&args.program[0]);
        command.args(&args.program[1..]).current_dir(&args.work);
        for path in &args.env {
            let text = std::fs::read_to_string(path)
                .map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", path.display())))?;
            command.envs(env_file::read(&text));
        }
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::from(self.lock.try_clone()?));
        command.stdout(writer.try_clone()?).stderr(writer);
        // Before there is a program, which nobody would watch if this failed.
        let pump = pump(reader, self.log.clone())?;
        let child = command
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("`{}`: {e}", args.program[0])))?;
        self.report.pid = child.id();
        self.report.started_ms = clock::now_ms();
        self.tell(Phase::Running, None, None);
        Ok((child, pump))
    }

    /// Waits for the program's end, and hands signals on: whether one was there.
    fn watch(&mut self, mut child: Child) -> io::Result<(ExitStatus, bool)> {
        let mut kill_at = None;
        loop {
            match self.signals.recv_timeout(LOOK_EVERY) {
                Ok(signal @ (SIGTERM | SIGINT)) => {
                    kill_at.get_or_insert_with(|| {
                        Instant::now() + Duration::from_millis(self.args.stop_timeout_ms)
                    });
                    let signal = if signal == SIGTERM { Signal::TERM } else { Signal::INT };
                    // It may have ended a moment ago.
                    let _ = rustix::process::kill_process(Pid::from_child(&child), signal);
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("no signals")),
            }
            if let Some(status) = child.try_wait()? {
                return Ok((status, kill_at.is_some()));
            }
            if kill_at.is_some_and(|at| Instant::now() >= at) {
                self.say(&format!("not stopped after {} ms, killed", self.args.stop_timeout_ms));
                child.kill()?;
                kill_at = Some(Instant::now() + Duration::from_secs(3_600));
            }
        }
    }

    /// Whether a signal to stop comes before the wait is over.
    fn stopped_within(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        loop {
            match self.signals.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(SIGTERM | SIGINT) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Writes a line into the log. A full disk must not end what runs.
    fn say(&self, what: &str) {
        let _ = self.log.line(&format!("{}  INFO supervise: {what}", clock::date(clock::now_ms())));
    }

    /// Says how it is now. A full disk must not end what runs.
    fn tell(&mut self, phase: Phase, ended: Option<String>, words: Option<String>) {
        let _ = self.report.write(&self.args.folder, phase, ended, words);
    }
}

fn pump(reader: PipeReader, log: RotatingLog) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("log".into()).spawn(move || {
        let _ = log.take(reader);
    })
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the process ended with code {code}"),
        (_, Some(signal)) => format!("the process was ended by signal {signal}"),
        _ => "the process ended".into(),
    }
}
