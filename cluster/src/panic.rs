//! A panic in any thread ends the process: its siblings would wait for it for ever.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::exit::Exit;

static PANICKING: AtomicBool = AtomicBool::new(false);

/// From now on a panic in any thread is written to standard error and to the logs, with the name
/// of the operator at work in that thread, and ends the process at once with [`Exit::Panicked`].
/// No other thread unwinds or runs destructors.
pub fn install(operator: fn() -> Option<&'static str>) {
    std::panic::set_hook(Box::new(move |panic| {
        if PANICKING.swap(true, Ordering::SeqCst) {
            // Another thread panicked first and is ending the process: its report is the cause.
            loop {
                thread::park();
            }
        }
        let report = report(panic, operator());
        // Not `eprintln!`, which panics when standard error is closed.
        let _ = writeln!(std::io::stderr(), "tideflow: {report}");
        tracing::error!(operator = operator().unwrap_or_default(), "{report}");
        // Slow when it is asked for, so it comes last.
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            let _ = writeln!(std::io::stderr(), "{trace}");
        }
        Exit::Panicked.now()
    }));
}

fn report(panic: &PanicHookInfo<'_>, operator: Option<&str>) -> String {
    let payload = panic.payload();
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "a panic without a message",
    };
    let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line()));
    let operator = operator.map(|name| format!(" in operator `{name}`")).unwrap_or_default();
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed");
    format!("panic{operator} (thread {name}): {message}{}", place.unwrap_or_default())
}
