//! A graph function and its binary.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tideflow_core::timely::Config;
use tideflow_core::{
    Backtest, BuildError, Check, CheckFailure, Compare, Durability, Ending, ErrorKind, Flow, Job,
    LogOnly, Metrics, OptionProblem, Plan, RecentBindings, RunError, Stop, Workers, execute, plan,
    plan_of,
};

use crate::backtest::{Outcome, readings, show_progress};
use crate::exit::Exit;
use crate::hang::watch_workers;
use crate::http::Pages;
use crate::settings::{Problem, Settings};
use crate::thread_busy::BusyThreads;
use crate::{
    Finding, GraphFormat, GraphSpec, ModelSetting, Question, RunFailure, Runner, Setup, main_with,
};
use crate::{features, meeting, panic};

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
    /// What is wrong with options that only make sense together. Touches nothing; what it finds is told
    /// with the place of each option, by `run` and `check`.
    pub validate: fn(&C) -> Vec<OptionProblem>,
    /// What makes it durable, as the options say; the text is the graph's name.
    pub durability: fn(&C, &str) -> Arc<dyn Durability>,
    /// Builds the graph: once to look at it, once a worker to run it.
    pub build: fn(&Flow<'_>, &C) -> Result<(), BuildError>,
    /// What `replay --model` sets; none for a graph without a model.
    pub model: Option<ModelSetting>,
    /// What `replay` compares with what was published; none where it only writes what comes of it.
    pub compare: Option<MakeCompare<C>>,
}

/// Makes what compares a graph's outputs, as its options say.
pub type MakeCompare<C> = fn(&C) -> Box<dyn Compare>;

/// The `main` of a graph's binary: `run`, `check`, `features`, `replay` and the other commands, with help.
pub fn main<C>(graph: Graph<C>) -> ExitCode
where
    C: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let Graph { name, about, version, defaults, validate, durability, build, model, compare } =
        graph;
    let runner = GraphRunner {
        name,
        validate,
        durability,
        build,
        compare,
        metrics: Arc::default(),
        busy: Arc::default(),
        running: Arc::default(),
    };
    main_with(&GraphSpec { name, about, version, defaults, model }, &runner)
}

struct GraphRunner<C> {
    name: &'static str,
    validate: fn(&C) -> Vec<OptionProblem>,
    durability: fn(&C, &str) -> Arc<dyn Durability>,
    build: fn(&Flow<'_>, &C) -> Result<(), BuildError>,
    compare: Option<MakeCompare<C>>,
    metrics: Arc<Metrics>,
    busy: Arc<BusyThreads>,
    running: Arc<AtomicBool>,
}

impl<C> GraphRunner<C> {
    fn plan(&self, config: &C) -> Result<Plan, BuildError> {
        let mut plan = plan(|flow| (self.build)(flow, config))?;
        let checks = (self.durability)(config, self.name).checks(&plan);
        plan.checks.extend(checks);
        Ok(plan)
    }
}

/// Timely's configuration for the threads of one process.
fn timely_config<C>(setup: &Setup<C>) -> Config {
    match setup.framework.workers.threads {
        1 => Config::thread(),
        threads => Config::process(threads),
    }
}

impl<C: DeserializeOwned + Clone + Send + Sync + 'static> Runner for GraphRunner<C> {
    type Config = C;

