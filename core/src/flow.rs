//! The graph under construction, and the streams that connect its parts.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{Scope, StreamVec};

use crate::pace::{Bindings, Pace, Tick, clock};
use crate::plan::{Check, Edge, Node, Plan};
use crate::{BindingLog, Bound, BuildError, Epoch, Failure, Metrics, Stop};

/// How epochs are paced.
#[derive(Clone, Copy, Debug)]
pub struct EpochSettings {
    /// The time between two cuts.
    pub interval: Duration,
    /// Epochs bound and not yet published, beyond which no new one is begun.
    pub inflight_max: u64,
    /// Bytes that a worker reads into one epoch before it asks for an early cut.
    pub bytes_max: usize,
}

impl Default for EpochSettings {
    fn default() -> Self {
        EpochSettings { interval: Duration::from_millis(50), inflight_max: 8, bytes_max: 8 << 20 }
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
    pace: Rc<Pace>,
    ticks: StreamVec<'s, Epoch, Tick>,
    bound: StreamVec<'s, Epoch, Bound>,
    durable: StreamVec<'s, Epoch, ()>,
    bindings: RefCell<Bindings<'s>>,
    published: ProbeHandle<Epoch>,
    sinks: RefCell<Vec<StreamVec<'s, Epoch, ()>>>,
    locals: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl<'s> Flow<'s> {
    /// An empty graph in this timely scope. [`Flow::finish`] must be called when all parts are there.
    pub fn new(scope: Scope<'s, Epoch>, job: Job, mode: Mode) -> Self {
        let (pace, published) = (Pace::new(), ProbeHandle::new());
        let ticks = clock(scope, &job, pace.clone(), published.clone());
        let (bindings, bound, durable) = Bindings::new(scope, ticks.clone());
        Flow {
            inner: Rc::new(Inner {
                scope,
                job,
                mode,
                plan: RefCell::default(),
                pace,
                ticks,
                bound,
                durable,
                bindings: RefCell::new(bindings),
                published,
                sinks: RefCell::default(),
                locals: RefCell::default(),
            }),
        }
    }

    /// Ends construction: bindings go to `log`. Returns what the graph consists of.
    ///
    /// # Panics
    /// When a clone of the graph is still held.
    pub fn finish(self, log: Box<dyn BindingLog>) -> Plan {
        let Ok(inner) = Rc::try_unwrap(self.inner) else {
            panic!("a stream or a clone of the flow outlives the graph's function")
        };
        let scope = inner.scope;
        let bindings = inner.bindings.into_inner();
        bindings.build(scope, &inner.job, inner.pace, inner.published.clone(), log);
        let mut ends = inner.sinks.into_inner();
        if ends.is_empty() {
            ends.push(inner.durable);
        }
        scope.concatenate(ends).probe_with(&inner.published);
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
        self.inner.bound.clone()
    }

    pub(crate) fn ticks(&self) -> StreamVec<'s, Epoch, Tick> {
        self.inner.ticks.clone()
    }

    pub(crate) fn durable(&self) -> StreamVec<'s, Epoch, ()> {
        self.inner.durable.clone()
    }

    pub(crate) fn listen(&self, words: StreamVec<'s, Epoch, crate::pace::Word>) {
        self.inner.bindings.borrow_mut().listen(words);
    }

    pub(crate) fn add_sink(&self, published: StreamVec<'s, Epoch, ()>) {
        self.inner.sinks.borrow_mut().push(published);
    }

    /// Something that this worker's parts share, made by the first that asks.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn local<T: 'static, E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Rc<T>, E> {
        let id = TypeId::of::<T>();
        let found = self.inner.locals.borrow().get(&id).cloned();
        if let Some(found) = found {
            return Ok(found.downcast().expect("the map is by type"));
        }
        let made = Rc::new(make()?);
        self.inner.locals.borrow_mut().insert(id, made.clone());
        Ok(made)
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
