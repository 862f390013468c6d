//! Asking a running graph to end.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use crate::{BuildError, Ending};

/// A request to stop, shared by a process's threads. Sources look at it whenever they run.
///
/// A stop ends the whole job, on every process: the current epoch becomes the last one, what it
/// holds is published, and the workers return.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Asks for the end. The first call decides how; [`Ending::No`] asks for nothing.
    pub fn ask(&self, ending: Ending) {
        let code = match ending {
            Ending::No => return,
            Ending::Suspend => 1,
            Ending::Drain => 2,
        };
        let _ = self.0.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What was asked.
    pub fn asked(&self) -> Ending {
        match self.0.load(Ordering::Acquire) {
            0 => Ending::No,
            1 => Ending::Suspend,
            _ => Ending::Drain,
        }
    }
}

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

    /// Takes the error.
    pub fn take(&self) -> Option<BuildError> {
        self.slot().take()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<BuildError>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}
