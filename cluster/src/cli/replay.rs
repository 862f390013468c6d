//! A run over the past with another model: what it is asked, and the process around it.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use tideflow_core::{Backtest, Ending, EventTime, Stop};

use super::help;
use super::shell::fail;
use crate::exit::Exit;
use crate::logs;
use crate::runner::{GraphSpec, Runner, Setup};
use crate::signals::StopWatch;

/// What `replay` is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    from: EventTime,
    to: Option<EventTime>,
    warm_up: Duration,
    model: Option<String>,
    out: PathBuf,
}

/// The command, without the arguments that others have too.
pub(super) fn command() -> Command {
    Command::new("replay")
        .about("Runs the graph over a part of the past, beside the job, and says what is other than published")
        .long_about(
            "Runs the graph over the records of a part of the past, beside the job and without touching it: it \
             publishes nothing, keeps no state and commits no offsets. What it would publish goes to files in \
             DIR/outputs. Then it compares that with what was published for the same time, and says what is \
             other: on standard output, and in DIR/report.json.",
        )
        .arg(time("from").required(true).help(
            "The first event time that counts: RFC 3339 as in 2026-11-20T00:00:00Z, or milliseconds since 1970",
        ))
        .arg(time("to").help("The first that does not; without it, all that is there now counts"))
        .arg(
            Arg::new("warm-up").long("warm-up").value_name("SPAN").default_value("1h").value_parser(span).help(
                "How long before --from reading begins: until then state, as that of alarms, is built up, and \
                 nothing is compared",
            ),
        )
        .arg(Arg::new("model").long("model").value_name("REF").help(
            "The model in place of the configured one, and of a candidate beside it: NAME/VERSION of the registry, \
             or what its setting takes",
        ))
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "A folder for outputs and report: a new one, or an empty one; `replay-FROM` or \
                     `replay-FROM-MODEL` below the current folder if it is not given",
                ),
        )
}

/// An option that takes an event time.
pub(super) fn time(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("TIME").value_parser(value_parser!(EventTime))
}

/// A span of time as people write it: a whole number and a unit.
fn span(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let read = |(unit, ms): (&str, u64)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(ms).map(Duration::from_millis)
    };
    let found = units.into_iter().find_map(read);
    found
        .ok_or_else(|| format!("expected a span such as `0s`, `90m`, `6h` or `1d`, found `{text}`"))
}

pub(super) fn help(command: Command, settings: &str) -> Command {
    command.after_help(format!("{settings} Pages are not served.\n\n{}", help::exit_codes()))
}

impl Request {
    /// Of a command line.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let time = |name| matches.get_one::<EventTime>(name).copied();
        let model = matches.get_one::<String>("model").cloned();
        let warm_up = *matches.get_one::<Duration>("warm-up").expect("it has a default");
        let from = time("from").expect("clap requires it");
        let given = matches.get_one::<PathBuf>("out").cloned();
        let out = given.unwrap_or_else(|| folder(from, model.as_deref()));
        Request { from, to: time("to"), warm_up, model, out }
    }

    /// The settings that it stands for.
    pub(super) fn flags(&self, graph: &GraphSpec) -> Result<Vec<(String, String)>, Unusable> {
        if let Some(to) = self.to.filter(|to| *to <= self.from) {
            return Err(Unusable::NoTime { from: self.from, to });
        }
        let Some(model) = &self.model else { return Ok(Vec::new()) };
        let meant = graph.model.ok_or(Unusable::NoModel { graph: graph.name })?;
        let settings = meant(model).into_iter();
        Ok(settings.map(|(setting, value)| (setting.to_string(), value)).collect())
    }

    /// The part of the past, with its folder made.
    fn backtest(&self) -> Result<Backtest, Unusable> {
        let io = |source| Unusable::Folder { folder: self.out.clone(), source };
        fs::create_dir_all(&self.out).map_err(io)?;
        if let Some(found) = fs::read_dir(&self.out).map_err(io)?.next() {
            let found = found.map_err(io)?.file_name().to_string_lossy().into_owned();
            return Err(Unusable::NotEmpty { folder: self.out.clone(), found });
        }
        let to = self.to.unwrap_or(EventTime::MAX);
        Ok(Backtest::new(self.from, to, &self.out).warmed_up(self.warm_up))
    }
}

