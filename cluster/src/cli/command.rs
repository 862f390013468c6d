//! What can be asked of a graph binary.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::questions::Questions;
use super::{features, help, rejects, replay, state};
use crate::runner::{GraphFormat, GraphSpec, Question};
use crate::settings::Schema;

/// Columns of help at most, however wide the terminal.
const WIDTH_MAX: usize = 100;

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Run,
    Check,
    Graph(GraphFormat),
    Config { defaults: bool },
    Ask(Question),
    Replay(replay::Request),
}

/// Reads a command line without its settings.
pub(crate) fn parse(
    graph: &GraphSpec,
    schema: &Schema,
    args: Vec<OsString>,
) -> Result<(Action, Option<PathBuf>), clap::Error> {
    let matches = command(graph, schema).try_get_matches_from(args);
    let matches = matches.map_err(|error| help::with_setting(error, schema))?;
    let (name, of) = matches.subcommand().expect("clap requires a subcommand");
    let action = match name {
        "run" => Action::Run,
        "check" => Action::Check,
        "graph" => Action::Graph(format(of)),
        "replay" => Action::Replay(replay::Request::of(of)),
        "state" => {
            let (name, of) = of.subcommand().expect("clap requires a subcommand");
            return Ok((Action::Ask(Question::State(state::request(name, of))), file_of(of)));
        }
        "features" => Action::Ask(features::question(of)),
        "rejects" => {
            let (name, of) = of.subcommand().expect("clap requires a subcommand");
            return Ok((Action::Ask(Question::Rejects(rejects::request(name, of))), file_of(of)));
        }
        _ => Action::Config { defaults: of.get_flag("defaults") },
    };
    Ok((action, file_of(of)))
}

fn file_of(of: &ArgMatches) -> Option<PathBuf> {
    of.get_one::<PathBuf>("config").cloned()
}

fn format(of: &ArgMatches) -> GraphFormat {
    match of.get_one::<String>("format").map(String::as_str) {
        Some("json") => GraphFormat::Json,
        _ => GraphFormat::Dot,
    }
}

pub(crate) fn command(graph: &GraphSpec, schema: &Schema) -> Command {
    let version = format!("{} (tideflow {})", graph.version, env!("CARGO_PKG_VERSION"));
    let usage = |action: &str, more: &str| {
        format!("{} {action}{more} [--config FILE] [--SECTION.KEY VALUE]...", graph.name)
    };
    let settings = "Takes the same settings as `run`, explained by `run --help`.";
    let asked = |name| Questions { name, usage: &usage, file, settings };
    let run = Command::new("run").about("Runs the graph until its input ends or a signal stops it");
    let run = help::options(run.arg(file()), schema)
        .after_help(help::exit_codes())
        .after_long_help(help::after(schema));
    let check = Command::new("check")
        .about("Looks at the configuration and at everything the graph needs, and starts nothing");
    let print = Command::new("graph").about("Prints the graph");
    let config = Command::new("config")
        .about("Prints the effective settings as commented TOML, with where each comes from");
    Command::new(graph.name)
        .about(graph.about)
        .version(version)
        .max_term_width(WIDTH_MAX)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .after_help(help::exit_codes())
        .subcommand(run.override_usage(usage("run", "")))
        .subcommand(check.arg(file()).after_help(settings).override_usage(usage("check", "")))
        .subcommand(
            print
                .args([file(), graph_format()])
                .after_help(settings)
                .override_usage(usage("graph", " [--format dot|json]")),
        )
        .subcommand(
            config
                .args([file(), defaults()])
                .after_help(settings)
                .override_usage(usage("config", " [--defaults]")),
        )
        .subcommand(
            features::command()
                .arg(file())
                .after_help(settings)
                .override_usage(usage("features", features::USAGE)),
        )
        .subcommand(replay::help(replay::command().arg(file()), settings).override_usage(usage(
            "replay",
            " --from TIME [--to TIME] [--warm-up SPAN] [--model REF] [--out DIR]",
        )))
        .subcommand(state::command(&asked("state")))
        .subcommand(rejects::command(&asked("rejects")))
}

fn file() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file, TOML")
}

fn graph_format() -> Arg {
    Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(["dot", "json"])
        .default_value("dot")
        .help("How the graph is written")
}

fn defaults() -> Arg {
    Arg::new("defaults")
        .long("defaults")
        .action(ArgAction::SetTrue)
        .help("Print the defaults instead: a file to start from")
}
