//! Files of a job that is killed again and again, and goes on from any snapshot, any end of the log and on any
//! number of workers, against those of a run left alone.

mod job;
#[path = "../shared/memory.rs"]
mod memory;
#[path = "../shared/reading.rs"]
mod reading;
#[path = "../shared/shape.rs"]
mod shape;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde::Serialize;
use tideflow_core::{
    BuildError, Durability, EpochSettings, Flow, Job, LogOnly, RecentBindings, execute, timely,
};
use tideflow_operators::{Aggregate, KeyBy, Map, Stats, Tumbling, Window};
use tideflow_sinks::VecSink;
use tideflow_sinks::files::{FileSink, FileSinkConfig};
use tideflow_sources::VecSource;

use job::{Kill, Killed};
use reading::{Reading, Values};
use shape::Shape;

#[derive(Clone, Serialize)]
struct WindowLine {
    device: u64,
    start: i64,
    count: u64,
    mean: f64,
}

impl WindowLine {
    fn of(device: u64, start: i64, stats: &Stats) -> Self {
        WindowLine { device, start, count: stats.count(), mean: stats.summary().mean }
    }
}

impl From<Window<u64, Values>> for WindowLine {
    fn from(window: Window<u64, Values>) -> Self {
        WindowLine::of(window.key, window.start.0, &window.value.0)
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..50, 200..8_000, 1..6)
}

/// Nothing is late by this bound, whatever the cuts: the windows of all runs are the same.
const BOUND: Duration = Duration::from_millis(200);

const OUTPUTS: [&str; 2] = ["readings", "windows"];

fn config(folder: &Path, output: &str) -> FileSinkConfig {
    let folder = folder.join(output).to_str().expect("plain").to_string();
    FileSinkConfig { folder }
}

/// Runs the graph to its end, with a folder for each output in this one.
fn run(
    history: &[Vec<Reading>],
    shape: Shape,
    folder: &Path,
    job: &Job,
    durability: impl Durability,
) {
    let late = VecSink::new();
    let source = VecSource::new(history.to_vec()).out_of_orderness(BOUND).chunk(shape.chunk);
    let epochs = EpochSettings {
        interval: Duration::from_millis(20),
        inflight_max: 3,
        bytes_max: shape.epoch_bytes,
        ..EpochSettings::default()
    };
    let job = Job { epochs, ..job.clone() };
    let (sinks, late_sink) = (OUTPUTS.map(|output| config(folder, output)), late.clone());
    for output in OUTPUTS {
        fs::create_dir_all(folder.join(output)).expect("there is room");
    }
    let graph = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", source.clone())?;
        let windows = readings
            .clone()
            .key_by(|r| &r.device)
            .tumbling_window::<_, Values>("windows", Tumbling::of(Duration::from_millis(100)))?;
        flow.sink("readings out", readings, FileSink::json_lines(&sinks[0]))?;
        let lines = windows.on_time.map("lines", WindowLine::from)?;
        flow.sink("windows out", lines, FileSink::json_lines(&sinks[1]))?;
        flow.sink("late", windows.late, late_sink.clone())
    };
    execute(timely::Config::process(shape.workers), &job, durability, |_| (), graph)
        .expect("the graph runs");
    assert_eq!(late.take().len(), 0, "late within the bound");
}

