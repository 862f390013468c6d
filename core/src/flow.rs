//! The graph under construction, and the streams that connect its parts.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{Scope, StreamVec};

use crate::binder::{Binder, Bounds};
use crate::choice::{Choice, Choices, Opening};
use crate::pace::{Pace, Tick, clock};
use crate::plan::{Check, Edge, Inputs, Node, Plan};
use crate::ruling::SharedLog;
use crate::snapshot::{SnapshotPart, Snapshots};
use crate::{
    Backtest, BindingLog, Bound, BuildError, DeadLetters, Epoch, Failure, FeatureRows, Metrics,
    Resume, StateForm, Steps, Stop,
};

/// How epochs are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochSettings {
    /// The time between two cuts.
    pub interval: Duration,
    /// Epochs bound and not yet published, beyond which no new one is begun.
    pub inflight_max: u64,
    /// Bytes that a worker reads into one epoch before it asks for an early cut.
    pub bytes_max: usize,
    /// Epochs since the last snapshot that counts, beyond which no new one is begun while the next snapshot
    /// is under way: a start replays no more, and holds no more bindings. At least 1.
    pub replay_max: u64,
}

impl Default for EpochSettings {
    fn default() -> Self {
        EpochSettings {
            interval: Duration::from_millis(50),
            inflight_max: 8,
            bytes_max: 8 << 20,
            replay_max: 100_000,
        }
    }
}

/// What the parts of a process share.
#[derive(Clone, Default)]
pub struct Job {
    /// The process's figures.
    pub metrics: Arc<Metrics>,
    /// The request to stop.
    pub stop: Stop,
    /// What ends the run at once.
    pub failure: Failure,
    /// How epochs are paced.
    pub epochs: EpochSettings,
    /// How often each worker has gone round.
    pub steps: Steps,
    /// What takes rows in place of a model, in a run for nothing else: sources end where they end at the start, and
    /// sinks publish nothing.
    pub rows: Option<FeatureRows>,
    /// The part of the past to run over, in a run that publishes nothing.
    pub backtest: Option<Backtest>,
}

/// What building a graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To look at it: nothing is started, nothing outside is touched.
    Plan,
    /// To run it.
    Run,
}

/// A graph under construction. Cheap to clone: all clones are the same graph.
#[derive(Clone)]
pub struct Flow<'s> {
    inner: Rc<Inner<'s>>,
}

struct Inner<'s> {
    scope: Scope<'s, Epoch>,
    job: Job,
    mode: Mode,
    plan: RefCell<Plan>,
    resume: Rc<Resume>,
    pace: Rc<Pace>,
    ticks: StreamVec<'s, Epoch, Tick>,
    bounds: Bounds<'s>,
    binder: RefCell<Binder<'s>>,
    snapshots: RefCell<Vec<StreamVec<'s, Epoch, SnapshotPart>>>,
    published: ProbeHandle<Epoch>,
    sinks: RefCell<Vec<StreamVec<'s, Epoch, ()>>>,
    choices: RefCell<Vec<(String, Arc<dyn Choice>)>>,
    log: SharedLog,
    locals: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl<'s> Inner<'s> {
    /// Its frontier is what has been published: a graph without sinks publishes bindings.
    fn out(&self) -> StreamVec<'s, Epoch, ()> {
        match self.sinks.borrow().as_slice() {
            [] => self.bounds.durable.clone(),
            sinks => self.scope.concatenate(sinks.iter().cloned()),
        }
    }
}

impl<'s> Flow<'s> {
    /// An empty graph in this timely scope. [`Flow::finish`] must be called when all parts are there.
    pub fn new(scope: Scope<'s, Epoch>, job: Job, mode: Mode, resume: Rc<Resume>) -> Self {
        let (pace, published) = (Pace::new(&resume), ProbeHandle::new());
        let ticks = clock(scope, &job, &resume, pace.clone(), published.clone());
        let (binder, bounds) = Binder::new(scope, ticks.clone());
        Flow {
            inner: Rc::new(Inner {
                scope,
                job,
                mode,
                plan: RefCell::default(),
                resume,
                pace,
                ticks,
                bounds,
                binder: RefCell::new(binder),
                snapshots: RefCell::default(),
                published,
                sinks: RefCell::default(),
                choices: RefCell::default(),
                log: SharedLog::default(),
                locals: RefCell::default(),
            }),
        }
    }

