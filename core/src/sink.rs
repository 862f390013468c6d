//! How results leave a graph.

use std::collections::BTreeMap;

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Map;
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::SyncActivator;

use crate::flow::{Flow, Mode, Stream};
use crate::operator::{OperatorName, abandon};
use crate::plan::Check;
use crate::{Backtest, BuildError, DeadLetters, Epoch};

/// A place results go to, as it runs on one worker. Every implementation promises:
/// 1. no call waits: what takes time happens on a thread of its own, which wakes the worker when it
///    has published;
/// 2. an epoch's records are published after `close` was called for it, in the order given, and
///    never before;
/// 3. epochs are published in order; `published` is the last one of which everything is out;
/// 4. a place that is away for a while is waited for: nothing is dropped.
///
/// ```
/// use tideflow_core::{Epoch, Sink};
/// /// Prints what is published.
/// struct Print { open: Vec<(Epoch, String)>, published: Epoch }
/// impl Sink<String> for Print {
///     fn take(&mut self, epoch: Epoch, items: &mut Vec<String>) {
///         self.open.extend(items.drain(..).map(|text| (epoch, text)));
///     }
///     fn close(&mut self, epoch: Epoch) {
///         self.open.retain(|(e, text)| *e != epoch || { println!("{text}"); false });
///         self.published = epoch;
///     }
///     fn published(&mut self) -> Epoch { self.published }
/// }
/// let mut sink = Print { open: vec![], published: 0 };
/// sink.take(1, &mut vec!["one".into()]);
/// sink.close(1);
/// assert_eq!(sink.published(), 1);
/// ```
pub trait Sink<D>: 'static {
    /// Takes records of an epoch that may still be open, and leaves `items` empty.
    fn take(&mut self, epoch: Epoch, items: &mut Vec<D>);
    /// Publishes the epoch: it is complete, and its binding is durable. Called in order of epochs,
    /// for epochs with records only.
    fn close(&mut self, epoch: Epoch);
    /// The last epoch of which everything is out, among those closed; 0 before the first.
    fn published(&mut self) -> Epoch;
    /// Learns that it has been given all records of the epochs up to this one: what it may prepare.
    fn complete(&mut self, _through: Epoch) {}
    /// Learns that the bindings of all epochs up to this one are durable.
    fn durable(&mut self, _through: Epoch) {}
}

/// What a graph says of a sink: enough to check it, to draw it and to start it.
pub trait SinkSpec<D: Clone + 'static>: Sized {
    /// The sink as it runs on one worker.
    type Sink: Sink<D>;
    /// What it is, with the settings that matter.
    fn about(&self) -> String;
    /// What must hold before it starts.
    fn checks(&self) -> Vec<Check>;
    /// Where they can be looked at, if what it publishes are dead letters.
    fn dead_letters(&self) -> Option<Box<dyn DeadLetters>> {
        None
    }
    /// Starts it on one worker.
    ///
    /// # Errors
    /// When it cannot start here and now.
    fn start(self, start: SinkStart<'_, '_>) -> Result<Self::Sink, BuildError>;
    /// Connects a stream to it, in a graph that runs. A sink that wants its records on certain workers
    /// sends them there first.
    ///
    /// # Errors
    /// When it cannot start here and now.
    fn connect<'s>(
        self,
        outlet: Outlet<'s>,
        stream: StreamVec<'s, Epoch, D>,
    ) -> Result<(), BuildError> {
        outlet.gate(stream, Pipeline, |start| self.start(start))
    }
    /// Connects a stream to it, in a backtest: what it would publish goes to an output of the backtest, and
    /// nothing elsewhere.
    ///
    /// # Errors
    /// Unless it says otherwise, it cannot: it would publish.
    fn record<'s>(
        self,
        outlet: Outlet<'s>,
        stream: StreamVec<'s, Epoch, D>,
        backtest: &Backtest,
    ) -> Result<(), BuildError> {
        let _ = (stream, backtest);
        let what = "a sink that knows no other place for its records: it cannot be replayed";
        Err(BuildError::invalid(outlet.name.as_str(), what))
    }
}

/// Where a sink starts.
pub struct SinkStart<'a, 's> {
    /// Its name in the graph.
    pub name: OperatorName,
    /// The graph, for what the sinks of a worker share.
    pub flow: &'a Flow<'s>,
    /// Wakes the worker: promise 1.
    pub waker: SyncActivator,
}

