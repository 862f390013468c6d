//! What snapshots cost a worker: its longest pause while one is taken, their size, and how long until one
//! is whole in the store. One window is open for each of N devices, which go on sending.
//! `snapshots BROKERS DEVICES`, a process a size: `snapshots BROKERS` for all.

use std::ffi::OsString;
use std::fs::read_dir;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::time::ClockId;
use tideflow::core::timely::Config;
use tideflow::core::timely::dataflow::channels::pact::Pipeline;
use tideflow::core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow::core::{
    Batch, BindingLog, Bound, Check, Durability, Ending, Job, Part, PartState, Recovered,
    SnapshotPart, Source, SourceSpec, SourceStart, execute,
};
use tideflow::job::JobConfig;
use tideflow::prelude::*;
use tideflow_benches::{Reading, Values};

/// Epochs of 50 ms from one snapshot to the next.
const SNAPSHOT_EVERY: u64 = 40;
/// Snapshots that are looked at.
const SNAPSHOTS: usize = 5;
/// Readings a second, once every device has a window.
const RATE: f64 = 100_000.0;
/// What a snapshot leaves to be done is done so long after it is whole.
const AFTER: Duration = Duration::from_millis(200);

/// Every device once, as fast as they are taken; then one after the other again, at the rate.
struct Devices {
    devices: u64,
    sent: u64,
    filled: Option<Instant>,
    seen: Seen,
}

impl Source for Devices {
    type Item = Reading;

    fn poll(&mut self, batch: &mut Batch<Reading>) -> bool {
        let due = match self.filled {
            None => self.devices,
            Some(since) => self.devices + (since.elapsed().as_secs_f64() * RATE) as u64,
        };
        for _ in 0..(due - self.sent).min(Batch::<Reading>::RECORDS as u64) {
            // Steps that do not divide the number reach every device, in no order of their keys.
            let number = self.sent.wrapping_mul(7_919) % self.devices;
            let device = format!("d{number:09}").parse().expect("well formed");
            batch.items.push(Reading { device, value: self.sent as f64 });
            batch.bytes += 60;
            self.sent += 1;
        }
        if self.filled.is_none() && self.sent == self.devices {
            self.filled = Some(Instant::now());
            self.seen.lock().filled = true;
        }
        true
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        let (source, next, watermark) = ("devices".to_string(), self.sent as i64, EventTime::MIN);
        let state = PartState::Active;
        parts.push(Part { source, partition: 0, from: None, next, watermark, state });
    }

    fn replayed(&self) -> u64 {
        0
    }
}

struct DevicesSpec(u64, Seen);

impl SourceSpec for DevicesSpec {
    type Source = Devices;

    fn about(&self) -> String {
        format!("{} devices", self.0)
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, _: SourceStart) -> Result<Devices, BuildError> {
        let DevicesSpec(devices, seen) = self;
        Ok(Devices { devices, sent: 0, filled: None, seen })
    }
}

/// What is seen of a run.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Sights>>);

#[derive(Default)]
struct Sights {
    filled: bool,
    bytes: usize,
    seconds: Vec<f64>,
    /// The longest pause with a snapshot and without one: by the clock, and of them on a CPU.
    pauses: [[Duration; 2]; 2],
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Sights> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// A job with a heart beside its graph, that beats whenever the worker comes by.
struct Watched {
    job: Arc<dyn Durability>,
    folder: PathBuf,
    seen: Seen,
}

impl Durability for Watched {
    fn snapshot_every(&self) -> u64 {
        self.job.snapshot_every()
    }

    fn recover(&self, job: &Job) -> Result<Recovered, BuildError> {
        self.job.recover(job)
    }

    fn begin(&self, flow: &Flow<'_>, notes: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        self.job.begin(flow, notes)
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        self.job.end(flow)?;
        let mut builder = OperatorBuilder::new("heart".to_string(), flow.scope());
        let mut bounds = builder.new_input(flow.bound(), Pipeline);
        let mut parts = builder.new_input(flow.snapshots().parts, Pipeline);
        let activator = flow.scope().activator_for(builder.operator_info().address);
        let mut heart = Heart::new(&self.folder, self.seen.clone(), flow.job().clone());
        builder.build(move |capabilities| {
            drop(capabilities);
            move |frontiers| {
                bounds.for_each(|_, bounds| bounds.drain(..).for_each(|b| heart.bound(b)));
                parts.for_each(|_, parts| parts.drain(..).for_each(|p| heart.written(&p)));
                heart.beat();
                if !frontiers[0].is_empty() {
                    activator.activate();
                }
            }
        });
        Ok(())
    }
}

struct Heart {
    folder: PathBuf,
    seen: Seen,
    job: Job,
    last: [Duration; 2],
    started: Instant,
    /// Since when a snapshot is taken, and when it was whole.
    snapshot: Option<(Instant, Option<Instant>)>,
    /// How many are over. The first comes while there is still to be done of filling the windows.
    over: usize,
    /// The newest manifest before the one under way.
    manifest: Option<OsString>,
}

impl Heart {
    fn new(folder: &Path, seen: Seen, job: Job) -> Self {
        let (folder, started) = (folder.to_path_buf(), Instant::now());
        Heart {
            folder,
            seen,
            job,
            last: [Duration::ZERO; 2],
            started,
            snapshot: None,
            over: 0,
            manifest: None,
        }
    }

