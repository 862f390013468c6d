//! The binder: writes down what each epoch is, and announces it.
//!
//! An operator on worker 0. It puts the cuts of all sources together as one binding an epoch, has it
//! recorded, and tells all workers.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::{InputHandleCore, OutputBuilder};
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, StreamVec};

use crate::binding::global_watermark;
use crate::choice::{Choices, Opening};
use crate::operator::OperatorName;
use crate::pace::{Pace, RETRY, Tick, Word};
use crate::ruling::SharedLog;
use crate::{
    Backtest, Binding, Bound, Ending, Epoch, EventTime, Job, Metrics, Part, PartState, Resume,
    Standing,
};

type Input<D, P> =
    InputHandleCore<Epoch, Vec<D>, <P as ParallelizationContract<Epoch, Vec<D>>>::Puller>;
type Words = Input<Word, Exchange<Word, fn(&Word) -> u64>>;
type Ticks = Input<Tick, Pipeline>;
type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// The operator under construction: every source adds an input.
pub(crate) struct Binder<'s> {
    builder: OperatorBuilder<'s, Epoch>,
    ticks: Ticks,
    words: Vec<Words>,
    out: Outputs,
}

/// The outputs, in their order.
struct Outputs {
    bound: Output<Bound>,
    durable: Output<()>,
    standings: Output<Standing>,
    openings: Output<Opening>,
}

const BOUND: usize = 0;
const DURABLE: usize = 1;
const STANDINGS: usize = 2;
const OPENINGS: usize = 3;

/// What it yields.
pub(crate) struct Bounds<'s> {
    /// Every epoch's bound, on every worker.
    pub bound: StreamVec<'s, Epoch, Bound>,
    /// Its frontier is what is durable.
    pub durable: StreamVec<'s, Epoch, ()>,
    /// Where the job stands after each epoch with a snapshot, on worker 0.
    pub standings: StreamVec<'s, Epoch, Standing>,
    /// What every epoch opens with, on every worker, where something is chosen.
    pub openings: StreamVec<'s, Epoch, Opening>,
}

impl<'s> Binder<'s> {
    /// Starts construction.
    pub fn new(scope: Scope<'s, Epoch>, ticks: StreamVec<'s, Epoch, Tick>) -> (Self, Bounds<'s>) {
        let mut builder = OperatorBuilder::new("epoch bindings".to_string(), scope);
        let ticks = builder.new_input(ticks, Pipeline);
        let (bound_out, bound) = builder.new_output::<Vec<Bound>>();
        let (durable_out, durable) = builder.new_output::<Vec<()>>();
        let (standings_out, standings) = builder.new_output::<Vec<Standing>>();
        let (openings_out, openings) = builder.new_output::<Vec<Opening>>();
        let out = Outputs {
            bound: OutputBuilder::from(bound_out),
            durable: OutputBuilder::from(durable_out),
            standings: OutputBuilder::from(standings_out),
            openings: OutputBuilder::from(openings_out),
        };
        let binder = Binder { builder, ticks, words: Vec::new(), out };
        let (bound, openings) = (bound.broadcast(), openings.broadcast());
        (binder, Bounds { bound, durable, standings, openings })
    }

    /// Adds a source's words.
    pub fn listen(&mut self, words: StreamVec<'s, Epoch, Word>) {
        let to_worker_0: fn(&Word) -> u64 = |_| 0;
        self.words.push(self.builder.new_input(words, Exchange::new(to_worker_0)));
    }

