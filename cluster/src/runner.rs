//! What the process shell asks of a graph.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use tideflow_core::{
    Backtest, BuildError, CheckFailure, ErrorKind, RejectsRequest, RunError, StateRequest, Stop,
    WantedRows,
};

use crate::framework::FrameworkConfig;
use crate::http::Pages;
use crate::settings::{Problem, Settings};

/// A graph binary, as its command line shows it.
#[derive(Clone, Copy, Debug)]
pub struct GraphSpec {
    /// The name of the binary and the graph.
    pub name: &'static str,
    /// What it does, one sentence.
    pub about: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Files of defaults beside the framework's own, the text of each: the graph's, Kafka's.
    pub defaults: &'static [&'static str],
    /// What `replay --model` means: [`crate::Graph::model`].
    pub model: Option<ModelSetting>,
}

/// What is set for what `replay --model` is given, and to what: so that this model scores, and no other.
pub type ModelSetting = fn(&str) -> Vec<(&'static str, String)>;

/// Everything a graph is configured with, read and checked.
#[derive(Debug)]
pub struct Setup<C> {
    /// All settings.
    pub settings: Settings,
    /// The options that every graph has.
    pub framework: FrameworkConfig,
    /// The graph's own options.
    pub config: C,
    /// The addresses of the job's processes; empty for a single process. Read for `run` and
    /// `check` only.
    pub hosts: Vec<String>,
}

/// How `graph` writes a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GraphFormat {
    /// The DOT language.
    Dot,
    /// JSON.
    Json,
}

/// One thing that `check` looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was checked, as a person would say it.
    pub what: String,
    /// What was found, or what is wrong.
    pub outcome: Result<String, CheckFailure>,
}

/// Why a graph does not start, or ends before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailure {
    /// What to do about it; it decides the exit code.
    pub kind: ErrorKind,
    /// What is wrong: expected and found.
    pub message: String,
}

/// What can be asked of a graph beside its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Of its state.
    State(StateRequest),
    /// Of its dead letters.
    Rejects(RejectsRequest),
    /// To write what its model would be given, out of what its sources hold, as a Parquet file.
    Features {
        /// The file.
        to: PathBuf,
        /// Which rows.
        wanted: WantedRows,
    },
}

/// What a graph does when its binary is called.
pub trait Runner: Send + Sync + 'static {
    /// The graph's own options, one field a section; it must ignore the sections of others.
    type Config: DeserializeOwned;

    /// The operator at work in the calling thread, for the report of a panic.
    fn current_operator() -> Option<&'static str> {
        None
    }

    /// What is wrong with options that only make sense together. Touches nothing; told by `run` and
    /// `check`, with everything else that is wrong with the configuration. [`Settings::refuse`] makes a
    /// problem.
    fn validate(&self, settings: &Settings, config: &Self::Config) -> Vec<Problem> {
        let _ = (settings, config);
        Vec::new()
    }

    /// Looks at everything the graph needs, without starting it.
    fn check(&self, setup: &Setup<Self::Config>) -> Vec<Finding>;

    /// The graph as text.
    ///
    /// # Errors
    /// When the graph cannot be built.
    fn describe(
        &self,
        setup: &Setup<Self::Config>,
        format: GraphFormat,
    ) -> Result<String, RunFailure>;

    /// Answers what is asked of the graph beside its runs, as text.
    ///
    /// # Errors
    /// When it cannot be done, or something must be mended.
    fn answer(
        &self,
        setup: &Setup<Self::Config>,
        question: &Question,
        out: &mut dyn Write,
    ) -> Result<(), RunFailure>;

    /// What the HTTP pages show. Called once, before [`Runner::run`].
    fn pages(&self, setup: &Setup<Self::Config>) -> Pages;

    /// Runs the graph to its end, or until `stop` is asked.
    ///
    /// # Errors
    /// When it cannot start, or fails.
    fn run(&self, setup: &Setup<Self::Config>, stop: &Stop) -> Result<(), RunFailure>;

    /// Runs the graph over a part of the past, to its end or until `stop` is asked, and compares what came of
    /// it with what was published: a report as text, or none where it was stopped.
    ///
    /// # Errors
    /// When it cannot start, or fails.
    fn replay(
        &self,
        setup: &Setup<Self::Config>,
        backtest: &Backtest,
        stop: &Stop,
    ) -> Result<Option<String>, RunFailure>;
}

impl fmt::Display for RunFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunFailure {}

impl From<BuildError> for RunFailure {
    fn from(error: BuildError) -> RunFailure {
        RunFailure { kind: error.kind, message: error.to_string() }
    }
}

impl From<RunError> for RunFailure {
    fn from(error: RunError) -> RunFailure {
        let kind = match error {
            RunError::Failed(error) => return error.into(),
            RunError::Start(_) => ErrorKind::Unavailable,
            _ => ErrorKind::Fatal,
        };
        RunFailure { kind, message: error.to_string() }
    }
}

impl From<RunFailure> for CheckFailure {
    fn from(failure: RunFailure) -> CheckFailure {
        CheckFailure { kind: failure.kind, message: failure.message }
    }
}

impl From<CheckFailure> for RunFailure {
    fn from(failure: CheckFailure) -> RunFailure {
        RunFailure { kind: failure.kind, message: failure.message }
    }
}
