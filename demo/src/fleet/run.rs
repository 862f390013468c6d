//! One run: fleet, broker, graph and reader in one process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tideflow::cluster::http::{HttpError, HttpServer, Pages};
use tideflow::cluster::thread_busy::BusyThreads;
use tideflow::core::timely::Config;
use tideflow::core::{Durability, Ending, Job, Metrics, RunError, Secret, Stop, execute, plan};
use tideflow::job::Delivery;
use tideflow::prelude::Flow;
use tideflow::sources::simulate::Fleet;
use tideflow_dataflows::device_health::{DeviceHealth, device_health};

use super::moments::Moments;
use super::options::FleetOptions;
use super::report::{Report, Summary};
use super::results::Results;
use super::sender::{Destination, Progress, Sender, partitions_used};
use super::view::View;
use crate::broker::dropped;
use crate::screen::{Screen, grouped};
use crate::setup::prepare;

/// Worker threads of the graph.
const WORKERS: usize = 2;
/// Partitions of each topic: few enough that the embedded broker keeps many seconds of each.
const PARTITIONS: usize = 8;
/// Shorter epochs than by default: results sooner, for little more work at this rate.
const EPOCHS: (&str, &str) = ("epochs.interval_ms", "20");
/// Between two looks at what the other threads do.
const LOOK: Duration = Duration::from_millis(10);
/// Between two pictures of the live view.
const SHOW: Duration = Duration::from_secs(1);
/// The longest time in which the graph reads nothing while there is something to read.
const STALL_MAX: Duration = Duration::from_secs(20);

/// Runs the demo until the fleet has sent everything or `stop` is asked: what there is to report.
///
/// # Errors
/// When a part cannot start or fails on the way.
pub fn run(options: FleetOptions, stop: &Stop, screen: &mut Screen) -> anyhow::Result<Summary> {
    let fleet = Fleet::new(options.fleet.clone())?;
    let (mut broker, mut config, framework) =
        prepare(&options.around, PARTITIONS, options.model.clone(), &[EPOCHS])?;
    // Gone with the topics in the end, as the job is.
    let state = tempfile::tempdir().context("a folder for the job's state")?;
    config.job.state = state.path().display().to_string();
    let job = Job { epochs: (&framework.epochs).into(), ..Job::default() };
    broker.about().iter().for_each(|line| screen.say(line));
    screen.say(match config.job.delivery {
        Delivery::ExactlyOnce => "delivery    exactly once",
        Delivery::AtLeastOnce if broker.is_embedded() => {
            "delivery    at least once: the embedded broker has no transactions"
        }
        Delivery::AtLeastOnce => "delivery    at least once, as configured",
    });
    say_fleet(&options, screen);
    for (check, outcome) in plan(|flow| device_health(flow, &config))?.findings() {
        if let Err(failure) = outcome {
            bail!("{}: {}", check.what, failure.message);
        }
    }
    let metrics = job.metrics.clone();
    let busy = Arc::new(BusyThreads::default());
    let page = serve(options.metrics_port, metrics.clone(), busy.clone())?;
    screen.say(format!("metrics     http://{}/metrics", page.address()));

    let moments = Arc::new(Moments::new(partitions_used(options.fleet.devices, PARTITIONS)));
    let results = Results::follow(&config, moments.clone())?;
    let destination = Destination {
        kafka: &config.kafka,
        topic: &config.readings.topic,
        partitions: PARTITIONS,
        length_ms: config.window.length_ms as i64,
        bound_ms: config.readings.out_of_orderness_ms as i64,
    };
    let durability = config.job.durability("device_health", broker.kafka());
    broker.remove_too(config.job.own_topics("device_health", &config.kafka));
    let mut graph = RunningGraph::start(job, config.clone(), durability, busy)?;
    graph.wait_until_built()?;
    screen.say(format!(
        "graph       `device_health` on {WORKERS} workers, epochs of {} ms",
        EPOCHS.1
    ));
    screen.say("");

    let progress = Arc::new(Progress::default());
    let sender = Sender::start(fleet, &destination, moments, progress.clone())?;
    let mut running = Running {
        view: View::new(metrics, progress, PARTITIONS, options.fleet.start_ts_ms),
        shown: Instant::now(),
        graph,
        results,
        screen,
    };
    running.until(|| sender.is_over() || stop.asked() != Ending::No)?;
    if stop.asked() != Ending::No {
        running.screen.say("stopping: the graph reads what was sent, then the counts follow");
    }
    let sent = sender.end()?;
    let readings = sent.truth.counts.total();
    running.until_read(readings)?;
    let Running { graph, results, screen, .. } = running;
    graph.drain()?;
    let found = results.finish()?;
    broker.close()?;
    let report = Report::new(&sent, found);
    report.say(screen);
    Ok(report.summary())
}

