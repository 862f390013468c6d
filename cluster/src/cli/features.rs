//! Has a graph write what its model would be given.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use tideflow_core::{EventTime, WantedRows};

use super::replay;
use crate::runner::Question;

/// What its usage line has beside the settings.
pub(super) const USAGE: &str = " --to FILE [--from TIME] [--to-time TIME] [--operator NAME]";

/// The command `features`.
pub(super) fn command() -> Command {
    let time = |name| replay::time(name).allow_negative_numbers(true);
    Command::new("features")
        .about("Writes the rows that the model would be given to a Parquet file, for training")
        .long_about(
            "Writes the rows that the model would be given to a Parquet file, for training.\n\n\
             The graph's own operators make them, up to its model, out of what its sources hold at the start: from \
             the earliest on, or from where `start` of a source says. There need be no model. Nothing else is \
             written, and a job that runs is not touched. Columns: `key` and `time` (of a window its start, in \
             milliseconds since 1970), and each feature under its name.",
        )
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The file, which must not be there yet; its folder is made"),
        )
        .arg(time("from").help(
            "Rows of this time or later: RFC 3339 as in 2026-11-20T00:00:00Z, or milliseconds since 1970",
        ))
        .arg(time("to-time").help("Rows before this time"))
        .arg(
            Arg::new("operator")
                .long("operator")
                .value_name("NAME")
                .help("The operator whose rows are meant, where several call a model"),
        )
}

/// What a command line asks for.
pub(super) fn question(of: &ArgMatches) -> Question {
    let time = |name: &str| of.get_one::<EventTime>(name).copied();
    let operator = of.get_one::<String>("operator").cloned();
    Question::Features {
        to: of.get_one::<PathBuf>("to").cloned().expect("clap requires it"),
        wanted: WantedRows { operator, from: time("from"), before: time("to-time") },
    }
}
