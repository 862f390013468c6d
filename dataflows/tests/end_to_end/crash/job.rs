//! The job that is killed, and the run left alone that says what it must publish.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tideflow::core::kafka::testing::TestBroker;

use super::check::Difference;
use crate::batch::{content, hostfile};
use crate::fleet::Fleet;
use crate::program::{Ended, Running, device_health, run};
use crate::python::model;
use crate::topics::{DEADLINE, Input, Sent, Topics};

pub const OUTPUTS: usize = 4;
/// How soon whatever is waited for is looked at again.
const LOOK: Duration = Duration::from_millis(1);
/// What a job says once it has committed results of its own.
const PUBLISHED: &str = "first results published";

/// A fleet with a dead letter now and then.
fn inputs(readings: u64) -> impl Iterator<Item = Input> {
    let fleet = Fleet { devices: 500, readings, span_ms: 60 * 60_000, partitions: 4 };
    fleet.inputs().enumerate().map(|(n, input)| match n % 10_000 {
        17 => Input { value: Some(format!("broken {n}").into_bytes()), ..input },
        _ => input,
    })
}

/// Readings, and what a run without an accident makes of them.
pub struct LeftAlone {
    topics: Topics,
    results: [Vec<Sent>; 4],
}

impl LeftAlone {
    /// So many readings on this broker.
    pub fn over(broker: &TestBroker, readings: u64) -> LeftAlone {
        let topics = Topics::new(broker, 4, OUTPUTS);
        topics.send(inputs(readings));
        let flags = ["--job.delivery=at_least_once".to_string()];
        Start::of(&topics, (1, 2), &flags, None, &[]).end_well();
        let results = results(&topics);
        let counts = results.each_ref().map(Vec::len);
        let enough = counts[..3].iter().all(|n| *n > 100);
        assert!(enough && counts[3] as u64 == readings / 10_000, "{counts:?}");
        LeftAlone { topics, results }
    }

    /// A million and a half on the broker of all tests.
    pub fn shared() -> &'static LeftAlone {
        static SHARED: LazyLock<LeftAlone> =
            LazyLock::new(|| LeftAlone::over(TestBroker::shared(), 1_500_000));
        &SHARED
    }
}

/// All results, as they are on the topics.
pub fn published(topics: &Topics) -> [Vec<Sent>; 4] {
    assert_eq!(topics.read(&topics.late), [], "late within the bound");
    let all = [&topics.windows, &topics.scores, &topics.alarms, &topics.rejects];
    all.map(|topic| topics.read(topic))
}

/// All results, without what differs between two runs that are equal.
fn results(topics: &Topics) -> [Vec<Sent>; 4] {
    published(topics).map(content)
}

/// Processes, and workers of each.
pub type Layout = (usize, usize);

/// A job that publishes exactly once, and is started over and over.
pub struct Job<'a> {
    pub left_alone: &'a LeftAlone,
    pub topics: Topics,
    /// A program that its processes are started by, with its arguments.
    pub by: &'static [&'static str],
}

impl<'a> Job<'a> {
    /// Over readings of which it is known what they come to.
    pub fn over(broker: &TestBroker, left_alone: &'a LeftAlone) -> Job<'a> {
        let topics = Topics::reading(broker, &left_alone.topics.readings, OUTPUTS);
        Job { left_alone, topics, by: &[] }
    }

    /// Over the readings of [`LeftAlone::shared`].
    pub fn shared() -> Job<'static> {
        Job::over(TestBroker::shared(), LeftAlone::shared())
    }

    /// What the store has of it.
    pub fn store(&self) -> PathBuf {
        Path::new(&self.topics.state).join(&self.topics.windows)
    }

    /// What it should have published in all, topic by topic.
    pub fn expected(&self) -> &[Vec<Sent>; 4] {
        &self.left_alone.results
    }

    /// Asks something of its state.
    pub fn asks(&self, what: &[&str]) -> Ended {
        let mut command = device_health("state", &self.topics, &model("health"));
        run(command.arg("--job.shards=2").args(what))
    }

    /// The name of the newest manifest that the store has.
    pub fn newest_manifest(&self) -> Option<String> {
        newest_manifest(&self.store())
    }

    /// Starts it.
    pub fn start(&self, layout: Layout) -> Start {
        self.start_with(layout, &[], None)
    }

    /// Starts it with some more flags and, in one of the processes, a point `NAME:N` to crash at.
    pub fn start_with(&self, layout: Layout, more: &[&str], crash: Option<(usize, &str)>) -> Start {
        let flags = SMALL.iter().chain(more).map(|flag| (*flag).to_string());
        Start::of(&self.topics, layout, &flags.collect::<Vec<_>>(), crash, self.by)
    }

    /// What of its output is not as that of the run left alone.
    pub fn difference(&self) -> Difference {
        let mut all = Difference::default();
        for (found, expected) in results(&self.topics).iter().zip(&self.left_alone.results) {
            all += Difference::between(found, expected);
        }
        all
    }

    /// That it has published each result once, and every one.
    pub fn check(&self) {
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

/// Many small epochs, and many snapshots.
pub const SMALL: [&str; 4] = [
    "--job.shards=2",
    "--job.snapshot_every=20",
    "--epochs.interval_ms=10",
    "--epochs.bytes_max=65536",
];

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
    fn of(
        topics: &Topics,
        layout: Layout,
        flags: &[String],
        crash: Option<(usize, &str)>,
        by: &[&str],
    ) -> Start {
        let (processes, threads) = layout;
        let folder = tempfile::tempdir().expect("a folder for a while");
        let hosts = (processes > 1).then(|| hostfile(folder.path(), processes));
        let since = Instant::now();
        let process = |number: usize| {
            let mut command = device_health("run", topics, &model("health"));
            command.args([
                "--readings.until=end",
                "--alarm.raise_above=0.23",
                "--alarm.clear_below=0.225",
                &format!("--workers.threads={threads}"),
            ]);
            command.args(flags);
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
        self.end().iter().for_each(|ended| ended.with_code(0));
    }

    /// Waits until all have ended; whether all did so well.
    pub fn end_however(self) -> bool {
        self.end().iter().all(|ended| ended.code == 0)
    }

    /// Waits until all have ended, none of them well: what they said.
    pub fn end_badly(self) -> String {
        let ended = self.end();
        ended.iter().for_each(|ended| assert!(ended.code != 0, "it ended well: {}", ended.err));
        ended.into_iter().map(|ended| ended.err).collect()
    }
}
