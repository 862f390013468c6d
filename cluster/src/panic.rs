//! A panic in any thread ends the process: its siblings would wait for it for ever.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::exit::Exit;
use crate::mesh;

static ENDING: AtomicBool = AtomicBool::new(false);

/// From now on a panic in any thread is written to standard error and to the logs, with the name
/// of the operator at work in that thread, and ends the process at once with [`Exit::Panicked`].
/// No other thread unwinds or runs destructors.
pub fn install(operator: fn() -> Option<&'static str>) {
    std::panic::set_hook(Box::new(move |panic| {
        if let Some((exit, report)) = lost_process(panic) {
            end_with(exit, &report);
        }
        say_once();
        let report = report(panic, operator());
        // Not `eprintln!`, which panics when standard error is closed.
        let _ = writeln!(std::io::stderr(), "tideflow: {report}");
        tracing::error!(operator = operator().unwrap_or_default(), "{report}");
        mesh::say(&report);
        // Slow when it is asked for, so it comes last.
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = writeln!(std::io::stderr(), "{trace}");
        }
        Exit::Panicked.now()
    }));
}

/// Returns to the first that has something to say about the end of the process. What others would say came of that.
fn say_once() {
    if ENDING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
}

/// Ends the process at once with these last words, to people, logs and the other processes.
pub(crate) fn end_with(exit: Exit, report: &str) -> ! {
    say_once();
    let _ = writeln!(std::io::stderr(), "tideflow: {report}");
    tracing::error!("{report}");
    mesh::say(report);
    exit.now()
}

/// The process has failed and is about to end: what breaks from now on came of that.
pub(crate) fn is_ending() {
    ENDING.store(true, Ordering::SeqCst);
}

/// Timely panics when it cannot talk to other processes: in words that it promises to keep when one is
/// gone, somewhere in its own code when what arrives makes no sense. Neither is an error in this
/// program.
fn lost_process(panic: &PanicHookInfo<'_>) -> Option<(Exit, String)> {
    let message = message(panic);
    if let Some(cause) = message.strip_prefix("timely communication error: ") {
        let current = thread::current();
        let report = mesh::lost_in_timely(current.name().unwrap_or_default(), cause);
        return Some((Exit::PeerLost, report));
    }
    let timely = panic.location().is_some_and(|l| l.file().contains("timely_communication"));
    timely.then(|| {
        let report = format!("the processes of the job do not understand each other ({message})");
        (Exit::Failed, report)
    })
}

fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    panic.payload_as_str().unwrap_or("a panic without a message")
}

fn report(panic: &PanicHookInfo<'_>, operator: Option<&str>) -> String {
    let message = message(panic);
    let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line()));
    let operator = operator.map(|name| format!(" in operator `{name}`")).unwrap_or_default();
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed");
    format!("panic{operator} (thread {name}): {message}{}", place.unwrap_or_default())
}