    /// Ends construction: bindings go to `log`, and a snapshot is taken every so many epochs, or none for
    /// 0. Returns what the graph consists of.
    ///
    /// # Panics
    /// When a clone of the graph is still held.
    pub fn finish(self, log: Box<dyn BindingLog>, snapshot_every: u64) -> Plan {
        let Ok(inner) = Rc::try_unwrap(self.inner) else {
            panic!("a stream or a clone of the flow outlives the graph's function")
        };
        let scope = inner.scope;
        inner.out().probe_with(&inner.published);
        let binder = inner.binder.into_inner();
        let pace = (inner.pace, inner.published, snapshot_every);
        let choices = inner.choices.into_inner();
        let choices = Choices::new(choices, scope.peers());
        binder.build(scope, &inner.job, inner.resume, pace, choices, inner.log.clone());
        inner.log.set(log);
        inner.plan.into_inner()
    }

    /// The timely scope, for operators built by hand.
    pub fn scope(&self) -> Scope<'s, Epoch> {
        self.inner.scope
    }

    /// What the process's parts share.
    pub fn job(&self) -> &Job {
        &self.inner.job
    }

    /// What this graph is built for.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// This worker's index and the number of workers, over all processes.
    pub fn worker(&self) -> (usize, usize) {
        (self.inner.scope.index(), self.inner.scope.peers())
    }

    /// Every epoch's binding, on every worker, in order.
    pub fn bound(&self) -> StreamVec<'s, Epoch, Bound> {
        self.inner.bounds.bound.clone()
    }

    /// Where this run goes on.
    pub fn resume(&self) -> &Rc<Resume> {
        &self.inner.resume
    }

    pub(crate) fn openings(&self) -> StreamVec<'s, Epoch, Opening> {
        self.inner.bounds.openings.clone()
    }

    pub(crate) fn add_choice(&self, name: &str, choice: Arc<dyn Choice>) {
        self.inner.choices.borrow_mut().push((name.to_string(), choice));
    }

    pub(crate) fn log(&self) -> SharedLog {
        self.inner.log.clone()
    }

    pub(crate) fn ticks(&self) -> StreamVec<'s, Epoch, Tick> {
        self.inner.ticks.clone()
    }

    pub(crate) fn durable(&self) -> StreamVec<'s, Epoch, ()> {
        self.inner.bounds.durable.clone()
    }

    /// Its frontier is what has been published everywhere.
    pub(crate) fn published(&self) -> ProbeHandle<Epoch> {
        self.inner.published.clone()
    }

    pub(crate) fn listen(&self, words: StreamVec<'s, Epoch, crate::pace::Word>) {
        self.inner.binder.borrow_mut().listen(words);
    }

    pub(crate) fn add_sink(&self, published: StreamVec<'s, Epoch, ()>) {
        self.inner.sinks.borrow_mut().push(published);
    }

    /// Has epochs be in flight until a stream has passed them, as those are that sinks have not published: what is
    /// computed beside the results, and goes nowhere, is not to fall behind them without bound.
    pub fn hold_until<T: Clone + 'static>(&self, passed: StreamVec<'s, Epoch, T>) {
        self.add_sink(passed.flat_map(|_| None));
    }

    pub(crate) fn add_snapshots(&self, parts: StreamVec<'s, Epoch, SnapshotPart>) {
        self.inner.snapshots.borrow_mut().push(parts);
    }

    /// What snapshots are made of, once all operators and sinks of the graph are there.
    pub fn snapshots(&self) -> Snapshots<'s> {
        let (scope, inner) = (self.scope(), &self.inner);
        let pace = inner.pace.clone();
        Snapshots {
            parts: scope.concatenate(inner.snapshots.borrow().iter().cloned()),
            standings: inner.bounds.standings.clone(),
            // An epoch without results counts as published before its binding is durable.
            published: scope.concatenate([inner.out(), inner.bounds.durable.clone()]),
            taken: Box::new(move |epoch| pace.snapshot_taken(epoch)),
        }
    }

    /// Something that this worker's parts share, made by the first that asks.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn local<T: 'static, E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Rc<T>, E> {
        let id = TypeId::of::<T>();
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let made = Rc::new(make()?);
        self.inner.locals.borrow_mut().insert(id, made.clone());
        Ok(made)
    }

    /// Something that this worker's parts share, if it was made.
    pub fn found<T: 'static>(&self) -> Option<Rc<T>> {
        let found = self.inner.locals.borrow().get(&TypeId::of::<T>()).cloned();
        found.map(|found| found.downcast().expect("the map is by type"))
    }

    /// Adds a node to the graph's plan.
    ///
    /// # Errors
    /// When the name is taken: it is the node's identity in state, metrics and logs.
    pub fn node(
        &self,
        kind: &'static str,
        name: &str,
        about: String,
        inputs: &[(usize, &'static str)],
    ) -> Result<usize, BuildError> {
        let mut plan = self.inner.plan.borrow_mut();
        if plan.nodes.iter().any(|n| n.name == name) {
            return Err(BuildError::invalid(name, "the name is used twice in this graph"));
        }
        let id = plan.nodes.len();
        plan.nodes.push(Node { id, kind, name: name.to_string(), about });
        plan.edges.extend(inputs.iter().map(|(from, label)| Edge { from: *from, to: id, label }));
        Ok(id)
    }

    pub(crate) fn add_state(&self, form: StateForm) {
        self.inner.plan.borrow_mut().states.push(form);
    }

    pub(crate) fn add_input(&self, source: &str, input: Option<String>, may_lose: bool) {
        let mut plan = self.inner.plan.borrow_mut();
        plan.inputs.insert(source.to_string(), input);
        plan.may_lose.extend(may_lose.then(|| source.to_string()));
    }

    pub(crate) fn add_dead_letters(&self, letters: Box<dyn DeadLetters>) {
        self.inner.plan.borrow_mut().dead_letters.push(letters);
    }

    /// The form of the state of every operator that is there so far.
    pub fn states(&self) -> Vec<StateForm> {
        self.inner.plan.borrow().states.clone()
    }

    /// What each source that is there so far reads.
    pub fn inputs(&self) -> Inputs {
        self.inner.plan.borrow().inputs.clone()
    }

    /// Adds something that must hold before the graph starts.
    pub fn check(&self, check: Check) {
        self.inner.plan.borrow_mut().checks.push(check);
    }
}

/// A stream of records of type `D`, timestamped by epoch.
#[derive(Clone)]
pub struct Stream<'s, D: 'static> {
    flow: Flow<'s>,
    origins: Vec<(usize, &'static str)>,
    inner: StreamVec<'s, Epoch, D>,
}

impl<'s, D: Clone + 'static> Stream<'s, D> {
    /// Wraps a timely stream that leaves `node` by the output called `label`.
    pub fn new(
        flow: &Flow<'s>,
        node: usize,
        label: &'static str,
        inner: StreamVec<'s, Epoch, D>,
    ) -> Self {
        Stream { flow: flow.clone(), origins: vec![(node, label)], inner }
    }

    /// The graph it belongs to.
    pub fn flow(&self) -> Flow<'s> {
        self.flow.clone()
    }

    /// The nodes it comes from, for [`Flow::node`].
    pub fn origins(&self) -> &[(usize, &'static str)] {
        &self.origins
    }

    /// The timely stream inside.
    pub fn into_timely(self) -> StreamVec<'s, Epoch, D> {
        self.inner
    }

    /// The records of both streams. Order is kept within each, not between them.
    pub fn and(self, other: Stream<'s, D>) -> Stream<'s, D> {
        let scope = self.flow.scope();
        let origins = [self.origins, other.origins].concat();
        Stream { flow: self.flow, origins, inner: scope.concatenate([self.inner, other.inner]) }
    }
}
