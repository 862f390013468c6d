//! The process around a graph: from `main`'s arguments to its exit code.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use tideflow_core::Stop;

use super::command::{Action, parse};
use super::flags::split;
use super::replay;
use crate::exit::Exit;
use crate::framework::{FRAMEWORK_DEFAULTS, FrameworkConfig};
use crate::http::{self, HttpError, HttpServer};
use crate::runner::{GraphSpec, Question, RunFailure, Runner, Setup};
use crate::settings::{Inputs, Problem, Refused, Schema, Settings};
use crate::signals::StopWatch;
use crate::{logs, panic};

/// The `main` of a graph binary, with this process's arguments and environment.
pub fn main_with<R: Runner>(graph: &GraphSpec, runner: &R) -> ExitCode {
    panic::install(R::current_operator);
    let exit = main_from(graph, runner, std::env::args_os(), Inputs::of_process().env);
    let _ = std::io::stdout().flush();
    // Threads of native clients may still be ending: what a return from `main` has C libraries tear
    // down, they may be using.
    exit.now()
}

/// The same with arguments (program name first) and environment given, and without a panic hook.
pub fn main_from<R: Runner>(
    graph: &GraphSpec,
    runner: &R,
    args: impl IntoIterator<Item = OsString>,
    env: Vec<(OsString, OsString)>,
) -> Exit {
    let files: Vec<_> = [FRAMEWORK_DEFAULTS].iter().chain(graph.defaults).copied().collect();
    let schema =
        Schema::read(&files).unwrap_or_else(|e| panic!("the program's defaults are broken: {e}"));
    let split = split(args);
    let (action, file) = match parse(graph, &schema, split.rest) {
        Ok(asked) => asked,
        Err(error) => return say(&error),
    };
    if action == (Action::Config { defaults: true }) {
        return print(&schema.toml());
    }
    let mut flags = split.flags;
    if let Action::Replay(request) = &action {
        match request.flags(graph) {
            Ok(meant) => flags.extend(meant),
            Err(unusable) => return fail(Exit::Refused, unusable),
        }
    }
    let inputs = Inputs { file, env, flags };
    let setup = match set_up(runner, schema, &inputs, split.problems, &action) {
        Ok(setup) => setup,
        Err(refused) => return fail(Exit::Refused, refused),
    };
    match action {
        Action::Run => run(graph, runner, &setup),
        Action::Check => check(runner, &setup),
        Action::Graph(format) => match runner.describe(&setup, format) {
            Ok(text) => print(&text),
            Err(failure) => fail(failure.kind.into(), failure),
        },
        Action::Config { .. } => print(&setup.settings.toml()),
        Action::Ask(question) => answer(&question, runner, &setup),
        Action::Replay(request) => replay::run(graph, runner, &setup, &request),
    }
}

/// Prints what `clap` has to say: help and version come this way too.
fn say(error: &clap::Error) -> Exit {
    let _ = error.print();
    let newline = if error.render().to_string().ends_with('\n') { "" } else { "\n" };
    if error.use_stderr() {
        let _ = write!(io::stderr(), "{newline}");
        return Exit::Refused;
    }
    let _ = write!(io::stdout(), "{newline}");
    Exit::Done
}

/// Reads and checks the configuration; all that is wrong comes in one error.
fn set_up<R: Runner>(
    runner: &R,
    schema: Schema,
    inputs: &Inputs,
    flags: Vec<Problem>,
    action: &Action,
) -> Result<Setup<R::Config>, Refused> {
    let (settings, mut problems) = Settings::read(schema, inputs);
    problems.extend(flags);
    let mut keep = |refused: Refused| problems.extend(refused.0);
    let framework = FrameworkConfig::read(&settings).map_err(&mut keep).ok();
    let config = settings.all::<R::Config>().map_err(&mut keep).ok();
    let starts = matches!(action, Action::Run | Action::Check);
    let hosts = match &framework {
        Some(framework) if starts => framework.hosts(&settings).map_err(&mut keep).ok(),
        _ => None,
    };
    let used = starts || matches!(action, Action::Ask(_) | Action::Replay(_));
    if let (Some(config), true) = (&config, used) {
        problems.extend(runner.validate(&settings, config));
    }
    match (framework, config) {
        (Some(framework), Some(config)) if problems.is_empty() => {
            Ok(Setup { settings, framework, config, hosts: hosts.unwrap_or_default() })
        }
        _ => Err(Refused(problems)),
    }
}

