//! Finding out that another start of the job has taken over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tideflow_core::{BuildError, ErrorKind, Failure};

use crate::{Generation, Store};

/// Asks the store now and then whether a later generation has been taken, and ends the run when one has.
///
/// A process that publishes finds out by its next transaction; this is for one that has nothing to say.
/// A store that does not answer ends nothing: the fencing of transactions does not rest on it. Dropped, it
/// stops.
pub struct GenerationWatch {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A run whose job has been started again elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("generation {by} of the job has taken over from generation {own}, this one")]
pub struct Superseded {
    /// Ours.
    pub own: Generation,
    /// Theirs.
    pub by: Generation,
}

impl GenerationWatch {
    /// Watches for generations after `own`, asking each time that `every` has gone by.
    ///
    /// # Panics
    /// When the operating system refuses a thread.
    pub fn start(store: Arc<Store>, own: Generation, every: Duration, failure: Failure) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let watch = move || {
            while !told.load(Ordering::Acquire) {
                thread::park_timeout(every);
                match store.generation_since(own) {
                    Ok(by) if by > own => {
                        let source = Box::new(Superseded { own, by });
                        let (operator, kind) = ("generation".to_string(), ErrorKind::Superseded);
                        return failure.set(BuildError { operator, kind, source });
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "cannot look for a later generation"),
                }
            }
        };
        let thread = thread::Builder::new().name("generation".into()).spawn(watch);
        GenerationWatch { over, thread: Some(thread.expect("a thread can be had")) }
    }
}

impl Drop for GenerationWatch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join(); // a panic has ended the process, or been told
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn store(folder: &tempfile::TempDir) -> Arc<Store> {
        let place = folder.path().to_str().expect("plain");
        Arc::new(Store::open(place, "fleet").expect("it is there"))
    }

    const EVERY: Duration = Duration::from_millis(5);

    fn wait_for(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited a minute for {what}");
            thread::park_timeout(EVERY);
        }
    }

    #[test]
    fn an_idle_process_finds_out_that_it_is_superseded() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let (store, failure) = (store(&folder), Failure::default());
        let own = store.take_generation().expect("it works");
        let watch = GenerationWatch::start(store.clone(), own, EVERY, failure.clone());
        assert!(!failure.is_set());
        store.take_generation().expect("it works");
        wait_for("the watch", || failure.is_set());
        let told = failure.take().expect("it is set").to_string();
        assert_eq!(
            told,
            "`generation`: generation 2 of the job has taken over from generation 1, this one"
        );
        drop(watch);
    }

    #[test]
    fn fault_a_store_that_is_away_for_a_while_ends_nothing() {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let (store, failure) = (store(&folder), Failure::default());
        let own = store.take_generation().expect("it works");
        let (here, away) = (folder.path().join("fleet"), folder.path().join("away"));
        std::fs::rename(&here, &away).expect("the folder is ours");
        // A file in its place: what is asked for cannot be listed.
        std::fs::write(&here, "").expect("the folder is ours");
        assert!(store.generation().is_err());
        let _watch = GenerationWatch::start(store.clone(), own, EVERY, failure.clone());
        let since = Instant::now();
        wait_for("a few questions", || since.elapsed() > 10 * EVERY);
        assert!(!failure.is_set());
        std::fs::remove_file(&here).expect("the folder is ours");
        std::fs::rename(&away, &here).expect("the folder is ours");
        store.take_generation().expect("it works");
        wait_for("the watch", || failure.is_set());
    }
}
