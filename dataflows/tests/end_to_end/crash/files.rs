//! A job that publishes to files, and is killed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tideflow::core::kafka::testing::TestBroker;

use super::start::{Layout, Start};
use crate::fleet::{Fleet, Numbers};
use crate::panics::example;
use crate::program::{Ended, of};
use crate::topics::{DEADLINE, Topics};

/// Where it kills itself: around the files, and around the manifest that they wait for.
#[cfg(feature = "crash-points")]
const POINTS: &[&str] = &[
    "files settled:1",
    "file written:1",
    "file written:7",
    "file kept:5",
    "manifest written:1",
    "manifest committed:1",
    "file shown:1",
    "file shown:3",
    "files shown:1",
    "files settled:1",
    "manifest committed:3",
    "file shown:25",
    "old snapshots removed:1",
];
#[cfg(not(feature = "crash-points"))]
const POINTS: &[&str] = &[];

/// Kills at random moments, after those.
const KILLS: usize = 8;
/// Longest life of a run that is killed, in milliseconds.
const LIFE_MS: u64 = 2_500;

const OUTPUTS: [&str; 2] = ["raw", "windows"];

/// A job with folders of its own.
pub struct FileJob {
    topics: Topics,
    folder: tempfile::TempDir,
}

impl FileJob {
    pub fn new(topics: Topics) -> Self {
        let folder = tempfile::tempdir().expect("a folder for a while");
        for output in OUTPUTS {
            std::fs::create_dir(folder.path().join(output)).expect("there is room");
        }
        FileJob { topics, folder }
    }

    /// That its files have the lines of another job's, and none waits to be shown.
    fn has_every_line_of(&self, alone: &FileJob) {
        for output in OUTPUTS {
            let (found, expected) = (self.lines(output), alone.lines(output));
            assert_eq!(found.len(), expected.len(), "{output}");
            assert!(found == expected, "{output}: other lines");
            assert_eq!(self.waiting(output), 0, "{output}");
        }
    }

    /// Runs it to its end.
    fn command(&self, more: &[&str]) -> Command {
        let mut command = of(&example("files"), &["run"]);
        let Topics { kafka, readings, state, windows, .. } = &self.topics;
        command.args([
            format!("--kafka.brokers={}", kafka.brokers),
            format!("--readings.topic={readings}"),
            "--readings.until=end".to_string(),
            format!("--job.name={windows}"),
            format!("--job.state={state}"),
        ]);
        let folder = |output: &str| self.folder.path().join(output).display().to_string();
        command.args(OUTPUTS.map(|output| format!("--{output}.folder={}", folder(output))));
        command.args(["--job.snapshot_every=10", "--epochs.interval_ms=10"]);
        command.arg("--epochs.bytes_max=65536").args(more);
        command
    }

    /// Starts it; the first process may have a point to crash at.
    fn start(&self, layout: Layout, more: &[&str], at: Option<&str>) -> Start {
        Start::of(|| self.command(more), layout, at.map(|point| (0, point)), &[])
    }

    /// Runs it to its end, or its kill after so long: how its processes ended.
    pub fn run(
        &self,
        layout: Layout,
        more: &[&str],
        at: Option<&str>,
        life: Duration,
    ) -> Vec<Ended> {
        let run = self.start(layout, more, at);
        if !run.lives_for(life, |_| ()) {
            run.signal("KILL");
        }
        run.end()
    }

    pub fn runs_well(&self, layout: Layout, more: &[&str]) {
        for ended in self.run(layout, more, None, DEADLINE) {
            ended.with_code(0);
        }
    }

    /// The lines of all visible files of an output, sorted.
    pub fn lines(&self, output: &str) -> Vec<String> {
        let names = |path: &Path| {
            let entries = std::fs::read_dir(path).expect("it is there");
            entries.map(|entry| entry.expect("readable").path()).collect::<Vec<_>>()
        };
        let files = names(&self.folder.path().join(output));
        let files = files.iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let texts = files.map(|path| std::fs::read_to_string(path).expect("text"));
        let mut lines: Vec<String> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines.sort();
        lines
    }