    /// Ends construction. What was recorded before is announced anew, as it was.
    pub fn build(
        self,
        scope: Scope<'s, Epoch>,
        job: &Job,
        resume: Rc<Resume>,
        (pace, published, snapshot_every): (Rc<Pace>, ProbeHandle<Epoch>, u64),
        choices: Choices,
        log: SharedLog,
    ) {
        let Binder { builder, mut ticks, mut words, out } = self;
        let name = OperatorName::new("epoch bindings");
        let address = builder.operator_info().address;
        log.wake_also(scope.worker().sync_activator_for(address.to_vec()));
        let again = scope.activator_for(address);
        let mut state = Open {
            watermark: resume.watermark(),
            // A start that is killed before its first snapshot must not leave more and more to replay.
            snapshot_every: snapshot_every.min(job.epochs.replay_max),
            last_snapshot: resume.state_of(),
            backtest: job.backtest.clone(),
            pace,
            published,
            metrics: job.metrics.clone(),
            log,
            choices,
            out,
            ticks: BTreeMap::new(),
            parts: BTreeMap::new(),
            undurable: VecDeque::new(),
        };
        let first = scope.index() == 0;
        builder.build_reschedule(move |mut capabilities| {
            // Nothing is bound before the first epoch to replay.
            let next = resume.state_of() + 1;
            let at = || [BOUND, STANDINGS, OPENINGS].map(|port| capabilities[port].delayed(&next));
            if first {
                let first = resume.last() + 1;
                state.open(&capabilities[OPENINGS].delayed(&first), first);
            }
            let mut recorded = first.then(|| Recorded { resume, told: 0, at: at() });
            capabilities.clear();
            move |frontiers| {
                name.run(|| {
                    if let Some(some) = &mut recorded {
                        match state.tell_again(some) {
                            true => recorded = None,
                            false => again.activate_after(RETRY),
                        }
                    }
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
                        state.close(epoch);
                    }
                    state.drop_durable()
                })
            }
        });
    }
}

/// Epochs that are announced anew ahead of those that are published. Each one that is under way costs every
/// operator some memory.
const TOLD_AHEAD: usize = 64;

/// What was recorded before, so much of it announced.
struct Recorded {
    resume: Rc<Resume>,
    told: usize,
    /// Of the bounds, the standings and the openings.
    at: [Capability<Epoch>; 3],
}

/// Bindings not complete yet, and complete ones not durable yet.
struct Open {
    ticks: BTreeMap<Epoch, (Tick, [Capability<Epoch>; 3])>,
    parts: BTreeMap<Epoch, Vec<Part>>,
    undurable: VecDeque<(Epoch, Capability<Epoch>)>,
    watermark: EventTime,
    snapshot_every: u64,
    last_snapshot: Epoch,
    backtest: Option<Backtest>,
    log: SharedLog,
    choices: Choices,
    out: Outputs,
    pace: Rc<Pace>,
    published: ProbeHandle<Epoch>,
    metrics: Arc<Metrics>,
}

impl Open {
    fn tick(&mut self, capability: &InputCapability<Epoch>, tick: Tick) {
        let next = tick.epoch + 1;
        self.open(&capability.delayed(&next, OPENINGS), next);
        let at = [BOUND, DURABLE, STANDINGS].map(|port| capability.delayed(&tick.epoch, port));
        self.ticks.insert(tick.epoch, (tick, at));
    }

    /// Says what an epoch opens with.
    fn open(&mut self, at: &Capability<Epoch>, epoch: Epoch) {
        if !self.choices.is_empty() {
            let opening = self.choices.open(epoch);
            self.out.openings.activate().session(at).give(opening);
        }
    }

    fn word(&mut self, epoch: Epoch, word: Word) {
        match word {
            Word::Part(part) => self.parts.entry(epoch).or_default().push(part),
            Word::Ready(ready) => self.choices.hear(ready),
            Word::Hurry => self.pace.hurry(),
            Word::Stop(ending) => self.pace.end(ending),
        }
    }

    fn next(&self) -> Option<Epoch> {
        self.ticks.first_key_value().map(|(epoch, _)| *epoch)
    }

