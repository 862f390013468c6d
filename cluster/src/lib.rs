//! The process around a graph: settings, command line, logs, signals, HTTP pages.
//!
//! A graph binary is `main_with(&GRAPH, &runner)`: its [`GraphSpec`] names it and its options, its
//! [`Runner`] does what `run`, `check` and `graph` ask. Everything here works without Kafka,
//! models or timely.
//!
//! - [`settings`]: defaults, file, environment and flags in one tree; errors that name the place
//!   and the nearest valid option.
//! - [`FrameworkConfig`]: the options that every graph has. `default.toml` is their manual.
//! - [`Exit`]: the exit codes.
//! - [`logs`], [`panic`], [`signals`], [`http`], [`thread_busy`], [`hostfile`]: one part each, of
//!   use without the others.

mod cli;
mod exit;
mod framework;
mod runner;

pub mod hostfile;
pub mod http;
pub mod logs;
pub mod panic;
pub mod settings;
pub mod signals;
pub mod thread_busy;

pub use cli::{main_from, main_with};
pub use exit::Exit;
pub use framework::{
    EpochsConfig, FRAMEWORK_DEFAULTS, FrameworkConfig, HttpConfig, LogConfig, LogFormat, OnStop,
    RunConfig, WorkersConfig,
};
pub use runner::{Failure, Finding, GraphFormat, GraphSpec, Job, Runner};