/// The folder for what comes of a replay, where none is given.
fn folder(from: EventTime, model: Option<&str>) -> PathBuf {
    let mut name = format!("replay-{}", from.date());
    if let Some(model) = model {
        name = format!("{name}-{}", model.trim_matches('/'));
    }
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    name.replace(':', "").chars().map(plain).collect::<String>().into()
}

/// Why a replay cannot be what was asked for.
#[derive(Debug)]
pub(super) enum Unusable {
    NoTime { from: EventTime, to: EventTime },
    NoModel { graph: &'static str },
    NotEmpty { folder: PathBuf, found: String },
    Folder { folder: PathBuf, source: io::Error },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |folder: &Path| folder.display().to_string();
        match self {
            Unusable::NoTime { from, to } => {
                write!(
                    f,
                    "`--to`: expected a time after `--from`, {}, found {}",
                    from.date(),
                    to.date()
                )
            }
            Unusable::NoModel { graph } => {
                write!(f, "`--model`: expected a graph with a model, and `{graph}` has none")
            }
            Unusable::NotEmpty { folder, found } => {
                let folder = shown(folder);
                write!(
                    f,
                    "`--out`: expected a new or an empty folder, found `{found}` in `{folder}`"
                )
            }
            Unusable::Folder { folder, source } => {
                write!(f, "`--out`: making folder `{}`: {source}", shown(folder))
            }
        }
    }
}

/// Runs the graph over the past, and prints what came of it.
pub(super) fn run<R: Runner>(
    graph: &GraphSpec,
    runner: &R,
    setup: &Setup<R::Config>,
    request: &Request,
) -> Exit {
    if let Err(error) = logs::install(&setup.framework.log) {
        return fail(error.kind().into(), error);
    }
    let backtest = match request.backtest() {
        Ok(backtest) => backtest,
        Err(unusable) => return fail(Exit::Refused, unusable),
    };
    tracing::info!(
        graph = graph.name,
        from = backtest.from.date(),
        to = backtest.to.date(),
        "replaying"
    );
    let (stop, timeout) = (Stop::default(), setup.framework.run.stop_timeout());
    let words = |_| String::new();
    let watch = match StopWatch::with_words(stop.clone(), Ending::Suspend, timeout, words) {
        Ok(watch) => watch,
        Err(error) => return fail(Exit::Failed, format!("watching signals: {error}")),
    };
    let outcome = runner.replay(setup, &backtest, &stop);
    drop(watch);
    match outcome {
        Ok(None) => {
            tracing::info!("stopped: outputs are not complete, and nothing is compared");
            Exit::Done
        }
        Ok(Some(report)) => match io::stdout().lock().write_all(report.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                fail(Exit::Failed, format!("writing to standard output: {error}"))
            }
            _ => Exit::Done,
        },
        Err(failure) => fail(failure.kind.into(), failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_given_is_named_after_what_is_asked() {
        let from = EventTime(1_763_596_800_000);
        let named = |model| folder(from, model).display().to_string();
        assert_eq!(named(None), "replay-2025-11-20T000000Z");
        assert_eq!(named(Some("health/8")), "replay-2025-11-20T000000Z-health-8");
        assert_eq!(named(Some("../a b/")), "replay-2025-11-20T000000Z-..-a-b");
    }

    #[test]
    fn spans_are_numbers_with_a_unit() {
        for (text, ms) in [("0s", 0), ("5ms", 5), ("90m", 5_400_000), ("6h", 21_600_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(ms)));
        }
        for text in
            ["", "1", "h", "-1h", "1.5h", "1 h", "99999999999999999999d", "999999999999999d"]
        {
            let told = span(text).expect_err("it is none");
            assert!(told.ends_with(&format!("found `{text}`")), "{told}");
        }
    }
}
