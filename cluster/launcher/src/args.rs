//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// Brings a graph onto its hosts over SSH, and keeps it there.
#[derive(Debug, Parser)]
#[command(
    name = "tideflow",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 failed on some host, 2 refused: something must be changed first."
)]
pub struct Args {
    /// What is wanted: hosts, program, settings
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "TIDEFLOW_CLUSTER",
        default_value = "cluster.toml"
    )]
    pub cluster: PathBuf,
    /// Longest time that one step may take on a host, as `90s` or `10m`
    #[arg(long, global = true, value_name = "SPAN", default_value = "3m", value_parser = span)]
    pub deadline: Duration,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows what `up` would change, and changes nothing
    Plan {
        /// Do not have the new program check the broker, store and model on the first host
        #[arg(long)]
        no_check: bool,
    },
    /// Brings the hosts to what the cluster file says, and waits until all are ready
    Up,
    /// Shows each process: where it runs, how far it is, how often it was started again
    Status {
        /// Draw anew every 2 seconds
        #[arg(long, conflicts_with = "json")]
        watch: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Prints the logs of all hosts, merged by time
    Logs(LogArgs),
    /// Stops all processes well: what was read is published, and a snapshot taken
    Stop,
    /// Goes on with another number of processes, on the first hosts of the list
    Rescale {
        /// Processes, one a host
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        processes: u16,
    },
    /// Stops and starts what is there
    Restart,
    /// Goes back to the release before the current one
    Rollback,
    /// Stops, and removes what the launcher put onto the hosts; the job's state stays
    Down,
    /// Looks for what is wrong on each host, with what to do about it
    Doctor,
    /// Makes, replaces and shows the certificates that processes know each other by
    Certs {
        /// What to do with them
        #[command(subcommand)]
        action: CertsAction,
    },
    /// Runs a program and starts it again when it is lost, where there is no systemd
    Supervise(SuperviseArgs),
    /// Prints completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page, of all or of one command
    Man {
        /// The command, as `up`
        of: Option<String>,
    },
    /// Answers one request on standard input; the launcher calls it on a host
    #[command(hide = true)]
    Agent,
}

/// Which lines of the logs.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Go on with what is written from now on
    #[arg(long, short)]
    pub follow: bool,
    /// Of this host only
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Of this process only
    #[arg(long, value_name = "INDEX")]
    pub process: Option<usize>,
    /// Lines since then: a span as `10m`, or a time as 2026-11-28T09:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Lines that contain this text
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Lines of this level and above
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub level: Option<String>,
    /// Lines of each host at most, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    pub lines: usize,
}

/// What is done with certificates.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum CertsAction {
    /// Makes what is missing: the authority, one certificate a host, the job's token
    Make,
    /// Makes new certificates for all hosts; `up` brings them there
    Rotate {
        /// A new authority too; the one before stays trusted until the next rotation
        #[arg(long)]
        ca: bool,
    },
    /// Shows whose they are and when they end
    Show,
}

/// What is supervised.
#[derive(Debug, clap::Args)]
pub struct SuperviseArgs {
    /// Where the lock, the state and the logs are kept; only one program runs in a folder
    #[arg(long, value_name = "FOLDER")]
    pub folder: PathBuf,
    /// A file of variables for the program; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub env: Vec<PathBuf>,
    /// The program's working folder
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub work: PathBuf,
    /// Longest time from a signal to the program's end, in milliseconds; then it is killed
    #[arg(long, value_name = "MS", default_value_t = 15_000)]
    pub stop_timeout_ms: u64,
    /// Wait before the first start after a loss, in milliseconds; it doubles with each that follows soon
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub restart_wait_ms_min: u64,
    /// Longest wait before a start, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub restart_wait_ms_max: u64,
    /// Files that the program may have open at once; 0 leaves the limit as it is
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub open_files: u64,
    /// Leave the terminal's session
    #[arg(long)]
    pub detach: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}

/// The command line as `clap` knows it: for completions, the manual page and tests.
pub fn command() -> clap::Command {
    Args::command()
}

fn span(text: &str) -> Result<Duration, String> {
    let found = crate::clock::span(text).filter(|span| !span.is_zero());
    found.ok_or_else(|| "expected a span as `90s`, `10m` or `2h`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn options_of_all_commands_stand_before_or_behind_the_command() {
        let of = |args: &[&str]| {
            Args::try_parse_from(args.iter().copied()).unwrap_or_else(|e| panic!("{e}"))
        };
        let args = of(&["tideflow", "up", "--cluster", "a.toml", "--deadline", "90s"]);
        assert_eq!((args.cluster.to_str(), args.deadline.as_secs()), (Some("a.toml"), 90));
        assert!(Args::try_parse_from(["tideflow", "rescale", "0"]).is_err());
        assert!(Args::try_parse_from(["tideflow", "up", "--deadline", "0s"]).is_err());
        let args = of(&["tideflow", "supervise", "--folder", "f", "--", "sh", "-c", "exit 3"]);
        let Command::Supervise(supervised) = args.command else { panic!("another command") };
        assert_eq!(supervised.program, ["sh", "-c", "exit 3"]);
    }
}
