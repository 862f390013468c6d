//! Operators that keep state: one epoch after the other, each closed by its binding.

use std::collections::BTreeMap;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession, Session};
use timely::dataflow::operators::{Capability, InputCapability};

use crate::flow::Stream;
use crate::operator::OperatorName;
use crate::{Bound, BuildError, Epoch};

/// The logic of an operator with state. It sees its input epoch by epoch: every record of epoch `e`
/// is folded, then `e` is closed with its binding, then come the records of `e + 1`.
///
/// What it yields may rest on its input, its state and the binding, and on nothing else: no clock,
/// no randomness, no order of a hash map. That is what makes a replay yield the same.
///
/// ```
/// use tideflow_core::{Bound, Emit, Stateful};
/// /// Counts the records of each epoch.
/// struct Count(u64);
/// impl Stateful<String> for Count {
///     type Out = u64;
///     type Aside = ();
///     fn fold(&mut self, items: &mut Vec<String>, _aside: &mut Emit<()>) {
///         self.0 += items.drain(..).count() as u64;
///     }
///     fn close(&mut self, _bound: &Bound, out: &mut Emit<u64>, _aside: &mut Emit<()>) {
///         out.push(std::mem::take(&mut self.0));
///     }
/// }
/// ```
pub trait Stateful<In>: 'static {
    /// What the first output carries.
    type Out: Clone + 'static;
    /// What the second output carries.
    type Aside: Clone + 'static;
    /// Takes records of the open epoch and leaves `items` empty.
    fn fold(&mut self, items: &mut Vec<In>, aside: &mut Emit<Self::Aside>);
    /// Ends the open epoch.
    fn close(&mut self, bound: &Bound, out: &mut Emit<Self::Out>, aside: &mut Emit<Self::Aside>);
}

/// Collects an operator's output.
#[derive(Debug)]
pub struct Emit<D> {
    ready: Vec<D>,
}

impl<D> Default for Emit<D> {
    fn default() -> Self {
        Emit { ready: Vec::new() }
    }
}

impl<D> Emit<D> {
    /// Adds a record to the output.
    pub fn push(&mut self, record: D) {
        self.ready.push(record);
    }

    /// Takes what was collected: for tests of an operator's logic.
    pub fn take(&mut self) -> Vec<D> {
        std::mem::take(&mut self.ready)
    }
}

/// How records reach the worker that holds their state.
pub enum Route<D> {
    /// They stay on their worker.
    Stay,
    /// To the worker given by this number, modulo the number of workers.
    By(Box<dyn Fn(&D) -> u64>),
}

/// The two outputs of an operator with state.
pub type Outputs<'s, D, L> =
    (Stream<'s, <L as Stateful<D>>::Out>, Stream<'s, <L as Stateful<D>>::Aside>);

/// Calls back with what has arrived, however it came.
type Pull<D> = Box<dyn FnMut(&mut Take<'_, D>)>;
type Take<'a, D> = dyn FnMut(InputCapability<Epoch>, &mut Vec<D>) + 'a;

impl<'s, D: ExchangeData + Clone> Stream<'s, D> {
    /// Runs `logic` over the stream, one epoch after the other: its two outputs.
    ///
    /// State: that of `logic`, and the records of epochs that are not its turn yet: at most
    /// [`crate::EpochSettings::inflight_max`] of them.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn stateful<L: Stateful<D>>(
        self,
        name: &str,
        about: String,
        aside_label: &'static str,
        route: Route<D>,
        logic: L,
    ) -> Result<Outputs<'s, D, L>, BuildError> {
        let flow = self.flow();
        let node = flow.node("operator", name, about, self.origins())?;
        let name = OperatorName::new(name);
        let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
        let input = self.into_timely();
        let mut bindings = builder.new_input(flow.bound(), Pipeline);
        // The two ways in have types of their own; the rest of the operator does not care.
        let mut pull: Pull<D> = match route {
            Route::Stay => {
                let mut data = builder.new_input(input, Pipeline);
                Box::new(move |f| data.for_each(f))
            }
            Route::By(by) => {
                let mut data = builder.new_input(input, Exchange::new(by));
                Box::new(move |f| data.for_each(f))
            }
        };
        let (out, out_stream) = builder.new_output();
        let (aside, aside_stream) = builder.new_output();
        let mut state = Sequence {
            logic,
            current: 1,
            open: BTreeMap::new(),
            out: OutputBuilder::from(out),
            aside: OutputBuilder::from(aside),
            out_ready: Emit::default(),
            aside_ready: Emit::default(),
        };
        builder.build(move |capabilities| {
            drop(capabilities);
            move |frontiers| {
                name.run(|| {
                    bindings.for_each(|capability, bounds| {
                        for bound in bounds.drain(..) {
                            state.at(&capability, bound.epoch).bound = Some(bound);
                        }
                    });
                    pull(&mut |capability, items| state.take(&capability, items));
                    while frontiers.iter().all(|f| !f.less_equal(&state.current))
                        && state.close_current()
                    {}
                })
            }
        });
        Ok((
            Stream::new(&flow, node, "", out_stream),
            Stream::new(&flow, node, aside_label, aside_stream),
        ))
    }
}

