//! The launcher: brings a graph onto its hosts over SSH, and keeps it there.
//!
//! `cluster.toml` ([`cluster_file`]) says what is wanted. A command ([`commands`]) asks all hosts side
//! by side ([`fleet`]), through the system's OpenSSH ([`ssh`], [`courier`]), what they have. On a host it is this same
//! program that answers ([`agent`]): one request on standard input, lines on standard output
//! ([`wire`]). What a graph needs travels by content as a [`release`], and nothing travels twice. Where
//! there is no systemd, [`supervise`] starts a process again that was lost.
//!
//! It never makes or destroys machines, and knows neither Kafka nor a model: what it must know of them it
//! asks the graph's own program, by `config`, `graph` and `check`.

pub mod agent;
pub mod args;
pub mod bounded;
pub mod certs;
pub mod clock;
pub mod cluster_file;
pub mod commands;
pub mod courier;
pub mod env_file;
pub mod fleet;
pub mod release;
pub mod ssh;
pub mod supervise;
pub mod systemd;
pub mod whole;
pub mod wire;

use std::process::ExitCode;

use clap::Parser;

use args::Args;
use commands::LaunchError;

/// The `main` of `tideflow`: 0 when it is done, 1 when it failed on some host, 2 when it is refused.
pub fn main() -> ExitCode {
    match commands::run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tideflow: {error}");
            ExitCode::from(match error {
                LaunchError::Refused(_) => 2,
                LaunchError::Failed(_) => 1,
            })
        }
    }
}
