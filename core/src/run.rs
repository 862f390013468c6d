//! Building a graph on timely workers and stepping it until it ends.

use std::sync::Mutex;
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::worker::Worker;

use crate::flow::{Flow, Job, Mode};
use crate::{BindingLog, BuildError, Plan, RecentBindings};

/// A run that ended before its input did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A part of the graph could not be built, not be started, or not go on.
    #[error(transparent)]
    Failed(BuildError),
    /// The workers could not be started or connected.
    #[error("cannot start the workers: {0}")]
    Start(String),
}

/// Builds the graph to look at it: nothing is started.
///
/// # Errors
/// Those of the graph.
pub fn plan(build: impl FnOnce(&Flow<'_>) -> Result<(), BuildError>) -> Result<Plan, BuildError> {
    let worker = Allocator::Thread(Thread::default());
    let mut worker = Worker::new(WorkerConfig::default(), worker, None);
    worker.dataflow(|scope| {
        let flow = Flow::new(scope, Job::default(), Mode::Plan);
        let built = build(&flow);
        let plan = flow.finish(Box::new(RecentBindings::new(1)));
        built.map(|()| plan)
    })
}

/// Builds the graph on every worker of this process and runs it until its sources end or it is asked
/// to stop. Worker 0's bindings go to `log`.
///
/// `each_worker` is called on every worker's thread before it starts, with the worker's index.
///
/// # Errors
/// When the workers cannot start, or the graph cannot be built on one of them.
pub fn execute(
    config: timely::Config,
    job: &Job,
    log: Box<dyn BindingLog>,
    each_worker: impl Fn(usize) + Send + Sync + 'static,
    build: impl Fn(&Flow<'_>) -> Result<(), BuildError> + Send + Sync + 'static,
) -> Result<(), RunError> {
    let (failure, log) = (job.failure.clone(), Mutex::new(Some(log)));
    let job = job.clone();
    let guards = timely::execute(config, move |worker| {
        each_worker(worker.index());
        let log = (worker.index() == 0).then(|| log.lock().expect("taken once").take()).flatten();
        let log = log.unwrap_or_else(|| Box::new(RecentBindings::new(1)));
        worker.dataflow(|scope| {
            let flow = Flow::new(scope, job.clone(), Mode::Run);
            if let Err(error) = build(&flow) {
                job.failure.set(error);
            }
            flow.finish(log);
        });
        // The park is bounded, so that a failure elsewhere in the process is seen.
        while !job.failure.is_set() && worker.step_or_park(Some(Duration::from_millis(100))) {}
        if job.failure.is_set() {
            worker.installed_dataflows().into_iter().for_each(|d| worker.drop_dataflow(d));
        }
    })
    .map_err(RunError::Start)?;
    for result in guards.join() {
        result.map_err(RunError::Start)?;
    }
    failure.take().map_or(Ok(()), |error| Err(RunError::Failed(error)))
}
