//! The command line that every graph binary has.

mod command;
mod flags;
mod help;
mod shell;

pub use shell::{main_from, main_with};
