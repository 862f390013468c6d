//! The workers of a run, and how they reach those of other processes.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::zero_copy::stream::Stream;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::{CommunicationConfig, Config, WorkerConfig};

/// The workers of a run: threads of this process, alone or connected with those of others.
pub struct Workers {
    network: Network,
    pub(crate) worker: WorkerConfig,
}

enum Network {
    Timely(CommunicationConfig),
    Connected(Built),
}

/// What timely starts workers with: one builder each, and what must live as long as they do.
pub type Built = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

impl Workers {
    /// So many threads of this process, number `process` of the job, and those of the others at the far ends of
    /// `sockets`: one for each process in the order of their indices, none for this one. All processes have the same
    /// number of threads.
    ///
    /// # Errors
    /// When a socket cannot be used, or the operating system refuses a thread.
    pub fn connected<S: Stream + 'static>(
        threads: usize,
        process: usize,
        sockets: Vec<Option<S>>,
    ) -> io::Result<Workers> {
        let hooks = timely::communication::Hooks::default();
        let own = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), None);
        let (built, guard) =
            initialize_networking_from_sockets(own, sockets, process, threads, hooks)?;
        let built = built.into_iter().map(AllocatorBuilder::Tcp).collect();
        let network = Network::Connected((built, Box::new(guard)));
        Ok(Workers { network, worker: WorkerConfig::default() })
    }

    /// Whether no other process has a part in the run.
    pub(crate) fn are_alone(&self) -> bool {
        let Network::Timely(config) = &self.network else { return false };
        !matches!(config, CommunicationConfig::Cluster { .. })
    }

    /// What timely starts them with, for [`timely::execute::execute_from`].
    ///
    /// # Errors
    /// When the operating system refuses something.
    pub fn build(self) -> Result<Built, String> {
        match self.network {
            Network::Timely(config) => config.try_build(),
            Network::Connected(built) => Ok(built),
        }
    }
}

impl From<Config> for Workers {
    fn from(config: Config) -> Workers {
        Workers { network: Network::Timely(config.communication), worker: config.worker }
    }
}

/// How often each worker of a process has gone round: one that hangs does so no more.
#[derive(Clone, Default)]
pub struct Steps(Arc<Mutex<Vec<Arc<Counter>>>>);

struct Counter {
    worker: usize,
    steps: AtomicU64,
    over: AtomicBool,
}

impl Steps {
    /// Each worker that runs its graph, by its index in the job, and how often it has gone round.
    pub fn counts(&self) -> Vec<(usize, u64)> {
        let running = |counter: &&Arc<Counter>| !counter.over.load(Ordering::Acquire);
        let count =
            |counter: &Arc<Counter>| (counter.worker, counter.steps.load(Ordering::Relaxed));
        self.counters().iter().filter(running).map(count).collect()
    }

    /// Counts for a worker whose graph is built, until it is dropped.
    pub(crate) fn of(&self, worker: usize) -> Stepping {
        let (steps, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let counter = Arc::new(Counter { worker, steps, over });
        self.counters().push(Arc::clone(&counter));
        Stepping(counter)
    }

    fn counters(&self) -> MutexGuard<'_, Vec<Arc<Counter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that goes round.
pub(crate) struct Stepping(Arc<Counter>);

impl Stepping {
    pub fn step(&self) {
        self.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Stepping {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}