fn say_fleet(options: &FleetOptions, screen: &mut Screen) {
    let fleet = &options.fleet;
    screen.say(format!(
        "fleet       {} devices, {} readings/s for {} s, event time {} times faster, seed {}",
        grouped(u64::from(fleet.devices)),
        grouped(u64::from(fleet.readings_per_s)),
        fleet.duration_s,
        fleet.time_factor,
        fleet.seed,
    ));
    screen.say(format!(
        "            {} faults to be found; of 1,000 messages {} late, {} with a bad clock, {} malformed",
        fleet.faults.len(),
        fleet.late_share * 1e3,
        fleet.bad_clock_share * 1e3,
        fleet.malformed_share * 1e3,
    ));
    screen.say(format!("model       {}", options.model.as_str()));
}

/// The Prometheus page on loopback, at a free port where the wanted one is taken.
fn serve(port: u16, metrics: Arc<Metrics>, busy: Arc<BusyThreads>) -> anyhow::Result<HttpServer> {
    let start = |port: u16| {
        let (metrics, busy) = (metrics.clone(), busy.clone());
        let pages =
            Pages { metrics: Box::new(move || busy.page(&metrics)), ready: Box::new(|| Ok(())) };
        HttpServer::start(SocketAddr::from(([127, 0, 0, 1], port)), Secret::default(), pages)
    };
    match start(port) {
        Err(HttpError::Busy { .. }) => Ok(start(0)?),
        other => Ok(other?),
    }
}

/// The graph on its workers.
struct RunningGraph {
    job: Job,
    built: Arc<AtomicUsize>,
    /// None once its end has been told.
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl RunningGraph {
    fn start(
        job: Job,
        config: DeviceHealth,
        durability: Arc<dyn Durability>,
        busy: Arc<BusyThreads>,
    ) -> anyhow::Result<Self> {
        let built = Arc::new(AtomicUsize::new(0));
        let (count, run) = (built.clone(), job.clone());
        let build = move |flow: &Flow<'_>| {
            device_health(flow, &config)?;
            count.fetch_add(1, Ordering::AcqRel);
            Ok(())
        };
        // Not to know a worker's share of a core is no reason to fail.
        let each_worker = move |worker: usize| drop(busy.register(worker.to_string()));
        let thread = thread::Builder::new().name("graph".into()).spawn(move || {
            execute(Config::process(WORKERS), &run, durability, each_worker, build)
        })?;
        Ok(RunningGraph { job, built, thread: Some(thread) })
    }

    /// Returns when all workers have their part of the graph.
    fn wait_until_built(&mut self) -> anyhow::Result<()> {
        while self.built.load(Ordering::Acquire) < WORKERS {
            self.check()?;
            thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Looks whether it still runs.
    fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        if ended || self.job.failure.is_set() {
            self.join()?;
            bail!("the graph has ended by itself");
        }
        Ok(())
    }

    /// Lets time run to its end, so that open windows close, and waits for the last result.
    fn drain(mut self) -> anyhow::Result<()> {
        self.job.stop.ask(Ending::Drain);
        self.join()
    }

    fn join(&mut self) -> anyhow::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(RunError::Failed(error))) => {
                bail!("the graph has failed: {error}{}", dropped(&*error.source))
            }
            Ok(Err(error)) => bail!("the graph has failed: {error}"),
            Err(_) => bail!("the graph has failed: a worker has panicked"),
        }
    }
}

/// All parts, while they run.
struct Running<'a> {
    view: View,
    shown: Instant,
    graph: RunningGraph,
    results: Results,
    screen: &'a mut Screen,
}

impl Running<'_> {
    /// Shows what happens until something is so.
    fn until(&mut self, over: impl Fn() -> bool) -> anyhow::Result<()> {
        while !over() {
            self.graph.check()?;
            self.results.check()?;
            let since = self.shown.elapsed();
            if since >= SHOW {
                // What was missed on a busy machine is not shown later.
                self.shown += Duration::from_secs(since.as_secs());
                self.view.show(&self.results.look(), self.screen);
            }
            thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Waits until the graph has read this many readings.
    fn until_read(&mut self, sent: u64) -> anyhow::Result<()> {
        let metrics = self.graph.job.metrics.clone();
        let read = move || Metrics::total(&metrics.readings);
        let (mut last, mut since) = (read(), Instant::now());
        while last < sent {
            let slice = Instant::now() + SHOW;
            self.until(|| read() >= sent || Instant::now() >= slice)?;
            let now = read();
            if now > last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > STALL_MAX {
                bail!("the graph has read {now} of {sent} readings and no more since");
            }
        }
        Ok(())
    }
}
