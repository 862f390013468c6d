//! What can be asked of a graph's state.

use clap::{Arg, ArgAction, ArgMatches, Command};
use tideflow_core::StateRequest;

use super::questions::Questions;

/// The commands of `state`.
pub(super) fn command(asked: &Questions<'_>) -> Command {
    let one = |name, about, more, args| asked.one(name, about, more, args);
    let which =
        || optional("snapshot", "SNAPSHOT", "A manifest or savepoint, as `state ls` names it");
    let flag = || which().long("snapshot");
    asked
        .command("Looks at what the job has kept, copies it, tidies it up")
        .subcommand(one("ls", "Lists snapshots and savepoints", "", vec![]))
        .subcommand(one(
            "show",
            "Prints what a snapshot holds, as JSON; the one the next start goes on from, unless named",
            " [SNAPSHOT]",
            vec![which()],
        ))
        .subcommand(one(
            "verify",
            "Reads all snapshots, or one, and says what is damaged or cannot be read by this graph",
            " [SNAPSHOT]",
            vec![which()],
        ))
        .subcommand(one(
            "export",
            "Prints what is kept of each key, one JSON object a line",
            " [--key KEY] [--operator NAME] [--snapshot SNAPSHOT]",
            vec![
                optional("key", "KEY", "Of one key only, such as a device").long("key"),
                optional("operator", "NAME", "Of one operator only").long("operator"),
                flag(),
            ],
        ))
        .subcommand(one(
            "gc",
            "Removes what no snapshot that is kept needs, as a running job does by itself",
            " [--dry-run]",
            vec![
                Arg::new("dry-run")
                    .long("dry-run")
                    .action(ArgAction::SetTrue)
                    .help("Say what is not needed, and remove nothing"),
            ],
        ))
        .subcommand(one(
            "savepoint",
            "Keeps a snapshot under a name until it is dropped",
            " NAME [--snapshot SNAPSHOT]",
            vec![required("name", "NAME", "The savepoint's name"), flag()],
        ))
        .subcommand(one(
            "drop",
            "Keeps a savepoint no longer",
            " NAME",
            vec![required("name", "NAME", "The savepoint's name")],
        ))
        .subcommand(one(
            "fork",
            "Makes another job that goes on from a snapshot of this one; to be started under its name, \
             with topics of its own to write to",
            " JOB [--snapshot SNAPSHOT]",
            vec![required("name", "JOB", "The other job's name: its `job.name`"), flag()],
        ))
}

fn optional(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help)
}

fn required(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    optional(name, value, help).required(true)
}

/// What a command line asks for.
pub(super) fn request(name: &str, of: &ArgMatches) -> StateRequest {
    let text = |key: &str| of.get_one::<String>(key).cloned();
    let named = || text("name").expect("clap requires it");
    match name {
        "ls" => StateRequest::List,
        "show" => StateRequest::Show { snapshot: text("snapshot") },
        "verify" => StateRequest::Verify { snapshot: text("snapshot") },
        "gc" => StateRequest::Collect { dry_run: of.get_flag("dry-run") },
        "savepoint" => StateRequest::Savepoint { name: named(), snapshot: text("snapshot") },
        "drop" => StateRequest::Drop { savepoint: named() },
        "fork" => StateRequest::Fork { job: named(), snapshot: text("snapshot") },
        _ => StateRequest::Export {
            snapshot: text("snapshot"),
            operator: text("operator"),
            key: text("key"),
        },
    }
}