    /// What no reader sees of an output, but for the job's mark.
    fn waiting(&self, output: &str) -> usize {
        let pending = self.folder.path().join(output).join(".pending");
        std::fs::read_dir(pending).expect("it is there").count() - 1
    }
}

fn layout(numbers: &mut Numbers) -> Layout {
    (1 + numbers.below(2) as usize, 1 + numbers.below(2) as usize)
}

/// Waits until it has written files.
fn has_written(run: &Start) {
    let name = "tideflow_sink_records_total";
    run.processes()[0].wait_until("files", |metrics| metrics.sum(name, &[]) > 0.0);
}

/// Starts it, and stops it as a person does: all that it has published is visible when it has ended.
fn stops_and_leaves_nothing_behind(job: &FileJob) {
    let run = job.start((1, 2), &[], None);
    has_written(&run);
    run.signal("TERM");
    run.end_well();
    assert_eq!(OUTPUTS.map(|output| job.waiting(output)), [0, 0]);
    assert!(!job.lines("raw").is_empty());
}

/// Freezes it when it has written files, has a successor take its place, and has it go on.
#[cfg(feature = "crash-points")]
fn thaws_behind_its_successor(job: &FileJob) {
    let zombie = job.start((1, 2), &[], None);
    has_written(&zombie);
    zombie.signal("STOP");
    let ended = job.run((1, 1), &[], Some("files shown:2"), DEADLINE);
    assert_eq!(ended[0].code, -9, "{}", ended[0].err);
    zombie.signal("CONT");
    let said = zombie.end_badly();
    assert!(said.contains("taken over"), "{said}");
}

#[test]
fn crash_files_of_a_job_that_is_killed_have_every_result_once() {
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 4, 1);
    let fleet = Fleet { devices: 200, readings: 1_000_000, span_ms: 30 * 60_000, partitions: 4 };
    topics.send(fleet.inputs());
    let alone = FileJob::new(Topics::reading(broker, &topics.readings, 1));
    alone.runs_well((1, 2), &["--job.delivery=at_least_once"]);
    assert_eq!(alone.lines("raw").len(), 1_000_000);

    let another = || FileJob::new(Topics::reading(broker, &topics.readings, 1));
    let (mut job, mut numbers) = (another(), Numbers(21));
    stops_and_leaves_nothing_behind(&job);
    #[cfg(feature = "crash-points")]
    for _ in 0..2 {
        thaws_behind_its_successor(&job);
    }
    for point in POINTS {
        let mut ended = job.run(layout(&mut numbers), &[], Some(point), DEADLINE);
        if ended.iter().all(|ended| ended.code == 0) {
            // It was through before it came by.
            job.has_every_line_of(&alone);
            job = another();
            ended = job.run(layout(&mut numbers), &[], Some(point), DEADLINE);
        }
        // By a signal, which nobody but itself has sent.
        assert_eq!(ended[0].code, -9, "`{point}`: {}", ended[0].err);
    }
    for kill in 0..KILLS {
        let life = Duration::from_millis(numbers.below(LIFE_MS));
        let ended = job.run(layout(&mut numbers), &[], None, life);
        if ended.iter().all(|ended| ended.code == 0) {
            println!("through after {kill} kills at random");
            break;
        }
    }
    job.runs_well(layout(&mut numbers), &[]);
    job.has_every_line_of(&alone);

    // Another job is told that the folder is not its own.
    let other = FileJob { topics: Topics::reading(broker, &topics.readings, 1), ..job };
    let ended = other.run((1, 1), &[], None, DEADLINE);
    assert_eq!(ended[0].code, 2, "{}", ended[0].err);
    assert!(ended[0].err.contains("expected that of job `"), "{}", ended[0].err);
}