    fn current_operator() -> Option<&'static str> {
        tideflow_core::current_operator()
    }

    fn validate(&self, settings: &Settings, config: &C) -> Vec<Problem> {
        let found = (self.validate)(config).into_iter();
        found.map(|problem| settings.refuse(&problem.key, problem.reason)).collect()
    }

    fn check(&self, setup: &Setup<C>) -> Vec<Finding> {
        match self.plan(&setup.config) {
            Ok(plan) => {
                let processes = meeting::check(setup).into_iter();
                processes.chain(plan.findings().map(finding)).collect()
            }
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

    fn answer(
        &self,
        setup: &Setup<C>,
        question: &Question,
        out: &mut dyn Write,
    ) -> Result<(), RunFailure> {
        match question {
            Question::State(request) => {
                let plan = self.plan(&setup.config)?;
                let durability = (self.durability)(&setup.config, self.name);
                Ok(durability.answer(request, &plan.states, out)?)
            }
            Question::Rejects(request) => {
                let letters = self.plan(&setup.config)?.dead_letters;
                if letters.is_empty() {
                    let message = "the graph has no sink for dead letters".to_string();
                    return Err(RunFailure { kind: ErrorKind::Invalid, message });
                }
                Ok(letters.iter().try_for_each(|letters| letters.answer(request, out))?)
            }
            Question::Features { to, wanted } => {
                let (build, config) = (self.build, setup.config.clone());
                let graph = move |flow: &Flow<'_>| build(flow, &config);
                let epochs = (&setup.framework.epochs).into();
                features::write((timely_config(setup), epochs), graph, (to, wanted), out)
            }
        }
    }

    fn pages(&self, _: &Setup<C>) -> Pages {
        let (metrics, busy, running) =
            (self.metrics.clone(), self.busy.clone(), self.running.clone());
        Pages {
            metrics: Box::new(move || busy.page(&metrics)),
            ready: Box::new(move || match running.load(Ordering::Acquire) {
                true => Ok(()),
                false => Err("starting".to_string()),
            }),
        }
    }

    fn run(&self, setup: &Setup<C>, stop: &Stop) -> Result<(), RunFailure> {
        let started = Arc::<AtomicBool>::default();
        leave_when_asked_before_the_start(stop, started.clone());
        // Held while the graph runs: with it go connections that the checks have made.
        let plan = self.plan(&setup.config)?;
        expect_checked(&plan)?;
        let durability = (self.durability)(&setup.config, self.name);
        let job = self.job(setup, stop);
        if setup.hosts.len() < 2 {
            return self.execute(setup, (timely_config(setup), &job), durability, started);
        }
        let (workers, watch) = meeting::meet(setup, self.name, &plan, &*durability)?;
        let outcome = self.execute(setup, (workers, &job), durability, started);
        if let Err(failure) = &outcome {
            panic::is_ending();
            watch.fail(&failure.message, failure.kind == ErrorKind::Superseded);
        }
        outcome
    }

    fn replay(
        &self,
        setup: &Setup<C>,
        backtest: &Backtest,
        stop: &Stop,
    ) -> Result<Option<String>, RunFailure> {
        let started = Arc::<AtomicBool>::default();
        leave_when_asked_before_the_start(stop, started.clone());
        let job = Job { backtest: Some(backtest.clone()), ..self.job(setup, stop) };
        let mut plan = plan_of(&job, |flow| (self.build)(flow, &setup.config))?;
        let compare = self.compare.map(|compare| compare(&setup.config));
        plan.checks.extend(compare.iter().flat_map(|compare| compare.checks()));
        expect_checked(&plan)?;
        let sources: Vec<String> = plan.inputs.keys().cloned().collect();
        let progress = show_progress(backtest, self.metrics.clone(), sources.clone());
        // Nothing of it survives: it begins with nothing, and leaves nothing.
        let nothing: Arc<dyn Durability> = Arc::new(LogOnly::new(RecentBindings::new(1)));
        self.execute(setup, (timely_config(setup), &job), nothing, started)?;
        drop(progress);
        if stop.asked() != Ending::No {
            return Ok(None);
        }
        let readings = readings(&self.metrics, &sources);
        let outputs = backtest.finish().map_err(|error| RunFailure {
            kind: ErrorKind::Fatal,
            message: format!("writing to `{}`: {error}", backtest.folder().display()),
        })?;
        if readings.values().all(|records| *records == 0) {
            let (from, to) = (backtest.from.date(), backtest.to.date());
            let message =
                format!("expected records of {from} to {to} in what the graph reads, found none");
            return Err(RunFailure { kind: ErrorKind::Invalid, message });
        }
        let compared = match compare {
            None => None,
            Some(compare) => match compare.compare(backtest, stop)? {
                Some(compared) => Some(compared),
                None => return Ok(None),
            },
        };
        Outcome { graph: self.name, backtest, readings, outputs, compared }.report().map(Some)
    }
}

impl<C: Clone + Send + Sync + 'static> GraphRunner<C> {
    fn job(&self, setup: &Setup<C>, stop: &Stop) -> Job {
        Job {
            metrics: self.metrics.clone(),
            stop: stop.clone(),
            epochs: (&setup.framework.epochs).into(),
            ..Job::default()
        }
    }

    /// Runs the graph to its end; `started` is set when it is built.
    fn execute(
        &self,
        setup: &Setup<C>,
        (workers, job): (impl Into<Workers>, &Job),
        durability: Arc<dyn Durability>,
        started: Arc<AtomicBool>,
    ) -> Result<(), RunFailure> {
        let (busy, running) = (self.busy.clone(), self.running.clone());
        let each_worker = move |worker: usize| {
            if let Err(error) = busy.register(worker.to_string()) {
                tracing::warn!(worker, %error, "the worker's CPU time will not be shown");
            }
        };
        let (build, config) = (self.build, setup.config.clone());
        let graph = move |flow: &Flow<'_>| {
            build(flow, &config)?;
            started.store(true, Ordering::Release);
            running.store(true, Ordering::Release);
            Ok(())
        };
        let limit = Duration::from_millis(setup.framework.workers.step_timeout_ms);
        let watch = watch_workers(job.steps.clone(), limit, move |worker| {
            let ms = limit.as_millis();
            let report = format!(
                "worker {worker} hangs: it is at one thing for {ms} ms (`workers.step_timeout_ms`)"
            );
            panic::end_with(Exit::Failed, &report)
        });
        let _watch = watch.map_err(|error| RunError::Start(error.to_string()))?;
        let outcome = execute(workers, job, durability, each_worker, graph);
        self.running.store(false, Ordering::Release);
        Ok(outcome?)
    }
}

/// That all holds which must hold before the graph starts.
pub(crate) fn expect_checked(plan: &Plan) -> Result<(), RunFailure> {
    for (Check { what, advisory, .. }, outcome) in plan.findings() {
        match outcome {
            Ok(found) => tracing::info!("{what}: {found}"),
            Err(failure) if *advisory => tracing::warn!("{what}: {}", failure.message),
            Err(CheckFailure { kind, message }) => {
                return Err(RunFailure { kind, message: format!("{what}: {message}") });
            }
        }
    }
    Ok(())
}

/// A process that still waits for a broker or for other processes has nothing to close: a stop ends
/// it at once.
fn leave_when_asked_before_the_start(stop: &Stop, started: Arc<AtomicBool>) {
    let leave = move || {
        if !started.load(Ordering::Acquire) {
            tracing::info!("stopped before the start");
            Exit::Done.now()
        }
    };
    stop.wake_with(leave.clone());
    if stop.asked() != Ending::No {
        leave();
    }
}

fn finding((check, outcome): (&Check, Result<String, CheckFailure>)) -> Finding {
    Finding { what: check.what.clone(), outcome }
}
