//! How results leave a graph.

use std::collections::BTreeMap;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::SyncActivator;

use crate::flow::{Flow, Mode, Stream};
use crate::operator::{OperatorName, abandon};
use crate::plan::Check;
use crate::{BuildError, Epoch};

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
}

/// What a graph says of a sink: enough to check it, to draw it and to start it.
pub trait SinkSpec<D> {
    /// The sink as it runs on one worker.
    type Sink: Sink<D>;
    /// What it is, with the settings that matter.
    fn about(&self) -> String;
    /// What must hold before it starts.
    fn checks(&self) -> Vec<Check>;
    /// Starts it on one worker.
    ///
    /// # Errors
    /// When it cannot start here and now.
    fn start(self, start: SinkStart<'_, '_>) -> Result<Self::Sink, BuildError>;
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
    /// Publishes a stream: each epoch once everything of it is there and its binding is durable.
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
        spec.checks().into_iter().for_each(|c| self.check(c));
        let name = OperatorName::new(name);

        let mut builder = OperatorBuilder::new(name.as_str().to_string(), self.scope());
        let mut data = builder.new_input(stream.into_timely(), Pipeline);
        // Never written to: the frontier of this output is what has been published.
        let (_, published) = builder.new_output::<Vec<()>>();
        // Read for its frontier alone: which bindings are durable.
        let _durable = builder.new_input_connection(self.durable(), Pipeline, []);
        let info = builder.operator_info();
        let started = match self.mode() {
            Mode::Plan => Ok(None),
            Mode::Run => spec
                .start(SinkStart {
                    name,
                    flow: self,
                    waker: self.scope().worker().sync_activator_for(info.address.to_vec()),
                })
                .map(Some),
        };
        let mut sink = match started {
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
                    let Some(sink) = sink.as_mut() else { return false };
                    data.for_each(|capability, items| {
                        let epoch = *capability.least().expect("records carry one epoch");
                        open.entry(epoch).or_insert_with(|| capability.delayed(&epoch, 0));
                        sink.take(epoch, items);
                    });
                    let passed = |e: &Epoch| frontiers.iter().all(|f| !f.less_equal(e));
                    while let Some(first) = open.first_entry()
                        && passed(first.key())
                    {
                        let (epoch, capability) = first.remove_entry();
                        sink.close(epoch);
                        closed.insert(epoch, capability);
                    }
                    let through = sink.published();
                    closed = closed.split_off(&(through + 1));
                    !open.is_empty() || !closed.is_empty()
                })
            }
        });
        self.add_sink(published);
        Ok(())
    }
}