/// The lines of all visible files of an output, sorted.
fn lines(folder: &Path, output: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.join(output)).expect("it is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let texts = files.map(|path| fs::read_to_string(path).expect("text"));
    let mut lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

fn histories() -> impl Strategy<Value = Vec<Vec<Reading>>> {
    let record = (0..12u64, 0..40i64, 0..200i64, -50.0..50.0f64);
    let partition = prop::collection::vec(record, 0..300).prop_map(|steps| {
        let mut now = 1_000;
        let reading = |(device, step, back, value)| {
            now += step;
            Reading { device, ts: now - back, value }
        };
        steps.into_iter().map(reading).collect::<Vec<_>>()
    });
    prop::collection::vec(partition, 1..5)
}

/// What the outputs hold, from the history alone.
fn recompute(history: &[Vec<Reading>]) -> [Vec<String>; 2] {
    let mut windows = BTreeMap::<(u64, i64), Values>::new();
    for reading in history.iter().flatten() {
        windows.entry((reading.device, reading.ts - reading.ts % 100)).or_default().add(reading);
    }
    let line = |((device, start), value): ((u64, i64), Values)| {
        serde_json::to_string(&WindowLine::of(device, start, &value.0)).expect("numbers")
    };
    let mut windows: Vec<String> = windows.into_iter().map(line).collect();
    let readings = history.iter().flatten().map(|r| serde_json::to_string(r).expect("numbers"));
    let mut readings: Vec<String> = readings.collect();
    windows.sort();
    readings.sort();
    [readings, windows]
}

fn kills() -> impl Strategy<Value = Vec<Kill>> {
    let place = (0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64, any::<u64>());
    let kill = (shapes(), place).prop_map(|(shape, (counted, shown, log_end, from, seed))| Kill {
        shape,
        counted,
        shown,
        log_end,
        from,
        seed,
    });
    prop::collection::vec(kill, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn oracle_files_of_a_job_killed_anywhere_are_those_of_one_left_alone(
        history in histories(), kills in kills(), last in shapes(),
    ) {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let mut job = Killed::new(folder.path(), history.clone());
        kills.iter().for_each(|kill| job.run_and_kill(kill));
        job.run_to_the_end(last);
        let expected = recompute(&history);
        for (output, expected) in OUTPUTS.iter().zip(&expected) {
            prop_assert_eq!(&lines(folder.path(), output), expected, "{}", output);
            prop_assert_eq!(job.waiting(output), Vec::<String>::new());
        }
    }

    #[test]
    fn oracle_each_run_of_a_job_that_keeps_nothing_adds_all_of_its_files(
        history in histories(), runs in prop::collection::vec(shapes(), 1..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder for a while");
        for shape in &runs {
            let nothing = LogOnly::new(RecentBindings::new(100));
            run(&history, *shape, folder.path(), &Job::default(), nothing);
        }
        let expected = recompute(&history);
        for (output, expected) in OUTPUTS.iter().zip(&expected) {
            let mut all: Vec<_> = expected.iter().flat_map(|e| vec![e.clone(); runs.len()]).collect();
            all.sort();
            prop_assert_eq!(lines(folder.path(), output), all, "{}", output);
        }
    }
}

/// Longest wait for something that comes as soon as a slow machine can.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn fault_a_folder_that_is_away_is_waited_for_and_nothing_is_lost() {
    let readings = (0..2_000).map(|n| Reading { device: n % 7, ts: n as i64, value: 0.5 });
    let history = vec![readings.collect::<Vec<_>>()];
    let folder = tempfile::tempdir().expect("a folder for a while");
    let (here, away) = (folder.path().join("readings"), folder.path().join("away"));
    let job = Job::default();
    let sink = job.metrics.sink_records.with_label_values(&["readings out"]);
    let shape = Shape { workers: 2, chunk: 10, epoch_bytes: 400, snapshot_every: 0 };
    std::thread::scope(|threads| {
        let goes_away = AwayAtTheStart { here: here.clone(), away: away.clone() };
        let running = threads.spawn(|| run(&history, shape, folder.path(), &job, goes_away));
        let deadline = Instant::now() + DEADLINE;
        // Epochs are cut until as many are in flight as may be.
        while job.metrics.epoch.get() < Some(3.0) {
            assert!(Instant::now() < deadline, "no epochs");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(sink.get(), 0);
        fs::rename(&away, &here).expect("it is there");
        running.join().expect("the graph runs");
    });
    assert_eq!(sink.get(), 2_000);
    assert_eq!(lines(folder.path(), "readings"), recompute(&history)[0]);
}

/// Keeps nothing, and has a folder vanish when all sinks have found theirs.
struct AwayAtTheStart {
    here: std::path::PathBuf,
    away: std::path::PathBuf,
}

impl Durability for AwayAtTheStart {
    fn recover(&self, _: &Job) -> Result<tideflow_core::Recovered, BuildError> {
        Ok(tideflow_core::Recovered::default())
    }

    fn begin(
        &self,
        _: &Flow<'_>,
        _: &[u8],
    ) -> Result<Box<dyn tideflow_core::BindingLog>, BuildError> {
        Ok(Box::new(RecentBindings::new(100)))
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        if flow.worker().0 == 0 {
            let run = |name: &str| self.here.join(".pending").join(format!("run-{:020}-{name}", 1));
            let deadline = Instant::now() + DEADLINE;
            while !run("1").exists() {
                assert!(Instant::now() < deadline, "the other worker has not begun");
                std::thread::park_timeout(Duration::from_millis(1));
            }
            fs::rename(&self.here, &self.away).expect("it is there");
        }
        Ok(())
    }
}
