//! Building a graph on timely workers and stepping it until it ends.

use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use timely::communication::Allocator;
use timely::communication::allocator::AllocatorBuilder;
use timely::communication::allocator::thread::Thread;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Broadcast;
use timely::execute::execute_from;
use timely::worker::Worker;
use timely::{CommunicationConfig, WorkerConfig};

use crate::flow::{Flow, Job, Mode};
use crate::{BuildError, Durability, Plan, RecentBindings, Recovered};

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
    config: timely::Config,
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
    let alone = !matches!(config.communication, CommunicationConfig::Cluster { .. });
    let (ended, ends) = channel();
    let (allocators, mesh) = connect(config.communication, job.join_timeout)?;
    let guards = execute_from(allocators, mesh, config.worker, move |worker| {
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
        // The park is bounded, so that a failure elsewhere in the process is seen.
        while !job.failure.is_set() && worker.step_or_park(Some(PARK)) {}
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

/// Connects the processes of a job. Timely waits for ever for one that is not there: when the time is
/// over, what waits is left where it is.
fn connect(
    communication: CommunicationConfig,
    limit: Duration,
) -> Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>), RunError> {
    if let CommunicationConfig::Cluster { process, addresses, .. } = &communication {
        let mut others = addresses.clone();
        let own = others.remove(*process);
        tracing::info!(process, own, others = others.join(", "), "waiting for the other processes");
    }
    let (sender, connected) = channel();
    let connect = move || drop(sender.send(communication.try_build()));
    let spawned = thread::Builder::new().name("connect".to_string()).spawn(connect);
    spawned.map_err(|error| RunError::Start(error.to_string()))?;
    match connected.recv_timeout(limit) {
        Ok(built) => built.map_err(RunError::Start),
        Err(RecvTimeoutError::Timeout) => Err(RunError::Start(format!(
            "not all processes of the job were there within {} ms",
            limit.as_millis()
        ))),
        Err(RecvTimeoutError::Disconnected) => Err(RunError::Panicked),
    }
}

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