fn run<R: Runner>(graph: &GraphSpec, runner: &R, setup: &Setup<R::Config>) -> Exit {
    if let Err(error) = logs::install(&setup.framework.log) {
        return fail(error.kind().into(), error);
    }
    let set = setup.settings.set_count();
    tracing::info!(graph = graph.name, version = graph.version, settings = set, "starting");
    let stop = Stop::default();
    let on_stop = setup.framework.run.on_stop;
    let timeout = setup.framework.run.stop_timeout();
    let watch = match StopWatch::start(stop.clone(), on_stop.into(), timeout) {
        Ok(watch) => watch,
        Err(error) => return fail(Exit::Failed, format!("watching signals: {error}")),
    };
    let _server = match serve(runner, setup) {
        Ok(server) => server,
        Err((exit, refused)) => return fail(exit, refused),
    };
    let outcome = runner.run(setup, &stop);
    drop(watch);
    match outcome {
        Ok(()) => {
            tracing::info!("stopped");
            Exit::Done
        }
        Err(RunFailure { kind, message }) if tracing::enabled!(tracing::Level::ERROR) => {
            tracing::error!("{message}");
            kind.into()
        }
        Err(failure) => fail(failure.kind.into(), failure),
    }
}

fn serve<R: Runner>(
    runner: &R,
    setup: &Setup<R::Config>,
) -> Result<Option<HttpServer>, (Exit, Refused)> {
    let config = &setup.framework.http;
    let refused = |error: HttpError| {
        // An earlier start that is being stopped may still have the port for a moment.
        let exit = match error {
            HttpError::Busy { .. } => Exit::Unreachable,
            _ => Exit::Refused,
        };
        (exit, Refused(vec![setup.settings.refuse("http.bind", error)]))
    };
    let Some(address) = http::address(config).map_err(refused)? else { return Ok(None) };
    let server = HttpServer::start(address, config.token.clone(), runner.pages(setup));
    let server = server.map_err(refused)?;
    tracing::info!(address = %server.address(), "pages: /metrics, /healthz, /readyz");
    Ok(Some(server))
}

fn check<R: Runner>(runner: &R, setup: &Setup<R::Config>) -> Exit {
    let findings = runner.check(setup);
    let mut text =
        format!("ok    configuration: {} set, the rest by default\n", setup.settings.set_count());
    let mut exit = Exit::Done;
    for finding in findings {
        let what = finding.what;
        match finding.outcome {
            Ok(found) => text += &format!("ok    {what}: {found}\n"),
            Err(failure) => {
                // A message may begin with what it is about.
                let message = failure.message.strip_prefix(&*what).unwrap_or(&failure.message);
                let message = message.strip_prefix(':').unwrap_or(message).trim_start();
                text += &format!("FAIL  {what}: {message}\n");
                exit = worse(exit, failure.kind.into());
            }
        }
    }
    let printed = print(&text);
    if exit == Exit::Done { printed } else { exit }
}

fn answer<R: Runner>(question: &Question, runner: &R, setup: &Setup<R::Config>) -> Exit {
    // What takes a while says how it goes.
    if matches!(question, Question::Features { .. })
        && let Err(error) = logs::install(&setup.framework.log)
    {
        return fail(error.kind().into(), error);
    }
    let mut out = Watched { out: BufWriter::new(io::stdout().lock()), left: false };
    let answered = runner.answer(setup, question, &mut out);
    let flushed = out.flush();
    match answered {
        // A reader that has seen enough is no failure.
        _ if out.left => Exit::Done,
        Err(failure) => fail(failure.kind.into(), failure),
        Ok(()) => match flushed {
            Ok(()) => Exit::Done,
            Err(error) => fail(Exit::Failed, format!("writing to standard output: {error}")),
        },
    }
}

/// An output that takes note when its reader has gone.
struct Watched<W> {
    out: W,
    left: bool,
}

impl<W: Write> Watched<W> {
    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        self.left |= done.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
        done
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.out.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.out.flush();
        self.note(done)
    }
}

/// What a person must mend first: the configuration, then what is away, then the rest.
fn worse(a: Exit, b: Exit) -> Exit {
    let order = [Exit::Refused, Exit::Unreachable, Exit::Failed];
    order.into_iter().find(|exit| [a, b].contains(exit)).unwrap_or(a)
}

/// Prints to standard output. A reader that has seen enough is no failure.
fn print(text: &str) -> Exit {
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match write!(io::stdout().lock(), "{text}{newline}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(Exit::Failed, format!("writing to standard output: {error}"))
        }
        _ => Exit::Done,
    }
}

pub(super) fn fail(exit: Exit, error: impl std::fmt::Display) -> Exit {
    let _ = writeln!(io::stderr(), "tideflow: {error}");
    exit
}
