//! Operators that keep state: one epoch after the other, each closed by its binding.

use std::collections::BTreeMap;
use std::sync::Arc;

use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession, Session};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::scheduling::Activator;

use crate::flow::{Flow, Stream};
use crate::operator::OperatorName;
use crate::prometheus::{Gauge, GaugeVec};
use crate::snapshot::{RestoreFrom, SnapshotPart};
use crate::{
    Bound, BuildError, Epoch, ErrorKind, EventTime, GroupState, Groups, KeyGroup, StateForm,
};

/// The logic of an operator with state. It sees its input epoch by epoch: every record of epoch `e`
/// is folded, then `e` is closed with its binding, then come the records of `e + 1`.
///
/// Every implementation promises:
/// 1. what it yields rests on its input, its state and the binding, and on nothing else: no clock, no
///    randomness, no order of a hash map. That is what makes a replay yield the same;
/// 2. what it keeps beyond the end of an epoch is in its [`Groups`], each key's in the key's group, or
///    follows from them and the watermark: it is made anew from both by [`Stateful::resume`].
///
/// Its groups are those of a [`KeyedState`](crate::KeyedState), unless it lays out its state itself.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use tideflow_core::{Bound, Emit, Entries, Groups, KeyedState, Row, Stateful};
/// /// How often a word came.
/// #[derive(Serialize, Deserialize)]
/// struct Count(u64);
/// impl Row for Count {}
/// /// Counts words.
/// struct Words(KeyedState<String, Count>);
/// impl Stateful<String> for Words {
///     type Out = (String, u64);
///     type Side = ();
///     type State = Entries<String, Count>;
///     fn state(&mut self) -> &mut Groups<Self::State> { self.0.groups() }
///     fn fold(&mut self, words: &mut Vec<String>, _side: &mut Emit<()>) {
///         words.drain(..).for_each(|word| self.0.change(&word, || Count(0), |count| count.0 += 1));
///     }
///     fn close(&mut self, _bound: &Bound, out: &mut Emit<(String, u64)>, _side: &mut Emit<()>) {
///         self.0.iter().for_each(|(word, count)| out.push((word.clone(), count.0)));
///     }
/// }
/// ```
pub trait Stateful<In>: 'static {
    /// What the first output carries.
    type Out: Clone + 'static;
    /// What the side output carries.
    type Side: Clone + 'static;
    /// What it keeps for the keys of one group.
    type State: GroupState + 'static;
    /// What its state means beside its form, as the length of a window does: another start must mean the
    /// same by it. Empty where nothing else matters.
    fn meaning(&self) -> String {
        String::new()
    }
    /// What it keeps, for snapshots.
    fn state(&mut self) -> &mut Groups<Self::State>;
    /// Goes on after an epoch with this watermark, with the state that it left.
    fn resume(&mut self, _watermark: EventTime) {}
    /// Takes records of the open epoch and leaves `items` empty.
    fn fold(&mut self, items: &mut Vec<In>, side: &mut Emit<Self::Side>);
    /// Ends the open epoch.
    fn close(&mut self, bound: &Bound, out: &mut Emit<Self::Out>, side: &mut Emit<Self::Side>);
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

/// The two outputs of an operator with state.
pub type Outputs<'s, D, L> =
    (Stream<'s, <L as Stateful<D>>::Out>, Stream<'s, <L as Stateful<D>>::Side>);

