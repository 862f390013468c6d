//! A graph function and its binary.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use tideflow_core::timely::{CommunicationConfig, Config, WorkerConfig};
use tideflow_core::{
    BuildError, CheckFailure, ErrorKind, Flow, Job, Metrics, Plan, RecentBindings, RunError, Stop,
    execute, plan,
};

use crate::http::Pages;
use crate::thread_busy::BusyThreads;
use crate::{Finding, GraphFormat, GraphSpec, RunFailure, Runner, Setup, main_with};

/// A graph as a binary: its name, its options, and the function that builds it.
///
/// `C` holds the graph's options: one field a section, as in its files of defaults.
pub struct Graph<C> {
    /// The name of the binary and the graph.
    pub name: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The defaults and manual of `C`, the text of each file.
    pub defaults: &'static [&'static str],
    /// Builds the graph: once to look at it, once a worker to run it.
    pub build: fn(&Flow<'_>, &C) -> Result<(), BuildError>,
}

/// The `main` of a graph's binary: `run`, `check`, `graph` and `config`, with help.
pub fn main<C>(graph: Graph<C>) -> ExitCode
where
    C: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let Graph { name, about, version, defaults, build } = graph;
    let runner = GraphRunner {
        name,
        build,
        metrics: Arc::default(),
        busy: Arc::default(),
        running: Arc::default(),
    };
    main_with(&GraphSpec { name, about, version, defaults }, &runner)
}

/// Bindings kept in memory: a minute of epochs at the default interval.
const BINDINGS_KEPT: usize = 1200;

struct GraphRunner<C> {
    name: &'static str,
    build: fn(&Flow<'_>, &C) -> Result<(), BuildError>,
    metrics: Arc<Metrics>,
    busy: Arc<BusyThreads>,
    running: Arc<AtomicBool>,
}

impl<C> GraphRunner<C> {
    fn plan(&self, config: &C) -> Result<Plan, BuildError> {
        plan(|flow| (self.build)(flow, config))
    }
}

/// Timely's configuration: threads alone, or one of several processes.
fn timely_config<C>(setup: &Setup<C>) -> Config {
    let workers = &setup.framework.workers;
    let communication = match setup.hosts.len() {
        0 | 1 if workers.threads == 1 => CommunicationConfig::Thread,
        0 | 1 => CommunicationConfig::Process(workers.threads),
        _ => CommunicationConfig::Cluster {
            threads: workers.threads,
            process: workers.process,
            addresses: setup.hosts.clone(),
            report: false,
            zerocopy: false,
        },
    };
    Config { communication, worker: WorkerConfig::default() }
}

impl<C: DeserializeOwned + Clone + Send + Sync + 'static> Runner for GraphRunner<C> {
    type Config = C;

    fn current_operator() -> Option<&'static str> {
        tideflow_core::current_operator()
    }

    fn check(&self, setup: &Setup<C>) -> Vec<Finding> {
        match self.plan(&setup.config) {
            Ok(plan) => plan.findings().map(finding).collect(),
            Err(error) => {
                let failure = RunFailure::from(error);
                vec![Finding { what: "graph".to_string(), outcome: Err(failure.into()) }]
            }
        }
    }

    fn describe(&self, setup: &Setup<C>, format: GraphFormat) -> Result<String, RunFailure> {
        let plan = self.plan(&setup.config)?;
        Ok(match format {
            GraphFormat::Dot => plan.dot(self.name),
            GraphFormat::Json => format!("{:#}", plan.json(self.name)),
        })
    }

    fn pages(&self, _: &Setup<C>) -> Pages {
        let (metrics, busy, running) =
            (self.metrics.clone(), self.busy.clone(), self.running.clone());
        Pages {
            metrics: Box::new(move || {
                for thread in busy.sample() {
                    metrics.worker_busy.with_label_values(&[&thread.name]).set(thread.share);
                }
                metrics.text()
            }),
            ready: Box::new(move || match running.load(Ordering::Acquire) {
                true => Ok(()),
                false => Err("starting".to_string()),
            }),
        }
    }

    fn run(&self, setup: &Setup<C>, stop: &Stop) -> Result<(), RunFailure> {
        for (what, outcome) in self.plan(&setup.config)?.findings() {
            let found = outcome.map_err(|failure| RunFailure {
                kind: failure.kind,
                message: format!("{what}: {}", failure.message),
            })?;
            tracing::info!("{what}: {found}");
        }
        let job = Job {
            metrics: self.metrics.clone(),
            stop: stop.clone(),
            epochs: (&setup.framework.epochs).into(),
            ..Job::default()
        };
        let (busy, running) = (self.busy.clone(), self.running.clone());
        let each_worker = move |worker: usize| {
            if let Err(error) = busy.register(worker.to_string()) {
                tracing::warn!(worker, %error, "the worker's CPU time will not be shown");
            }
        };
        let (build, config) = (self.build, setup.config.clone());
        let graph = move |flow: &Flow<'_>| {
            build(flow, &config)?;
            running.store(true, Ordering::Release);
            Ok(())
        };
        let log = Box::new(RecentBindings::new(BINDINGS_KEPT));
        let outcome = execute(timely_config(setup), &job, log, each_worker, graph);
        self.running.store(false, Ordering::Release);
        outcome.map_err(|error| match error {
            RunError::Failed(error) => error.into(),
            other => RunFailure { kind: ErrorKind::Unavailable, message: other.to_string() },
        })
    }
}

fn finding((what, outcome): (&str, Result<String, CheckFailure>)) -> Finding {
    Finding { what: what.to_string(), outcome }
}
