//! Building a graph on timely workers and stepping it until it ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Broadcast;
use timely::execute::execute_from;
use timely::worker::Worker;

use crate::flow::{Flow, Job, Mode};
use crate::{BuildError, Durability, Plan, RecentBindings, Recovered, Workers};

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
    /// A worker panicked, in a program whose panics do not end the process.
    #[error("a worker panicked")]
    Panicked,
}

/// Builds the graph to look at it: nothing is started.
///
/// # Errors
/// Those of the graph.
pub fn plan(build: impl FnOnce(&Flow<'_>) -> Result<(), BuildError>) -> Result<Plan, BuildError> {
    plan_of(&Job::default(), build)
}

/// [`plan`] of a run of this job: where it publishes nothing, without what only a sink that does needs.
///
/// # Errors
/// Those of the graph.
pub fn plan_of(
    job: &Job,
    build: impl FnOnce(&Flow<'_>) -> Result<(), BuildError>,
) -> Result<Plan, BuildError> {
    let worker = Allocator::Thread(Thread::default());
    let mut worker = Worker::new(WorkerConfig::default(), worker, None);
    worker.dataflow(|scope| {
        let flow = Flow::new(scope, job.clone(), Mode::Plan, Rc::default());
        let built = build(&flow);
        let plan = flow.finish(Box::new(RecentBindings::new(1)), 0);
        built.map(|()| plan)
    })
}

/// Builds the graph on every worker of this process and runs it until its sources end or it is asked
/// to stop. `durability` says where it goes on, and where it leaves what the next start needs.
///
/// `each_worker` is called on every worker's thread before it starts, with the worker's index.
///
/// In a job of several processes the workers of a failed one stay where they are, connected: if they
/// said goodbye, the others would wait for them for ever. The caller must end the process.
///
/// # Errors
/// When the workers cannot start, the graph cannot be built on one of them, or a part of it fails. A
/// panic of one worker leaves the others waiting for it, unless a hook ends the process.
pub fn execute(
    workers: impl Into<Workers>,
    job: &Job,
    durability: impl Durability,
    each_worker: impl Fn(usize) + Send + Sync + 'static,
    build: impl Fn(&Flow<'_>) -> Result<(), BuildError> + Send + Sync + 'static,
) -> Result<(), RunError> {
    let failure = job.failure.clone();
    let job = job.clone();
    let durability = Arc::new(durability);
    let judge = durability.clone();
    let outcome = move || match failure.take() {
        None => Ok(()),
        Some(error) => Err(RunError::Failed(judge.reason(error))),
    };
    let workers = workers.into();
    let (alone, config) = (workers.are_alone(), workers.worker.clone());
    let (ended, ends) = channel();
    let (allocators, mesh) = workers.build().map_err(RunError::Start)?;
    let guards = execute_from(allocators, mesh, config, move |worker| {
        each_worker(worker.index());
        if let Some(Recovered { resume, notes }) = recover(worker, &job, &durability) {
            worker.dataflow(|scope| {
                let flow = Flow::new(scope, job.clone(), Mode::Run, Rc::new(resume));
                let log = durability.begin(&flow, &notes).and_then(|log| {
                    build(&flow)?;
                    durability.end(&flow)?;
                    Ok(log)
                });
                let log = log.unwrap_or_else(|error| {
                    job.failure.set(error);
                    Box::new(RecentBindings::new(1))
                });
                flow.finish(log, durability.snapshot_every());
            });
        }
        let stepping = job.steps.of(worker.index());
        // The park is bounded, so that a failure elsewhere in the process is seen.
        while !job.failure.is_set() && worker.step_or_park(Some(PARK)) {
            stepping.step();
        }
        drop(stepping);
        if job.failure.is_set() {
            let _ = ended.send(());
            if !alone {
                loop {
                    thread::park();
                }
            }
            worker.installed_dataflows().into_iter().for_each(|d| worker.drop_dataflow(d));
        }
    })
    .map_err(RunError::Start)?;
    // Every sender is with a worker: this ends with the first failure or the last worker.
    if ends.recv().is_ok() && !alone {
        std::mem::forget(guards);
        return outcome();
    }
    for result in guards.join() {
        result.map_err(|_| RunError::Panicked)?;
    }
    outcome()
}

const PARK: Duration = Duration::from_millis(100);

/// Has worker 0 find out where the job goes on, and tells all others. None: the run has failed.
fn recover(worker: &mut Worker, job: &Job, durability: &impl Durability) -> Option<Recovered> {
    let found = match (worker.index() == 0).then(|| durability.recover(job)) {
        Some(Err(error)) => {
            job.failure.set(error);
            return None;
        }
        Some(Ok(found)) => Some(found),
        None => None,
    };
    let (mut input, told) = (InputHandle::new(), Rc::new(RefCell::new(Vec::new())));
    let heard = told.clone();
    worker.dataflow::<u64, _, _>(|scope| {
        let broadcast = input.to_stream(scope).broadcast();
        broadcast.sink(Pipeline, "recovered", move |(input, _)| {
            input.for_each(|_, found| heard.borrow_mut().extend(found.drain(..)));
        });
    });
    found.into_iter().for_each(|found| input.send(found));
    input.close();
    while !job.failure.is_set() && told.borrow().is_empty() {
        worker.step_or_park(Some(PARK));
    }
    told.take().pop()
}