    fn close(&mut self, epoch: Epoch) {
        let (tick, [at_bound, at_durable, at_standing]) =
            self.ticks.remove(&epoch).expect("only an open epoch is closed");
        let mut parts = self.parts.remove(&epoch).unwrap_or_default();
        parts.sort();
        let exhausted = !parts.is_empty() && parts.iter().all(|p| p.state == PartState::Ended);
        // The past goes on behind a backtest: what is open then stays so.
        let last = if self.backtest.is_some() { Ending::Suspend } else { Ending::Drain };
        let drains = exhausted && last == Ending::Drain || tick.ending == Ending::Drain;
        self.watermark = match drains {
            true => EventTime::MAX,
            false => self.watermark.max(global_watermark(&parts)),
        };
        if exhausted {
            self.pace.end(last);
        }
        self.backtest.iter().for_each(|backtest| backtest.reach(self.watermark));
        let (watermark, wall_ms, ending) = (self.watermark, tick.wall_ms, tick.ending);
        let chosen = self.choices.close(epoch);
        let binding = Binding { epoch, parts, watermark, wall_ms, ending, chosen };
        let snapshot = self.snapshot_due(epoch, ending != Ending::No);
        self.out.bound.activate().session(&at_bound).give(binding.bound(snapshot));
        if snapshot {
            self.out.standings.activate().session(&at_standing).give(binding.standing());
        }
        self.show(epoch, wall_ms);
        self.log.with(|log| log.append(binding));
        self.undurable.push_back((epoch, at_durable));
    }

    /// Announces what was recorded, a little ahead of what of it is published; whether that was all.
    fn tell_again(&mut self, recorded: &mut Recorded) -> bool {
        let Recorded { resume, told, at } = recorded;
        while let Some((again, binding)) = resume.told_again(*told, self.snapshot_every > 0) {
            let epoch = again.epoch;
            if *told >= TOLD_AHEAD && self.published.less_than(&(epoch - TOLD_AHEAD as u64)) {
                return false;
            }
            if again.snapshot {
                self.pace.snapshot_begins(epoch);
                let mut standings = self.out.standings.activate();
                standings.session(&at[1].delayed(&epoch)).give(binding.standing());
            }
            self.out.bound.activate().session(&at[0].delayed(&epoch)).give(again);
            if !self.choices.is_empty() {
                let opening = self.choices.opened(epoch, &binding.chosen);
                self.out.openings.activate().session(&at[2].delayed(&epoch)).give(opening);
            }
            at.iter_mut().for_each(|capability| capability.downgrade(&(epoch + 1)));
            *told += 1;
        }
        true
    }

    /// Whether a snapshot begins after this epoch: one at a time, and always one at the end.
    fn snapshot_due(&mut self, epoch: Epoch, end: bool) -> bool {
        let every = self.snapshot_every;
        let regular = !self.pace.is_over() && epoch - self.last_snapshot >= every;
        let due = every > 0 && (end || regular);
        if !due || self.pace.snapshot_under_way() {
            return false;
        }
        self.pace.snapshot_begins(epoch);
        self.last_snapshot = epoch;
        true
    }

    fn show(&self, epoch: Epoch, wall_ms: i64) {
        self.metrics.epoch.set(epoch as f64);
        let open = self.published.with_frontier(|f| f.first().copied());
        self.metrics.epoch_lag.set(open.map_or(0.0, |open| epoch.saturating_sub(open) as f64));
        if self.snapshot_every > 0 {
            self.metrics.snapshot_lag.set(epoch.saturating_sub(self.pace.counts()) as f64);
        }
        if self.watermark > EventTime::MIN && self.watermark < EventTime::MAX {
            self.metrics.watermark.set(self.watermark.0 as f64 / 1e3);
            let delay = wall_ms.saturating_sub(self.watermark.0);
            self.metrics.watermark_delay.set(delay as f64 / 1e3);
        }
    }

    /// Lets the durable frontier pass what the log holds; true while something is not durable yet.
    fn drop_durable(&mut self) -> bool {
        let through = self.log.with(|log| log.durable());
        while self.undurable.front().is_some_and(|(epoch, _)| *epoch <= through) {
            self.undurable.pop_front();
        }
        let _ = self.out.durable.activate();
        !self.undurable.is_empty()
    }
}
