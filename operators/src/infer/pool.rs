//! The threads beside a worker that call its model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use tideflow_core::OperatorName;
use tideflow_core::timely::scheduling::SyncActivator;
use tideflow_models::{Model, ScoreError, VersionId};

/// A version that scores.
pub(crate) struct Version {
    pub id: Arc<VersionId>,
    pub model: Arc<dyn Model>,
}

/// A batch on its way to a thread: as many rows as every call has.
struct Work {
    number: u64,
    version: Arc<Version>,
    rows: Vec<f64>,
}

/// What a thread gives back.
pub(super) struct Answer {
    pub number: u64,
    /// The scores of each row, padding included.
    pub scores: Result<Vec<f64>, ScoreError>,
    pub took: Duration,
    /// What the batch was in.
    pub rows: Vec<f64>,
}

/// Threads that take batches in turn. They end when it is dropped.
pub(super) struct Pool {
    work: Sender<Work>,
    answers: Receiver<Answer>,
}

impl Pool {
    /// Starts so many threads, which wake the worker when they are done with a batch.
    pub fn new(name: OperatorName, threads: usize, waker: SyncActivator) -> Self {
        // Bounded by those who give out batches.
        let (work, batches) = unbounded();
        let (done, answers) = unbounded();
        let waker = Arc::new(waker);
        for _ in 0..threads {
            let (batches, done, waker) = (batches.clone(), done.clone(), waker.clone());
            name.spawn(move || score_batches(&batches, &done, &waker));
        }
        Pool { work, answers }
    }

    /// Gives out a batch.
    pub fn give(&self, number: u64, version: Arc<Version>, rows: Vec<f64>) {
        self.work.send(Work { number, version, rows }).expect("threads end with their pool");
    }

    /// A batch that is done.
    pub fn take(&self) -> Option<Answer> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => unreachable!("threads end with their pool"),
        }
    }
}

fn score_batches(work: &Receiver<Work>, done: &Sender<Answer>, waker: &SyncActivator) {
    for Work { number, version, rows } in work {
        let (started, mut scores) = (Instant::now(), Vec::new());
        let Version { id, model } = &*version;
        let mut score = || model.score(&rows, id.batch_rows, &mut scores);
        let outcome = score().or_else(|error| {
            tracing::warn!(model = %id, %error, "the model has failed on a batch, which is tried again");
            score()
        });
        let scores = outcome.map(|()| scores);
        if done.send(Answer { number, scores, took: started.elapsed(), rows }).is_err() {
            break;
        }
        let _ = waker.activate(); // fails when the worker has ended, which needs no waking
    }
}
