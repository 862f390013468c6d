//! A job that is started over and over: its processes, watched and killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::check::Difference;
use crate::batch::hostfile;
use crate::program::{Ended, Running};
use crate::topics::DEADLINE;

/// How soon whatever is waited for is looked at again.
const LOOK: Duration = Duration::from_millis(1);
/// What a job says once it has committed results of its own.
const PUBLISHED: &str = "first results published";

/// Processes, and workers of each.
pub type Layout = (usize, usize);

/// Many small epochs, and many snapshots.
pub const SMALL: [&str; 4] = [
    "--job.shards=2",
    "--job.snapshot_every=20",
    "--epochs.interval_ms=10",
    "--epochs.bytes_max=65536",
];

/// A job that is killed, of whichever graph.
pub trait Killed {
    /// What runs it to its end, with some more flags.
    fn command(&self, more: &[&str]) -> Command;

    /// What the store has of it.
    fn store(&self) -> PathBuf;

    /// What of its output is not as it should be, once it has come to its end.
    fn difference(&self) -> Difference;

    /// The name of the newest manifest that the store has.
    fn newest_manifest(&self) -> Option<String> {
        newest_manifest(&self.store())
    }

    /// Starts it by a program, with its arguments, that starts another; with some more flags; and, in one of the
    /// processes, a point `NAME:N` to crash at.
    fn start_by(
        &self,
        by: &[&str],
        layout: Layout,
        more: &[&str],
        crash: Option<(usize, &str)>,
    ) -> Start {
        Start::of(|| self.command(more), layout, crash, by)
    }

    /// Starts it with some more flags and, in one of the processes, a point `NAME:N` to crash at.
    fn start_with(&self, layout: Layout, more: &[&str], crash: Option<(usize, &str)>) -> Start {
        self.start_by(&[], layout, more, crash)
    }

    /// Starts it.
    fn start(&self, layout: Layout) -> Start {
        self.start_with(layout, &[], None)
    }

    /// That it has published each result once, and every one.
    fn check(&self) {
        let difference = self.difference();
        assert!(difference.is_none(), "{difference:?}");
    }
}

/// The name of the newest manifest in a store.
pub fn newest_manifest(store: &Path) -> Option<String> {
    let names = std::fs::read_dir(store.join("manifest")).ok()?;
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // One that is being written has a `#` in its name.
    names.filter(|name| name.bytes().all(|b| b.is_ascii_digit() || b == b'-')).max()
}

/// The command, as an argument of another program.
fn started_by(by: &[&str], command: Command) -> Command {
    let Some((program, args)) = by.split_first() else { return command };
    let mut other = Command::new(program);
    other.args(args).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    other
}

/// The processes of one start: killed when dropped.
pub struct Start {
    processes: Vec<Running>,
    since: Instant,
    _hosts: tempfile::TempDir,
}

impl Start {
    /// Starts so many of these commands, by another program where that is named.
    pub fn of(
        command: impl Fn() -> Command,
        layout: Layout,
        crash: Option<(usize, &str)>,
        by: &[&str],
    ) -> Start {
        let (processes, threads) = layout;
        let folder = tempfile::tempdir().expect("a folder for a while");
        let hosts = (processes > 1).then(|| hostfile(folder.path(), processes));
        let since = Instant::now();
        let process = |number: usize| {
            let mut command = command();
            command.arg(format!("--workers.threads={threads}"));
            if let Some(hosts) = &hosts {
                command.args([
                    format!("--workers.hostfile={hosts}"),
                    format!("--workers.process={number}"),
                    // One that is killed before the others have met it is waited for in vain.
                    "--workers.join_timeout_ms=15000".to_string(),
                ]);
            }
            if let Some((_, point)) = crash.filter(|(process, _)| *process == number) {
                command.env("TIDEFLOW_CRASH_AT", point);
            }
            Running::start(&mut started_by(by, command))
        };
        Start { processes: (0..processes).map(process).collect(), since, _hosts: folder }
    }

    /// Its processes.
    pub fn processes(&self) -> &[Running] {
        &self.processes
    }

    /// Sends a signal to every process that is left.
    pub fn signal(&self, name: &str) {
        self.processes.iter().filter(|p| !p.has_ended()).for_each(|p| p.signal(name));
    }

    /// Whether every process has ended.
    pub fn has_ended(&self) -> bool {
        self.processes.iter().all(Running::has_ended)
    }

    /// Whether one of them said this.
    pub fn said(&self, text: &str) -> bool {
        self.processes.iter().any(|process| process.said().contains(text))
    }

    /// Whether it has committed results of its own.
    pub fn has_published(&self) -> bool {
        self.said(PUBLISHED)
    }

    /// Waits until it has committed results of its own; false if it ended before that.
    pub fn publishes(&self) -> bool {
        self.wait_until("results", || self.has_published() || self.has_ended());
        self.has_published()
    }

    /// Waits until it has committed results of its own.
    pub fn must_publish(&self) {
        let said = || self.processes.iter().map(Running::said).collect::<String>();
        assert!(self.publishes(), "it ended before it published:\n{}", said());
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits for something.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !condition() {
            let said = || self.processes.iter().map(Running::said).collect::<String>();
            assert!(Instant::now() < deadline, "waited in vain for {what}:\n{}", said());
            std::thread::park_timeout(LOOK);
        }
    }

    /// Looks again and again for so long; true when all have ended by themselves.
    pub fn lives_for(&self, life: Duration, mut look: impl FnMut(&Start)) -> bool {
        while self.age() < life && !self.has_ended() {
            look(self);
            std::thread::park_timeout(LOOK);
        }
        look(self);
        self.has_ended()
    }

    /// Waits until all have ended.
    pub fn end(mut self) -> Vec<Ended> {
        self.processes.drain(..).map(Running::end).collect()
    }

    /// Waits until all have ended, all of them well.
    pub fn end_well(self) {
        let ended = self.end();
        if ended.iter().all(|ended| ended.code == 0) {
            return;
        }
        // One says only that another is gone.
        ended.iter().for_each(|Ended { code, err, .. }| println!("code {code}:\n{err}"));
        ended.iter().for_each(|ended| ended.with_code(0));
    }

    /// Waits until all have ended: their codes. One that has not ended well was killed, or says that something
    /// it needs is gone.
    pub fn end_however(self) -> Vec<i32> {
        let ended = self.end();
        for Ended { code, err, .. } in &ended {
            assert!([0, 1, 3, 5, -9].contains(code), "code {code}: {err}");
        }
        ended.iter().map(|ended| ended.code).collect()
    }

    /// Waits until all have ended, none of them well: what they said.
    pub fn end_badly(self) -> String {
        let ended = self.end();
        ended.iter().for_each(|ended| assert!(ended.code != 0, "it ended well: {}", ended.err));
        ended.into_iter().map(|ended| ended.err).collect()
    }
}