type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// An epoch with something to do.
struct Open<D> {
    at_out: Capability<Epoch>,
    at_aside: Capability<Epoch>,
    bound: Option<Bound>,
    early: Vec<Vec<D>>,
}

struct Sequence<D, L: Stateful<D>> {
    logic: L,
    current: Epoch,
    open: BTreeMap<Epoch, Open<D>>,
    out: Output<L::Out>,
    aside: Output<L::Aside>,
    out_ready: Emit<L::Out>,
    aside_ready: Emit<L::Aside>,
}

impl<D: 'static, L: Stateful<D>> Sequence<D, L> {
    fn at(&mut self, capability: &InputCapability<Epoch>, epoch: Epoch) -> &mut Open<D> {
        self.open.entry(epoch).or_insert_with(|| Open {
            at_out: capability.delayed(&epoch, 0),
            at_aside: capability.delayed(&epoch, 1),
            bound: None,
            early: Vec::new(),
        })
    }

    fn take(&mut self, capability: &InputCapability<Epoch>, items: &mut Vec<D>) {
        let epoch = *capability.least().expect("records carry one epoch");
        let current = self.current;
        let open = self.at(capability, epoch);
        if epoch == current {
            self.fold(items);
        } else {
            assert!(epoch > current, "epoch {epoch} is closed");
            open.early.push(std::mem::take(items));
        }
    }

    fn fold(&mut self, items: &mut Vec<D>) {
        self.logic.fold(items, &mut self.aside_ready);
        debug_assert!(items.is_empty(), "an operator folds all that it is given");
        if !self.aside_ready.ready.is_empty() {
            let at = &self.open[&self.current].at_aside;
            send(&mut self.aside, at, &mut self.aside_ready);
        }
    }

    /// Closes the current epoch if its binding is here; false otherwise.
    fn close_current(&mut self) -> bool {
        let Some(bound) = self.open.get(&self.current).and_then(|o| o.bound) else { return false };
        let open = self.open.remove(&self.current).expect("just seen");
        debug_assert!(open.early.is_empty(), "folded when the epoch's turn came");
        self.logic.close(&bound, &mut self.out_ready, &mut self.aside_ready);
        send(&mut self.out, &open.at_out, &mut self.out_ready);
        send(&mut self.aside, &open.at_aside, &mut self.aside_ready);
        self.current += 1;
        let early = self.open.get_mut(&self.current).map(|o| std::mem::take(&mut o.early));
        early.into_iter().flatten().for_each(|mut items| self.fold(&mut items));
        true
    }
}

/// Sends what was collected, in containers of timely's usual size: large ones would sit in memory.
fn send<D: Clone + 'static>(output: &mut Output<D>, at: &Capability<Epoch>, emit: &mut Emit<D>) {
    if !emit.ready.is_empty() {
        let mut activated: OutputBuilderSession<'_, _, _> = output.activate();
        let mut session: Session<'_, '_, _, _, _> = activated.session(at);
        session.give_iterator(emit.ready.drain(..));
    }
}
