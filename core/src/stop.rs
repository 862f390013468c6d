//! Asking a running graph to end.

use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{BuildError, Ending};

/// A request to stop, shared by a process's threads. It wakes the sources, which pass it on.
///
/// A stop ends the whole job, on every process: the current epoch becomes the last one, what it
/// holds is published, and the workers return.
#[derive(Clone, Default)]
pub struct Stop(Arc<Request>);

#[derive(Default)]
struct Request {
    code: AtomicU8,
    wakers: Mutex<Vec<Waker>>,
}

type Waker = Box<dyn Fn() + Send>;

impl Stop {
    /// Asks for the end. The first call decides how; [`Ending::No`] asks for nothing.
    pub fn ask(&self, ending: Ending) {
        let code = match ending {
            Ending::No => return,
            Ending::Suspend => 1,
            Ending::Drain => 2,
        };
        let _ = self.0.code.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.wakers().iter().for_each(|wake| wake());
    }

    /// Has `wake` called at a request, by the thread that makes it. One made before is found by asking.
    pub fn wake_with(&self, wake: impl Fn() + Send + 'static) {
        self.wakers().push(Box::new(wake));
    }

    fn wakers(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked.
    pub fn asked(&self) -> Ending {
        match self.0.code.load(Ordering::Acquire) {
            0 => Ending::No,
            1 => Ending::Suspend,
            _ => Ending::Drain,
        }
    }
}

/// Between two tries of what does not work.
const AGAIN: Duration = Duration::from_secs(1);

/// The first failure that ends the process, shared by its threads.
#[derive(Clone, Debug, Default)]
pub struct Failure(Arc<Mutex<Option<BuildError>>>);

impl Failure {
    /// Ends the run with this error; the first counts. The workers stop where they are: nothing
    /// further is published.
    pub fn set(&self, error: BuildError) {
        self.slot().get_or_insert(error);
    }

    /// Whether the run has failed.
    pub fn is_set(&self) -> bool {
        self.slot().is_some()
    }

    /// Does it again until it works, a second after it did not: what is away for a while is waited for. None:
    /// the run has failed meanwhile.
    pub fn until_it_works<T, E: Display>(
        &self,
        doing: &str,
        act: impl Fn() -> Result<T, E>,
    ) -> Option<T> {
        loop {
            match act() {
                Ok(done) => return Some(done),
                Err(error) => tracing::warn!(%error, "{doing} did not work, and is tried again"),
            }
            if self.is_set() {
                return None;
            }
            thread::park_timeout(AGAIN);
        }
    }

    /// Takes the error.
    pub fn take(&self) -> Option<BuildError> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<BuildError>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