impl<'s, D: ExchangeData + Clone> Stream<'s, D> {
    /// Runs `logic` over the stream, one epoch after the other: its two outputs. All records of a key
    /// group reach the same worker: that of its number, modulo the number of workers.
    ///
    /// State: that of `logic`, and the records of epochs that are not its turn yet: at most
    /// [`crate::EpochSettings::inflight_max`] of them, and twice as many in a replay.
    ///
    /// # Errors
    /// When the name is taken, or state from before cannot be read.
    pub fn stateful<L: Stateful<D>>(
        self,
        name: &str,
        about: String,
        side_label: &'static str,
        group: impl Fn(&D) -> KeyGroup + 'static,
        mut logic: L,
    ) -> Result<Outputs<'s, D, L>, BuildError> {
        let flow = self.flow();
        let node = flow.node("operator", name, about, self.origins())?;
        flow.add_state(StateForm::of::<L::State>(name).meaning(logic.meaning()));
        let name = OperatorName::new(name);
        restore(&flow, name.as_str(), &mut logic)?;
        let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
        let input = self.into_timely();
        let mut bindings = builder.new_input(flow.bound(), Pipeline);
        let worker = move |record: &D| u64::from(group(record).0);
        let mut data = builder.new_input(input, Exchange::new(worker));
        let (out, out_stream) = builder.new_output();
        let (side, side_stream) = builder.new_output();
        let (parts, part_stream) = builder.new_output();
        let mut state = Sequence {
            name,
            logic,
            current: flow.resume().state_of() + 1,
            open: BTreeMap::new(),
            snapshot: None,
            held: Held::new(&flow, name.as_str()),
            activator: flow.scope().activator_for(builder.operator_info().address),
            parts: OutputBuilder::from(parts),
            out: OutputBuilder::from(out),
            side: OutputBuilder::from(side),
            out_ready: Emit::default(),
            side_ready: Emit::default(),
        };
        builder.build(move |capabilities| {
            drop(capabilities);
            move |frontiers| {
                name.run(|| {
                    bindings.for_each(|capability, bounds| {
                        for bound in bounds.drain(..) {
                            state.bound(&capability, bound);
                        }
                    });
                    state.go_on_with_snapshot();
                    data.for_each(|capability, items| state.take(&capability, items));
                    while frontiers.iter().all(|f| !f.less_equal(&state.current))
                        && state.close_current()
                    {}
                })
            }
        });
        flow.add_snapshots(part_stream);
        Ok((
            Stream::new(&flow, node, "", out_stream),
            Stream::new(&flow, node, side_label, side_stream),
        ))
    }
}

type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// Has `logic` go on with the state that the epoch before has left.
fn restore<D, L: Stateful<D>>(
    flow: &Flow<'_>,
    name: &str,
    logic: &mut L,
) -> Result<(), BuildError> {
    let Some(from) = flow.found::<RestoreFrom>() else { return Ok(()) };
    let (worker, workers) = flow.worker();
    // As records are routed.
    let own = |group: KeyGroup| usize::from(group.0) % workers == worker;
    for (group, version, bytes) in (from.0)(name, &own)? {
        logic.state().restore(group, version, &bytes).map_err(|reason| BuildError {
            operator: name.to_string(),
            kind: ErrorKind::Fatal,
            source: format!("the stored state of key group {}: {reason}", group.0).into(),
        })?;
    }
    logic.resume(flow.resume().state_watermark());
    Ok(())
}

/// An epoch with something to do.
struct Open<D> {
    at_out: Capability<Epoch>,
    at_side: Capability<Epoch>,
    /// Its binding, and for an epoch with a snapshot the capability to give it out.
    bound: Option<(Bound, Option<Capability<Epoch>>)>,
    early: Vec<Vec<D>>,
}

/// How much an operator keeps, as the page of metrics shows it.
struct Held {
    keys: Gauge,
    bytes: Gauge,
    told: Option<Epoch>,
}

impl Held {
    /// Epochs from one look to the next: a look is at every key group.
    const EVERY: u64 = 64;

    fn new(flow: &Flow<'_>, operator: &str) -> Self {
        let (metrics, worker) = (&flow.job().metrics, flow.worker().0.to_string());
        let of = |family: &GaugeVec| family.with_label_values(&[operator, &worker]);
        Held { keys: of(&metrics.state_keys), bytes: of(&metrics.state_bytes), told: None }
    }

    /// Looks, when it is time.
    fn tell<S: GroupState>(&mut self, epoch: Epoch, state: &Groups<S>) {
        if self.told.is_none_or(|told| epoch >= told + Self::EVERY) {
            self.told = Some(epoch);
            self.keys.set(state.keys() as f64);
            self.bytes.set(state.bytes() as f64);
        }
    }
}

