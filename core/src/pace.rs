//! The clock and the bindings: who decides where an epoch ends, and who writes it down.
//!
//! One clock, on worker 0, sends a tick an epoch to every worker. Sources cut where they are when the
//! tick arrives and say so; the bindings operator, also on worker 0, puts the cuts together. Any cut
//! is right as long as it is written down before it is used.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::generic::{InputHandleCore, OutputBuilder};
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::Activator;

use crate::operator::OperatorName;
use crate::{Binding, BindingLog, Bound, Ending, Epoch, EventTime, Job, Part, PartState};

/// The end of one epoch and the start of the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    pub epoch: Epoch,
    pub wall_ms: i64,
    pub ending: Ending,
}

/// What a source tells the bindings operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// Where one partition was cut.
    Part(Part),
    /// The open epoch is full: end it early.
    Hurry,
    /// This process was asked to stop.
    Stop(Ending),
}

/// What the bindings operator tells the clock; both live on worker 0.
pub(crate) struct Pace {
    hurry: Cell<bool>,
    ending: Cell<Ending>,
    clock: RefCell<Option<Activator>>,
}

impl Pace {
    pub fn new() -> Rc<Self> {
        Rc::new(Pace {
            hurry: Cell::new(false),
            ending: Cell::new(Ending::No),
            clock: RefCell::new(None),
        })
    }

    fn wake_clock(&self) {
        if let Some(clock) = &*self.clock.borrow() {
            clock.activate();
        }
    }

    fn end(&self, ending: Ending) {
        if self.ending.get() == Ending::No {
            self.ending.set(ending);
            self.wake_clock();
        }
    }
}

/// The wall clock in milliseconds since 1970. Only the clock may ask: results must not depend on it.
#[expect(clippy::disallowed_methods, reason = "the one place where wall-clock time enters a graph")]
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Sends one tick an epoch to all workers, while no more epochs are in flight than allowed.
pub(crate) fn clock<'s>(
    scope: Scope<'s, Epoch>,
    job: &Job,
    pace: Rc<Pace>,
    published: ProbeHandle<Epoch>,
) -> StreamVec<'s, Epoch, Tick> {
    let (interval, inflight_max) = (job.epochs.interval, job.epochs.inflight_max);
    let name = OperatorName::new("epoch clock");
    let ticks = source::<_, CapacityContainerBuilder<Vec<Tick>>, _, _>(
        scope,
        name.as_str(),
        |capability, info| {
            let activator = scope.activator_for(info.address);
            *pace.clock.borrow_mut() = Some(activator.clone());
            let mut capability = (scope.index() == 0).then(|| capability.delayed(&1));
            let mut next = Instant::now() + interval;
            move |output| {
                name.run(|| {
                    let Some(held) = capability.as_mut() else { return };
                    let (now, epoch, ending) = (Instant::now(), *held.time(), pace.ending.get());
                    let room = !published.less_than(&epoch.saturating_sub(inflight_max));
                    let due = now >= next || pace.hurry.get() || ending != Ending::No;
                    if room && due {
                        output.session(&*held).give(Tick { epoch, wall_ms: wall_ms(), ending });
                        pace.hurry.set(false);
                        if ending != Ending::No {
                            capability = None;
                            return;
                        }
                        held.downgrade(&(epoch + 1));
                        next = if next + interval > now { next + interval } else { now + interval };
                    }
                    let wait = if room { next.saturating_duration_since(now) } else { RETRY };
                    activator.activate_after(wait);
                });
            }
        },
    );
    ticks.broadcast()
}

/// How soon the clock looks again while too many epochs are in flight.
const RETRY: Duration = Duration::from_millis(1);

type Words = InputHandleCore<
    Epoch,
    Vec<Word>,
    <Exchange<Word, fn(&Word) -> u64> as timely::dataflow::channels::pact::ParallelizationContract<
        Epoch,
        Vec<Word>,
    >>::Puller,
>;
type Ticks = InputHandleCore<
    Epoch,
    Vec<Tick>,
    <Pipeline as timely::dataflow::channels::pact::ParallelizationContract<Epoch, Vec<Tick>>>::Puller,
>;
type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// The bindings operator under construction: every source adds an input.
pub(crate) struct Bindings<'s> {
    builder: OperatorBuilder<'s, Epoch>,
    ticks: Ticks,
    words: Vec<Words>,
    bound: Output<Bound>,
    durable: Output<()>,
}

impl<'s> Bindings<'s> {
    /// Starts construction; returns the broadcast bindings and the stream whose frontier is durability.
    pub fn new(
        scope: Scope<'s, Epoch>,
        ticks: StreamVec<'s, Epoch, Tick>,
    ) -> (Self, StreamVec<'s, Epoch, Bound>, StreamVec<'s, Epoch, ()>) {
        let mut builder = OperatorBuilder::new("epoch bindings".to_string(), scope);
        let ticks = builder.new_input(ticks, Pipeline);
        let (bound_out, bound) = builder.new_output::<Vec<Bound>>();
        let (durable_out, durable) = builder.new_output::<Vec<()>>();
        let (bound_out, durable_out) =
            (OutputBuilder::from(bound_out), OutputBuilder::from(durable_out));
        let bindings =
            Bindings { builder, ticks, words: Vec::new(), bound: bound_out, durable: durable_out };
        (bindings, bound.broadcast(), durable)
    }

