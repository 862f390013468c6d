//! SIGINT and SIGTERM: the first stops the graph, the second ends the process.

use std::ffi::c_int;
use std::io;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use tideflow_core::{Ending, Stop};

use crate::exit::Exit;

/// The watch over a run's end. Dropped, it knows that the run is over: a signal that comes later
/// ends the process at once.
pub struct StopWatch {
    over: Arc<Over>,
}

/// Why a process is left before its run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The time to stop is over.
    TooLate,
    /// A second signal came.
    AskedTwice,
}

type Words = Arc<dyn Fn(Leaving) -> String + Send + Sync>;

#[derive(Default)]
struct Over {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Over {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.flag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the run is over, or until `deadline`; says which.
    fn before(&self, deadline: Instant) -> bool {
        let mut over = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if *over || left.is_zero() {
                return *over;
            }
            let waited = self.changed.wait_timeout(over, left);
            over = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl StopWatch {
    /// Watches this process's signals from now on. The first asks `stop` for `ending`; from then
    /// the run has `timeout` (`run.stop_timeout_ms`) to end, or the process says so and ends with
    /// [`Exit::Failed`]. A second ends it at once with [`Exit::SecondSignal`].
    ///
    /// # Errors
    /// When the operating system refuses a handler or a thread.
    pub fn start(stop: Stop, ending: Ending, timeout: Duration) -> io::Result<StopWatch> {
        StopWatch::with_words(stop, ending, timeout, |why| match why {
            Leaving::TooLate => {
                " (`run.stop_timeout_ms`), leaving with the last epochs unpublished".to_string()
            }
            Leaving::AskedTwice => String::new(),
        })
    }

    /// [`StopWatch::start`] for a program without that option. Where it leaves before the run is
    /// over, the line that says so ends with these words: behind `not stopped after N ms`, or behind
    /// `while stopping, leaving at once`.
    ///
    /// # Errors
    /// When the operating system refuses a handler or a thread.
    pub fn with_words(
        stop: Stop,
        ending: Ending,
        timeout: Duration,
        words: impl Fn(Leaving) -> String + Send + Sync + 'static,
    ) -> io::Result<StopWatch> {
        let words: Words = Arc::new(words);
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let over = Arc::new(Over::default());
        let watched = Arc::clone(&over);
        thread::Builder::new().name("signals".into()).spawn(move || {
            let mut received = signals.forever();
            if let Some(signal) = received.next() {
                if *watched.lock() {
                    leave(signal, &words);
                }
                first(signal, &stop, ending, timeout);
                watch(watched, timeout, words.clone());
            }
            if let Some(signal) = received.next() {
                leave(signal, &words);
            }
        })?;
        Ok(StopWatch { over })
    }
}

impl Drop for StopWatch {
    fn drop(&mut self) {
        *self.over.lock() = true;
        self.over.changed.notify_all();
    }
}

fn first(signal: c_int, stop: &Stop, ending: Ending, timeout: Duration) {
    let (signal, timeout_ms) = (name(signal), timeout.as_millis() as u64);
    tracing::info!(signal, timeout_ms, "stopping, a second signal leaves at once");
    stop.ask(ending);
}

fn leave(signal: c_int, words: &Words) -> ! {
    let (signal, words) = (name(signal), words(Leaving::AskedTwice));
    // Standard error itself: the logs may be set to show nothing.
    let _ = writeln!(io::stderr(), "tideflow: {signal} while stopping, leaving at once{words}");
    Exit::SecondSignal.now()
}

/// Ends the process when the run is not over in time.
fn watch(over: Arc<Over>, timeout: Duration, words: Words) {
    let deadline = Instant::now() + timeout;
    let watch = move || {
        if !over.before(deadline) {
            let (ms, words) = (timeout.as_millis(), words(Leaving::TooLate));
            let _ = writeln!(io::stderr(), "tideflow: not stopped after {ms} ms{words}");
            Exit::Failed.now()
        }
    };
    let spawned = thread::Builder::new().name("stop-deadline".into()).spawn(watch);
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to watch the deadline of the stop");
    }
}

fn name(signal: c_int) -> &'static str {
    signal_name(signal).unwrap_or("signal")
}
