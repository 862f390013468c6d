//! What lets a job go on where an earlier start of it has ended.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::{
    BindingLog, BuildError, Check, Flow, Job, Plan, RecentBindings, Resume, StateForm, StateRequest,
};

/// What makes a job durable: where it goes on, where its bindings and snapshots go. Every implementation
/// promises:
/// 1. `recover` is over before anything runs: what it found holds, and no earlier start of the job can
///    change it any more;
/// 2. what `begin` is given on the other workers, and processes, are worker 0's notes; and their
///    [`Flow::resume`] is what it found;
/// 3. the log goes on behind [`Resume::last`].
///
/// ```
/// use tideflow_core::{LogOnly, RecentBindings};
/// // Nothing survives: every start is a first start.
/// let nothing = LogOnly::new(RecentBindings::new(100));
/// ```
pub trait Durability: Send + Sync + 'static {
    /// Epochs from one snapshot to the next; 0 for none.
    fn snapshot_every(&self) -> u64 {
        0
    }
    /// What must hold before this graph starts.
    fn checks(&self, _plan: &Plan) -> Vec<Check> {
        Vec::new()
    }
    /// The newest generation of the job, where it has any: the number of its last start. Touches nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    fn generation(&self) -> Result<Option<u64>, BuildError> {
        Ok(None)
    }
    /// Does what was asked of the state that it has kept of a graph with this state, and writes the answer
    /// as text. The job need not run.
    ///
    /// # Errors
    /// When it cannot be done, or it found what must be mended.
    fn answer(
        &self,
        request: &StateRequest,
        states: &[StateForm],
        out: &mut dyn Write,
    ) -> Result<(), BuildError> {
        let _ = (request, states, out);
        Err(BuildError::invalid("job", "it keeps no state: it publishes at least once"))
    }
    /// Finds out where to go on. Called once in a job, by worker 0's thread; may wait.
    ///
    /// # Errors
    /// When the job cannot go on, or not now.
    fn recover(&self, job: &Job) -> Result<Recovered, BuildError>;
    /// Called on every worker before the graph is built, with the notes of what was recovered: the log for
    /// its bindings, which is used on worker 0.
    ///
    /// # Errors
    /// When it cannot start here and now.
    fn begin(&self, flow: &Flow<'_>, notes: &[u8]) -> Result<Box<dyn BindingLog>, BuildError>;
    /// Called on every worker when the graph is built.
    ///
    /// # Errors
    /// When it cannot start here and now.
    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError>;
    /// Why a run has failed, in place of what failed first: a part may only see what came of it.
    fn reason(&self, first: BuildError) -> BuildError {
        first
    }
}

/// What worker 0 found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// Where the job goes on.
    pub resume: Resume,
    /// What else the other workers must know, in a form of the implementation's own.
    pub notes: Vec<u8>,
}

impl<T: Durability + ?Sized> Durability for Arc<T> {
    fn snapshot_every(&self) -> u64 {
        (**self).snapshot_every()
    }

    fn checks(&self, plan: &Plan) -> Vec<Check> {
        (**self).checks(plan)
    }

    fn generation(&self) -> Result<Option<u64>, BuildError> {
        (**self).generation()
    }

    fn answer(
        &self,
        request: &StateRequest,
        states: &[StateForm],
        out: &mut dyn Write,
    ) -> Result<(), BuildError> {
        (**self).answer(request, states, out)
    }

    fn recover(&self, job: &Job) -> Result<Recovered, BuildError> {
        (**self).recover(job)
    }

    fn begin(&self, flow: &Flow<'_>, notes: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        (**self).begin(flow, notes)
    }

    fn end(&self, flow: &Flow<'_>) -> Result<(), BuildError> {
        (**self).end(flow)
    }

    fn reason(&self, first: BuildError) -> BuildError {
        (**self).reason(first)
    }
}

/// A job of which nothing survives but what its log keeps: every start is a first start.
pub struct LogOnly(Mutex<Option<Box<dyn BindingLog>>>);

impl LogOnly {
    /// Bindings go to this log.
    pub fn new(log: impl BindingLog + 'static) -> Self {
        LogOnly(Mutex::new(Some(Box::new(log))))
    }
}

impl Durability for LogOnly {
    fn recover(&self, _job: &Job) -> Result<Recovered, BuildError> {
        tracing::info!("results are published at least once: after a failure some come again");
        Ok(Recovered::default())
    }

    fn begin(&self, flow: &Flow<'_>, _: &[u8]) -> Result<Box<dyn BindingLog>, BuildError> {
        let own = (flow.worker().0 == 0)
            .then(|| self.0.lock().expect("no holder of this lock panics").take());
        Ok(own.flatten().unwrap_or_else(|| Box::new(RecentBindings::new(1))))
    }

    fn end(&self, _: &Flow<'_>) -> Result<(), BuildError> {
        Ok(())
    }
}