/// Bytes of a snapshot written before other operators have their turn: about two milliseconds' worth.
const SLICE: usize = 1 << 20;

struct Sequence<D, L: Stateful<D>> {
    name: OperatorName,
    logic: L,
    current: Epoch,
    open: BTreeMap<Epoch, Open<D>>,
    /// The snapshot under way, of the epoch before the current one, which waits for it.
    snapshot: Option<Capability<Epoch>>,
    held: Held,
    activator: Activator,
    parts: Output<SnapshotPart>,
    out: Output<L::Out>,
    side: Output<L::Side>,
    out_ready: Emit<L::Out>,
    side_ready: Emit<L::Side>,
}

impl<D: 'static, L: Stateful<D>> Sequence<D, L> {
    fn bound(&mut self, capability: &InputCapability<Epoch>, bound: Bound) {
        let at_parts = bound.snapshot.then(|| capability.delayed(&bound.epoch, 2));
        self.at(capability, bound.epoch).bound = Some((bound, at_parts));
    }

    fn at(&mut self, capability: &InputCapability<Epoch>, epoch: Epoch) -> &mut Open<D> {
        self.open.entry(epoch).or_insert_with(|| Open {
            at_out: capability.delayed(&epoch, 0),
            at_side: capability.delayed(&epoch, 1),
            bound: None,
            early: Vec::new(),
        })
    }

    fn take(&mut self, capability: &InputCapability<Epoch>, items: &mut Vec<D>) {
        let epoch = *capability.least().expect("records carry one epoch");
        let current = self.current;
        assert!(epoch >= current, "epoch {epoch} is closed");
        let turn = epoch == current && self.snapshot.is_none();
        let open = self.at(capability, epoch);
        if turn {
            self.fold(items);
        } else {
            open.early.push(std::mem::take(items));
        }
    }

    /// Writes some of the snapshot under way; when it is whole, folds what has waited for that.
    fn go_on_with_snapshot(&mut self) {
        let Some(at) = self.snapshot.take() else { return };
        let Some(segment) = self.logic.state().snapshot_some(SLICE) else {
            self.snapshot = Some(at);
            return self.activator.activate();
        };
        let (operator, version) = (self.name.as_str(), L::State::VERSION);
        let (epoch, segment) = (*at.time(), Arc::new(segment));
        let part = SnapshotPart { epoch, operator, version, segment };
        self.parts.activate().session(&at).give(part);
        self.fold_early();
    }

    /// Folds what came for the current epoch before it could be.
    fn fold_early(&mut self) {
        let early = self.open.get_mut(&self.current).map(|open| std::mem::take(&mut open.early));
        early.into_iter().flatten().for_each(|mut items| self.fold(&mut items));
    }

    fn fold(&mut self, items: &mut Vec<D>) {
        self.logic.fold(items, &mut self.side_ready);
        debug_assert!(items.is_empty(), "an operator folds all that it is given");
        if !self.side_ready.ready.is_empty() {
            let at = &self.open[&self.current].at_side;
            send(&mut self.side, at, &mut self.side_ready);
        }
    }

    /// Closes the current epoch if its binding is here and no snapshot is under way; false otherwise.
    fn close_current(&mut self) -> bool {
        if self.snapshot.is_some() {
            return false;
        }
        let bound = self.open.get_mut(&self.current).and_then(|open| open.bound.take());
        let Some((bound, snapshot)) = bound else { return false };
        let open = self.open.remove(&self.current).expect("just seen");
        debug_assert!(open.early.is_empty(), "folded when the epoch's turn came");
        self.logic.close(&bound, &mut self.out_ready, &mut self.side_ready);
        send(&mut self.out, &open.at_out, &mut self.out_ready);
        send(&mut self.side, &open.at_side, &mut self.side_ready);
        self.held.tell(self.current, self.logic.state());
        self.current += 1;
        self.snapshot = snapshot;
        match self.snapshot {
            Some(_) => self.activator.activate(),
            None => self.fold_early(),
        }
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