impl<'s> Flow<'s> {
    /// Publishes a stream: each epoch once everything of it is there and its binding is durable. In a
    /// backtest it is written to the backtest's folder instead: here is where that is decided.
    ///
    /// State: the records of epochs in flight, at most [`crate::EpochSettings::inflight_max`].
    ///
    /// # Errors
    /// When the name is taken, or the sink cannot start.
    pub fn sink<D: Clone + 'static, S: SinkSpec<D>>(
        &self,
        name: &str,
        stream: Stream<'s, D>,
        spec: S,
    ) -> Result<(), BuildError> {
        let node = self.node("sink", name, spec.about(), stream.origins())?;
        debug_assert!(node > 0, "a sink has an input");
        if self.job().rows.is_some() {
            // It still paces the run: an epoch is over when its records have come to nothing.
            self.add_sink(stream.into_timely().flat_map(|_| None));
            return Ok(());
        }
        let backtest = &self.job().backtest;
        if backtest.is_none() {
            spec.checks().into_iter().for_each(|c| self.check(c));
        }
        if let Some(letters) = spec.dead_letters() {
            self.add_dead_letters(letters);
        }
        if self.mode() == Mode::Plan {
            return Ok(());
        }
        let outlet = Outlet { name: OperatorName::new(name), flow: self.clone() };
        match backtest {
            None => spec.connect(outlet, stream.into_timely()),
            Some(backtest) => spec.record(outlet, stream.into_timely(), backtest),
        }
    }
}

/// A sink's place in a graph that runs.
pub struct Outlet<'s> {
    name: OperatorName,
    flow: Flow<'s>,
}

impl<'s> Outlet<'s> {
    /// The sink's name.
    pub fn name(&self) -> OperatorName {
        self.name
    }

    /// The graph.
    pub fn flow(&self) -> &Flow<'s> {
        &self.flow
    }

    /// Gives a stream to a sink and tells it when to publish: the one operator that every sink has.
    /// `route` says to which worker's sink the records go.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn gate<D: Clone + 'static, S: Sink<D>>(
        self,
        stream: StreamVec<'s, Epoch, D>,
        route: impl ParallelizationContract<Epoch, Vec<D>>,
        start: impl FnOnce(SinkStart<'_, 's>) -> Result<S, BuildError>,
    ) -> Result<(), BuildError> {
        let Outlet { name, flow } = self;
        let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
        let mut data = builder.new_input(stream, route);
        // Never written to: the frontier of this output is what has been published.
        let (_, published) = builder.new_output::<Vec<()>>();
        // Read for its frontier alone: which bindings are durable.
        let _durable = builder.new_input_connection(flow.durable(), Pipeline, []);
        let address = builder.operator_info().address;
        let waker = flow.scope().worker().sync_activator_for(address.to_vec());
        let mut sink = match start(SinkStart { name, flow: &flow, waker }) {
            Ok(sink) => sink,
            Err(error) => {
                abandon(builder);
                return Err(error);
            }
        };
        builder.build_reschedule(move |capabilities| {
            drop(capabilities);
            let mut open = BTreeMap::<Epoch, Capability<Epoch>>::new();
            let mut closed = BTreeMap::<Epoch, Capability<Epoch>>::new();
            move |frontiers| {
                name.run(|| {
                    data.for_each(|capability, items| {
                        let epoch = *capability.least().expect("records carry one epoch");
                        open.entry(epoch).or_insert_with(|| capability.delayed(&epoch, 0));
                        sink.take(epoch, items);
                    });
                    let [complete, durable] = [0, 1].map(|i| through(&frontiers[i]));
                    sink.complete(complete);
                    sink.durable(durable);
                    while let Some(first) = open.first_entry()
                        && *first.key() <= complete.min(durable)
                    {
                        let (epoch, capability) = first.remove_entry();
                        sink.close(epoch);
                        closed.insert(epoch, capability);
                    }
                    let out = sink.published();
                    closed = closed.split_off(&out.saturating_add(1));
                    !open.is_empty() || !closed.is_empty()
                })
            }
        });
        flow.add_sink(published);
        Ok(())
    }
}

/// The last epoch that a frontier has passed.
fn through(frontier: &MutableAntichain<Epoch>) -> Epoch {
    frontier.frontier().first().map_or(Epoch::MAX, |next| next.saturating_sub(1))
}
