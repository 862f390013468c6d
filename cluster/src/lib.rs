//! The process around a graph: settings, command line, logs, signals, HTTP pages.
//!
//! A graph binary is [`main`] with a [`Graph`]. Beneath it, [`main_with`] takes any [`Runner`]: what
//! `run`, `check` and `graph` ask of a graph. Nothing here knows Kafka or models.
//!
//! - [`settings`]: defaults, file, environment and flags in one tree; errors that name the place
//!   and the nearest valid option.
//! - [`FrameworkConfig`]: the options that every graph has. `default.toml` is their manual.
//! - [`Exit`]: the exit codes.
//! - [`logs`], [`mod@panic`], [`signals`], [`http`], [`thread_busy`], [`hostfile`], [`mesh`]: one part each, of
//!   use without the others.

mod backtest;
mod cli;
mod exit;
mod feature_file;
mod features;
mod framework;
mod graph;
mod hang;
mod meeting;
mod runner;

pub mod hostfile;
pub mod http;
pub mod logs;
pub mod mesh;
pub mod panic;
pub mod settings;
pub mod signals;
pub mod thread_busy;

pub use cli::{main_from, main_with};
pub use exit::Exit;
pub use feature_file::{FeatureFileError, write_features};
pub use framework::{
    EpochsConfig, FRAMEWORK_DEFAULTS, FrameworkConfig, HttpConfig, LogConfig, LogFormat, OnStop,
    RunConfig, WorkersConfig,
};
pub use graph::{Graph, MakeCompare, main};
pub use runner::{
    Finding, GraphFormat, GraphSpec, ModelSetting, Question, RunFailure, Runner, Setup,
};
