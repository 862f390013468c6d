//! The threads beside a worker that call its model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tideflow_core::OperatorName;
use tideflow_core::timely::scheduling::SyncActivator;
use tideflow_models::{Model, Rows, ScoreError, VersionId};

/// A call that takes less time may keep its scores until the next ones are there.
const SOON: Duration = Duration::from_millis(1);

/// A version that scores.
pub(crate) struct Version {
    pub id: Arc<VersionId>,
    pub model: Arc<dyn Model>,
}

/// A batch on its way to a thread: as many rows as every call has.
struct Work {
    number: u64,
    version: Arc<Version>,
    given: Given,
}

/// A batch that a thread has.
#[derive(Clone)]
pub(super) struct Given {
    rows: Arc<Rows>,
    /// Set by the thread when it is done, or before that by who has another one take its place.
    over: Arc<AtomicBool>,
}

impl Given {
    /// Its memory, where nobody else has it any more.
    pub fn into_rows(self) -> Option<Rows> {
        Arc::into_inner(self.rows)
    }
}

/// What a thread gives back.
pub(super) struct Answer {
    pub number: u64,
    /// The scores of each row, padding included.
    pub scores: Result<Vec<f64>, ScoreError>,
    pub took: Duration,
}

/// Threads that take batches in turn. They end when it is dropped.
pub(super) struct Pool {
    name: OperatorName,
    threads: usize,
    work: Sender<Work>,
    answers: Receiver<Answer>,
    scoring: Scoring,
}

/// What a thread has to do with.
#[derive(Clone)]
struct Scoring {
    batches: Receiver<Work>,
    done: Sender<Answer>,
    waker: Arc<SyncActivator>,
    /// As long as more batches than these wait, the worker need not be woken for one that is done.
    waiting_enough: usize,
    /// Threads that others have taken the place of, and that have not come back.
    stuck: Arc<AtomicUsize>,
}

impl Pool {
    /// Starts so many threads, which wake the worker when they are done with batches: with half of the `ahead` that it
    /// gives out at most, or all that there are.
    pub fn new(name: OperatorName, threads: usize, ahead: usize, waker: SyncActivator) -> Self {
        // Bounded by those who give out batches.
        let (work, batches) = unbounded();
        let (done, answers) = unbounded();
        let (waker, stuck) = (Arc::new(waker), Arc::default());
        let scoring = Scoring { batches, done, waker, waiting_enough: ahead / 2, stuck };
        let pool = Pool { name, threads, work, answers, scoring };
        (0..threads).for_each(|_| pool.start(None));
        pool
    }

    fn start(&self, first: Option<Work>) {
        let scoring = self.scoring.clone();
        self.name.spawn(move || scoring.run(first));
    }

    /// Gives out a batch.
    pub fn give(&self, number: u64, version: Arc<Version>, rows: Rows) -> Given {
        let given = Given { rows: Arc::new(rows), over: Arc::default() };
        let work = Work { number, version, given: given.clone() };
        self.work.send(work).expect("the pool has a receiver itself");
        given
    }

    /// Gives a batch to a new thread, which takes the place of the one that has it, unless that is done by now. False:
    /// so many do not come back already.
    pub fn give_again(&self, number: u64, version: Arc<Version>, slow: &Given) -> bool {
        if self.scoring.stuck.load(Ordering::Acquire) >= self.threads {
            return false;
        }
        if !slow.over.swap(true, Ordering::AcqRel) {
            self.scoring.stuck.fetch_add(1, Ordering::AcqRel);
            let given = Given { rows: slow.rows.clone(), over: Arc::default() };
            self.start(Some(Work { number, version, given }));
        }
        true
    }

    /// A batch that is done; one that was given again may be done twice.
    pub fn take(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Scoring {
    /// Scores one batch after the other, until there is no pool or another thread does it in this one's place.
    fn run(self, first: Option<Work>) {
        for Work { number, version, given } in first.into_iter().chain(&self.batches) {
            let (started, mut scores) = (Instant::now(), Vec::new());
            let Version { id, model } = &*version;
            let mut score = || model.score_rows(&given.rows, &mut scores);
            let outcome = score().or_else(|error| {
                tracing::warn!(model = %id, %error, "the model has failed on a batch, which is tried again");
                score()
            });
            let (scores, took) = (outcome.map(|()| scores), started.elapsed());
            let replaced = given.over.swap(true, Ordering::AcqRel);
            if replaced {
                self.stuck.fetch_sub(1, Ordering::AcqRel);
            }
            drop(given); // its memory goes back with the answer
            let next_is_soon = took < SOON && self.batches.len() > self.waiting_enough;
            let gone = self.done.send(Answer { number, scores, took }).is_err();
            if !next_is_soon || replaced {
                let _ = self.waker.activate(); // fails when the worker has ended, which needs no waking
            }
            if gone || replaced {
                break;
            }
        }
    }
}
