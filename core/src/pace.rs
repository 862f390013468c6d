//! The clock: who decides when an epoch ends.
//!
//! One clock, on worker 0, sends a tick an epoch to every worker. Sources cut where they are when the
//! tick arrives and say so; the [binder](crate::binder), also on worker 0, puts the cuts together. Any cut
//! is right as long as it is written down before it is used.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::operator::source;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::Activator;

use crate::choice::Ready;
use crate::operator::OperatorName;
use crate::{Ending, Epoch, EpochSettings, Job, Part, Resume};

/// The end of one epoch and the start of the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    pub epoch: Epoch,
    pub wall_ms: i64,
    pub ending: Ending,
}

/// What a source tells the binder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// Where one partition was cut.
    Part(Part),
    /// A worker can go on with what is to be chosen.
    Ready(Ready),
    /// The open epoch is full: end it early.
    Hurry,
    /// This process was asked to stop.
    Stop(Ending),
}

/// What the operators of worker 0 that pace a graph tell each other.
pub(crate) struct Pace {
    hurry: Cell<bool>,
    ending: Cell<Ending>,
    /// The epoch of the snapshot under way, if one is.
    snapshot: Cell<Option<Epoch>>,
    /// The epoch of the last snapshot that counts, or that this run goes on from.
    counts: Cell<Epoch>,
    /// Epochs wait for a snapshot, which was told.
    waits: Cell<bool>,
    /// The last epoch is cut.
    over: Cell<bool>,
    clock: RefCell<Option<Activator>>,
}

impl Pace {
    pub fn new(resume: &Resume) -> Rc<Self> {
        Rc::new(Pace {
            hurry: Cell::new(false),
            ending: Cell::new(Ending::No),
            snapshot: Cell::new(None),
            counts: Cell::new(resume.state_of()),
            waits: Cell::new(false),
            over: Cell::new(false),
            clock: RefCell::new(None),
        })
    }

    /// How the epoch that is cut now ends. The last one has a snapshot, and waits for the one before it.
    fn ending_now(&self) -> Ending {
        match self.snapshot_under_way() {
            true => Ending::No,
            false => self.ending.get(),
        }
    }

    /// Another snapshot may begin: that of this epoch is whole.
    pub fn snapshot_taken(&self, epoch: Epoch) {
        self.counts.set(self.counts.get().max(epoch));
        if self.snapshot.get() == Some(epoch) {
            self.snapshot.set(None);
        }
    }

    /// The snapshot of this epoch begins.
    pub fn snapshot_begins(&self, epoch: Epoch) {
        self.snapshot.set(Some(epoch));
    }

    pub fn snapshot_under_way(&self) -> bool {
        self.snapshot.get().is_some()
    }

    /// The epoch of the last snapshot that counts, or that this run goes on from; 0 without one.
    pub fn counts(&self) -> Epoch {
        self.counts.get()
    }

    /// Whether a start may have to replay this epoch with all that no snapshot that counts has. Where none is
    /// under way one begins with the next epoch that is cut: each start has one such.
    fn may_be_replayed(&self, epoch: Epoch, replay_max: u64) -> bool {
        let may = epoch - self.counts() <= replay_max || !self.snapshot_under_way();
        if !may && !self.waits.replace(true) {
            let after = self.counts();
            tracing::warn!(after, replay_max, "no further epoch is begun before a snapshot counts");
        }
        self.waits.set(!may);
        may
    }

    /// Whether the last epoch is cut.
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// The open epoch is full.
    pub fn hurry(&self) {
        self.hurry.set(true);
        self.wake_clock();
    }

    fn wake_clock(&self) {
        if let Some(clock) = &*self.clock.borrow() {
            clock.activate();
        }
    }

    /// The graph ends, at the next cut that may be the last.
    pub fn end(&self, ending: Ending) {
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

/// Sends one tick an epoch to all workers, while no more epochs are in flight than allowed, nor would have
/// to be replayed. The first comes when everything decided before is published: no source hears a tick
/// while it replays.
pub(crate) fn clock<'s>(
    scope: Scope<'s, Epoch>,
    job: &Job,
    resume: &Resume,
    pace: Rc<Pace>,
    published: ProbeHandle<Epoch>,
) -> StreamVec<'s, Epoch, Tick> {
    let EpochSettings { interval, inflight_max, replay_max, .. } = job.epochs;
    let (first, ticks) = (resume.last() + 1, scope.index() == 0 && !resume.ended());
    let name = OperatorName::new("epoch clock");
    let ticks = source::<_, CapacityContainerBuilder<Vec<Tick>>, _, _>(
        scope,
        name.as_str(),
        |capability, info| {
            let activator = scope.activator_for(info.address);
            *pace.clock.borrow_mut() = Some(activator.clone());
            let mut capability = ticks.then(|| capability.delayed(&first));
            let mut next = Instant::now() + interval;
            move |output| {
                name.run(|| {
                    let Some(held) = capability.as_mut() else { return };
                    let (now, epoch, ending) = (Instant::now(), *held.time(), pace.ending_now());
                    let oldest = first.max(epoch.saturating_sub(inflight_max));
                    let room =
                        !published.less_than(&oldest) && pace.may_be_replayed(epoch, replay_max);
                    let due = now >= next || pace.hurry.get() || ending != Ending::No;
                    if room && due {
                        output.session(&*held).give(Tick { epoch, wall_ms: wall_ms(), ending });
                        pace.hurry.set(false);
                        if ending != Ending::No {
                            pace.over.set(true);
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

/// How soon those look again who wait until epochs are published.
pub(crate) const RETRY: Duration = Duration::from_millis(1);