    /// Adds a source's words.
    pub fn listen(&mut self, words: StreamVec<'s, Epoch, Word>) {
        let to_worker_0: fn(&Word) -> u64 = |_| 0;
        self.words.push(self.builder.new_input(words, Exchange::new(to_worker_0)));
    }

    /// Ends construction.
    pub fn build(
        self,
        scope: Scope<'s, Epoch>,
        job: &Job,
        pace: Rc<Pace>,
        published: ProbeHandle<Epoch>,
        mut log: Box<dyn BindingLog>,
    ) {
        let Bindings { builder, mut ticks, mut words, mut bound, mut durable } = self;
        let name = OperatorName::new("epoch bindings");
        let wake = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
        log.wake_with(Box::new(move || {
            let _ = wake.activate();
        }));
        let mut state = Open { pace, published, metrics: job.metrics.clone(), ..Open::new(log) };
        let first = scope.index() == 0;
        builder.build_reschedule(move |capabilities| {
            drop(capabilities);
            move |frontiers| {
                name.run(|| {
                    ticks.for_each(|capability, ticks| {
                        ticks.drain(..).filter(|_| first).for_each(|t| state.tick(&capability, t));
                    });
                    for input in &mut words {
                        input.for_each(|capability, words| {
                            let epoch = *capability.least().expect("words carry one epoch");
                            words.drain(..).for_each(|w| state.word(epoch, w));
                        });
                    }
                    while let Some(epoch) = state.next()
                        && frontiers.iter().all(|f| !f.less_equal(&epoch))
                    {
                        state.close(epoch, &mut bound);
                    }
                    state.drop_durable(&mut durable)
                })
            }
        });
    }
}

/// Bindings not complete yet, and complete ones not durable yet.
struct Open {
    ticks: BTreeMap<Epoch, (Tick, Capability<Epoch>, Capability<Epoch>)>,
    parts: BTreeMap<Epoch, Vec<Part>>,
    undurable: VecDeque<(Epoch, Capability<Epoch>)>,
    watermark: EventTime,
    log: Box<dyn BindingLog>,
    pace: Rc<Pace>,
    published: ProbeHandle<Epoch>,
    metrics: std::sync::Arc<crate::Metrics>,
}

impl Open {
    fn new(log: Box<dyn BindingLog>) -> Self {
        Open {
            ticks: BTreeMap::new(),
            parts: BTreeMap::new(),
            undurable: VecDeque::new(),
            watermark: EventTime::MIN,
            log,
            pace: Pace::new(),
            published: ProbeHandle::new(),
            metrics: Default::default(),
        }
    }

    fn tick(&mut self, capability: &InputCapability<Epoch>, tick: Tick) {
        let at = |port| capability.delayed(&tick.epoch, port);
        self.ticks.insert(tick.epoch, (tick.clone(), at(0), at(1)));
    }

    fn word(&mut self, epoch: Epoch, word: Word) {
        match word {
            Word::Part(part) => self.parts.entry(epoch).or_default().push(part),
            Word::Hurry => {
                self.pace.hurry.set(true);
                self.pace.wake_clock();
            }
            Word::Stop(ending) => self.pace.end(ending),
        }
    }

    fn next(&self) -> Option<Epoch> {
        self.ticks.first_key_value().map(|(epoch, _)| *epoch)
    }

    fn close(&mut self, epoch: Epoch, bound: &mut Output<Bound>) {
        let (tick, at_bound, at_durable) =
            self.ticks.remove(&epoch).expect("only an open epoch is closed");
        let mut parts = self.parts.remove(&epoch).unwrap_or_default();
        parts.sort();
        let exhausted = !parts.is_empty() && parts.iter().all(|p| p.state == PartState::Ended);
        self.watermark = if exhausted || tick.ending == Ending::Drain {
            EventTime::MAX
        } else {
            self.watermark.max(global_watermark(&parts))
        };
        if exhausted {
            self.pace.end(Ending::Drain);
        }
        let (watermark, wall_ms) = (self.watermark, tick.wall_ms);
        bound.activate().session(&at_bound).give(Bound { epoch, watermark, wall_ms });
        self.show(epoch, wall_ms);
        self.log.append(Binding { epoch, parts, watermark, wall_ms, ending: tick.ending });
        self.undurable.push_back((epoch, at_durable));
    }

    fn show(&self, epoch: Epoch, wall_ms: i64) {
        self.metrics.epoch.set(epoch as f64);
        let open = self.published.with_frontier(|f| f.first().copied());
        self.metrics.epoch_lag.set(open.map_or(0.0, |open| epoch.saturating_sub(open) as f64));
        if self.watermark > EventTime::MIN && self.watermark < EventTime::MAX {
            self.metrics.watermark.set(self.watermark.0 as f64 / 1e3);
            self.metrics.watermark_delay.set((wall_ms - self.watermark.0) as f64 / 1e3);
        }
    }

    /// Lets the durable frontier pass what the log holds; true while something is not durable yet.
    fn drop_durable(&mut self, durable: &mut Output<()>) -> bool {
        let through = self.log.durable();
        while self.undurable.front().is_some_and(|(epoch, _)| *epoch <= through) {
            self.undurable.pop_front();
        }
        let _ = durable.activate();
        !self.undurable.is_empty()
    }
}

/// The least watermark of the partitions that hold time back; nothing moves while none does.
fn global_watermark(parts: &[Part]) -> EventTime {
    let active = parts.iter().filter(|p| p.state == PartState::Active);
    active.map(|p| p.watermark).min().unwrap_or(EventTime::MIN)
}
