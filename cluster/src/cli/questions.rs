//! Commands that ask something of what a graph has kept.

use clap::{Arg, Command};

/// A command with commands of its own.
pub(super) struct Questions<'a> {
    pub name: &'static str,
    /// Makes a usage line.
    pub usage: &'a dyn Fn(&str, &str) -> String,
    /// The argument for a settings file.
    pub file: fn() -> Arg,
    /// What all of them say of settings.
    pub settings: &'static str,
}

impl Questions<'_> {
    /// The command, still without those of its own.
    pub fn command(&self, about: &'static str) -> Command {
        Command::new(self.name)
            .about(about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true)
    }

    /// One of its own; `more` is what its usage line has beside the settings.
    pub fn one(
        &self,
        name: &'static str,
        about: &'static str,
        more: &str,
        args: Vec<Arg>,
    ) -> Command {
        Command::new(name)
            .about(about)
            .args(args)
            .arg((self.file)())
            .after_help(self.settings)
            .override_usage((self.usage)(&format!("{} {name}", self.name), more))
    }
}