    fn bound(&mut self, bound: Bound) {
        if bound.snapshot && self.seen.lock().filled {
            self.manifest = newest_manifest(&self.folder);
            self.snapshot = Some((Instant::now(), None));
        }
    }

    fn written(&mut self, part: &SnapshotPart) {
        self.seen.lock().bytes = part.segment.bytes.len();
    }

    fn beat(&mut self) {
        let on_cpu = Duration::try_from(rustix::time::clock_gettime(ClockId::ThreadCPUTime));
        let now = [self.started.elapsed(), on_cpu.expect("time goes on")];
        let before = std::mem::replace(&mut self.last, now);
        let mut seen = self.seen.lock();
        // A run that ends is not a run that goes on: nobody waits for it.
        if before[0].is_zero() || !seen.filled || self.over > SNAPSHOTS {
            return;
        }
        let longest = &mut seen.pauses[usize::from(self.snapshot.is_none())];
        for ((longest, now), before) in longest.iter_mut().zip(now).zip(before) {
            *longest = (now - before).max(*longest);
        }
        self.snapshot = match self.snapshot.take() {
            Some((since, None)) if newest_manifest(&self.folder) > self.manifest => {
                seen.seconds.push(since.elapsed().as_secs_f64());
                Some((since, Some(Instant::now())))
            }
            Some((_, Some(whole))) if whole.elapsed() > AFTER => {
                match self.over {
                    0 => *seen = Sights { filled: true, ..Sights::default() },
                    SNAPSHOTS => self.job.stop.ask(Ending::Suspend),
                    _ => {}
                }
                self.over += 1;
                None
            }
            other => other,
        };
    }
}

/// Manifests are named by generation and epoch, so that the newest is the last.
fn newest_manifest(folder: &Path) -> Option<OsString> {
    read_dir(folder.join("manifest")).ok()?.flatten().map(|file| file.file_name()).max()
}

/// One run of a job over so many devices: a row of the table.
fn row(brokers: &str, devices: u64) -> Result<String> {
    let state = tempfile::tempdir()?;
    let name = format!("snapshots-{}", std::process::id());
    let folder = state.path().to_str().context("the folder's name is no text")?;
    let config =
        JobConfig { snapshot_every: SNAPSHOT_EVERY, ..JobConfig::exactly_once(&name, folder) };
    let seen = Seen::default();
    let job = config.durability(&name, &KafkaConfig::plaintext(brokers));
    let watched = Watched { job, folder: state.path().join(&name), seen: seen.clone() };
    let sights = seen.clone();
    execute(
        Config::thread(),
        &Job::default(),
        watched,
        |_| (),
        move |flow| {
            let (readings, _) = flow.source("devices", DevicesSpec(devices, seen.clone()))?;
            let windows = readings
                .key_by(|r: &Reading| &r.device)
                .tumbling_window::<_, Values>("windows", Tumbling::of(minutes(1)))?;
            flow.sink("out", windows.on_time, VecSink::new())
        },
    )?;
    let mut sights = sights.lock();
    sights.seconds.sort_by(f64::total_cmp);
    let seconds = sights.seconds.get(SNAPSHOTS / 2).context("no snapshot was whole in time")?;
    let mb = sights.bytes as f64 / 1e6;
    let [with, without] = sights.pauses.map(|pauses| pauses.map(|p| p.as_secs_f64() * 1e3));
    Ok(format!(
        "| {devices} | {mb:.1} | {seconds:.2} | {:.1} | {:.1} | {:.1} | {:.1} |",
        with[0], with[1], without[0], without[1]
    ))
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let brokers = args.first().context("expected BROKERS [DEVICES]")?;
    if let Some(devices) = args.get(1) {
        println!("{}", row(brokers, devices.parse().context("DEVICES: expected a number")?)?);
        return Ok(());
    }
    println!(
        "| devices | MB | seconds until whole | longest pause ms | of it on a CPU ms | without a snapshot ms | on a CPU ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for devices in ["100000", "1000000"] {
        let run = Command::new(std::env::current_exe()?).args([brokers, devices]).output()?;
        let errors = String::from_utf8_lossy(&run.stderr).into_owned();
        anyhow::ensure!(run.status.success(), "run with {devices} devices: {errors}");
        print!("{}", String::from_utf8(run.stdout)?);
    }
    Ok(())
}
