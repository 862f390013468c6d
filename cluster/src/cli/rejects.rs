//! What can be asked of a graph's dead letters.

use clap::{Arg, ArgAction, ArgMatches, Command};
use tideflow_core::RejectsRequest;

use super::questions::Questions;

/// The commands of `rejects`.
pub(super) fn command(asked: &Questions<'_>) -> Command {
    let one = |name, about, more, args| asked.one(name, about, more, args);
    let all =
        |help: &'static str| Arg::new("all").long("all").action(ArgAction::SetTrue).help(help);
    let error = Arg::new("error").long("error").value_name("ERROR");
    asked
        .command("Looks at dead letters, and has them read again")
        .subcommand(one(
            "ls",
            "Prints the dead letters that were not sent back yet, one JSON object a line",
            " [--error ERROR] [--all]",
            vec![
                error.help("Those with this error only, such as `malformed`"),
                all("Those that were sent back too"),
            ],
        ))
        .subcommand(one(
            "replay",
            "Sends dead letters back to the topics and partitions that they came from, each once: after a \
             mended graph has been started. One that is cut, or comes from no topic, is left",
            " [--all]",
            vec![all("Those that were sent back before too")],
        ))
}

/// What a command line asks for.
pub(super) fn request(name: &str, of: &ArgMatches) -> RejectsRequest {
    let all = of.get_flag("all");
    match name {
        "ls" => RejectsRequest::List { error: of.get_one::<String>("error").cloned(), all },
        _ => RejectsRequest::Replay { all },
    }
}
