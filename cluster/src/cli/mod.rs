//! The command line that every graph binary has.

mod command;
mod features;
mod flags;
mod help;
mod questions;
mod rejects;
mod replay;
mod shell;
mod state;

pub use shell::{main_from, main_with};
