//! The operator that polls a source, and cuts what it yields into epochs.

use std::collections::VecDeque;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle as ProbeHandle;
use timely::scheduling::Activator;

use super::{Batch, Source, SourceSpec, SourceStart, Sourced};
use crate::flow::{Flow, Mode, Stream};
use crate::operator::{OperatorName, abandon};
use crate::pace::{RETRY, Tick, Word};
use crate::{Bound, BuildError, Ending, Epoch, Job, Part, Rejected};

impl<'s> Flow<'s> {
    /// Adds a source: its records, and what did not decode.
    ///
    /// State: one batch. Fails: as the source says.
    ///
    /// # Errors
    /// When the name is taken, or the source cannot start.
    pub fn source<S: SourceSpec>(
        &self,
        name: &str,
        spec: S,
    ) -> Result<Sourced<'s, <S::Source as Source>::Item>, BuildError> {
        let node = self.node("source", name, spec.about(), &[])?;
        spec.checks().into_iter().for_each(|c| self.check(c));
        self.add_input(name, spec.input(), spec.may_lose());
        let name = OperatorName::new(name);

        let mut builder = OperatorBuilder::new(name.as_str().to_string(), self.scope());
        let mut ticks = builder.new_input(self.ticks(), Pipeline);
        let (data, data_stream) = builder.new_output();
        let (rejects, reject_stream) = builder.new_output();
        let (words, word_stream): (_, StreamVec<'s, Epoch, Word>) = builder.new_output();
        // Leads to no output: what a source learns from it changes nothing that is sent.
        let mut bounds = builder.new_input_connection(self.bound(), Pipeline, []);
        let info = builder.operator_info();
        let (worker, workers) = self.worker();
        let scope = self.scope();
        let source = match self.mode() {
            Mode::Plan => Ok(None),
            Mode::Run => spec
                .start(SourceStart {
                    name,
                    worker,
                    workers,
                    job: self.job().clone(),
                    resume: self.resume().clone(),
                    waker: scope.worker().sync_activator_for(info.address.to_vec()),
                })
                .map(Some),
        };
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                abandon(builder);
                return Err(error);
            }
        };
        let waker = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
        self.job().stop.wake_with(move || {
            let _ = waker.activate(); // fails when the worker has ended, which needs no waking
        });
        let readings = self.job().metrics.readings.with_label_values(&[name.as_str()]);
        let resume = self.resume().clone();
        let mut reader = Reader {
            name,
            source,
            replay_to: resume.last(),
            ends_there: resume.ended(),
            job: self.job().clone(),
            activator: scope.activator_for(info.address),
            readings,
            data: OutputBuilder::from(data),
            rejects: OutputBuilder::from(rejects),
            words: OutputBuilder::from(words),
            batch: Batch::default(),
            open: None,
            cuts: VecDeque::new(),
            published: self.published(),
        };
        builder.build(move |capabilities| {
            let first = resume.state_of() + 1;
            let mut held = capabilities.into_iter().map(|c| c.delayed(&first));
            let mut next = || held.next().expect("a capability an output");
            reader.open = reader.source.is_some().then(|| Open::at(next(), next(), next()));
            move |_frontiers| {
                name.run(|| {
                    ticks.for_each(|_, ticks| ticks.drain(..).for_each(|t| reader.tick(&t)));
                    bounds.for_each(|_, bounds| reader.advanced(bounds.last().copied()));
                    match reader.replaying() {
                        true => reader.replay(),
                        false => reader.read(),
                    }
                })
            }
        });
        self.listen(word_stream);
        Ok((
            Stream::new(self, node, "", data_stream),
            Stream::new(self, node, "rejected", reject_stream),
        ))
    }
}

type Output<D> = OutputBuilder<Epoch, CapacityContainerBuilder<Vec<D>>>;

/// The open epoch of one source on one worker.
struct Open {
    data: Capability<Epoch>,
    rejects: Capability<Epoch>,
    words: Capability<Epoch>,
    bytes: usize,
    hurried: bool,
    stop_told: bool,
}

impl Open {
    fn at(data: Capability<Epoch>, rejects: Capability<Epoch>, words: Capability<Epoch>) -> Self {
        Open { data, rejects, words, bytes: 0, hurried: false, stop_told: false }
    }

    fn downgrade(&mut self, epoch: Epoch) {
        for held in [&mut self.data, &mut self.rejects, &mut self.words] {
            held.downgrade(&epoch);
        }
    }
}

struct Reader<S: Source> {
    name: OperatorName,
    source: Option<S>,
    /// The last epoch that was decided before.
    replay_to: Epoch,
    /// Whether no epoch comes after that.
    ends_there: bool,
    job: Job,
    activator: Activator,
    readings: prometheus::IntCounter,
    data: Output<S::Item>,
    rejects: Output<Rejected>,
    words: Output<Word>,
    batch: Batch<S::Item>,
    open: Option<Open>,
    /// Own cuts not yet published; bounded by the epochs in flight.
    cuts: VecDeque<(Epoch, Vec<Part>)>,
    published: ProbeHandle<Epoch>,
}

/// Batches read before the other operators have their turn.
const BATCHES_A_TURN: usize = 4;

impl<S: Source> Reader<S> {
    /// Cuts: what was read belongs to the tick's epoch.
    fn tick(&mut self, tick: &Tick) {
        let (Some(source), Some(open)) = (self.source.as_mut(), self.open.as_mut()) else { return };
        assert_eq!(*open.words.time(), tick.epoch, "ticks must come in order");
        let mut parts = Vec::new();
        source.cut(tick.wall_ms, &mut parts);
        let words = parts.iter().cloned().map(Word::Part);
        self.words.activate().session(&open.words).give_iterator(words);
        self.cuts.push_back((tick.epoch, parts));
        let out = self.cuts.partition_point(|(epoch, _)| !self.published.less_equal(epoch));
        if let Some((_, parts)) = self.cuts.drain(..out).next_back() {
            source.published(&parts);
        }
        if tick.ending == Ending::No {
            open.downgrade(tick.epoch + 1);
            (open.bytes, open.hurried) = (0, false);
        } else {
            self.end();
        }
    }

    fn advanced(&mut self, bound: Option<Bound>) {
        if let (Some(source), Some(bound)) = (self.source.as_mut(), bound) {
            source.advanced(bound.watermark);
        }
    }

    /// Whether epochs decided before are still to be yielded, or the end that comes after them.
    fn replaying(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|open| *open.words.time() <= self.replay_to || self.ends_there)
    }

    /// Yields records again, in the epochs that were recorded of them: no more of these are under way than of
    /// new ones.
    fn replay(&mut self) {
        self.pass_stop_on();
        for _ in 0..BATCHES_A_TURN {
            if self.replay_done() {
                break;
            }
            let published = self.reached().saturating_sub(self.job.epochs.inflight_max);
            if self.published.less_than(&published) {
                self.activator.activate_after(RETRY);
                return;
            }
            let Some(source) = self.source.as_mut() else { return };
            let more = source.poll(&mut self.batch);
            self.send_replayed();
            if !more && !self.replay_done() {
                return; // the source wakes us
            }
        }
        self.activator.activate();
    }

    /// Lets go of the epochs of which all is yielded; true when that is all of them.
    fn replay_done(&mut self) -> bool {
        let reached = self.reached();
        let Some(open) = self.open.as_mut() else { return true };
        open.downgrade(reached + 1);
        let done = reached == self.replay_to;
        if done && self.ends_there {
            self.end();
        }
        done
    }

    /// The last epoch of those to be replayed of which all is yielded.
    fn reached(&self) -> Epoch {
        self.source.as_ref().map_or(self.replay_to, |source| source.replayed().min(self.replay_to))
    }

    fn send_replayed(&mut self) {
        let Some(open) = self.open.as_ref() else { return };
        debug_assert!(self.batch.items.is_empty(), "promise 7");
        self.batch.bytes = 0;
        for (epoch, (mut items, mut rejected)) in std::mem::take(&mut self.batch.replayed) {
            let at = |held: &Capability<Epoch>| held.delayed(&epoch);
            self.readings.inc_by((items.len() + rejected.len()) as u64);
            count_rejected(&self.job, self.name, &rejected);
            send(&mut self.data, &at(&open.data), &mut items);
            send(&mut self.rejects, &at(&open.rejects), &mut rejected);
        }
    }

    /// Tells the clock, once, that this process was asked to stop.
    fn pass_stop_on(&mut self) {
        let stop = self.job.stop.asked();
        if let Some(open) = self.open.as_mut()
            && stop != Ending::No
            && !open.stop_told
        {
            open.stop_told = true;
            self.words.activate().session(&open.words).give(Word::Stop(stop));
        }
    }

    fn end(&mut self) {
        (self.open, self.source) = (None, None);
    }

    /// Reads into the open epoch until it is full, nothing is there, or it is others' turn.
    fn read(&mut self) {
        self.pass_stop_on();
        let (Some(source), Some(open)) = (self.source.as_mut(), self.open.as_mut()) else { return };
        for _ in 0..BATCHES_A_TURN {
            if open.bytes >= self.job.epochs.bytes_max {
                if !open.hurried {
                    open.hurried = true;
                    self.words.activate().session(&open.words).give(Word::Hurry);
                }
                return; // the next tick brings us back
            }
            let more = source.poll(&mut self.batch);
            open.bytes += std::mem::take(&mut self.batch.bytes);
            let (items, rejected) = (&mut self.batch.items, &mut self.batch.rejected);
            self.readings.inc_by((items.len() + rejected.len()) as u64);
            count_rejected(&self.job, self.name, rejected);
            send(&mut self.data, &open.data, items);
            send(&mut self.rejects, &open.rejects, rejected);
            if !more {
                return; // the source wakes us
            }
        }
        self.activator.activate();
    }
}

/// Gives records out and leaves `items` empty, for the next batch.
fn send<D: Clone + 'static>(out: &mut Output<D>, at: &Capability<Epoch>, items: &mut Vec<D>) {
    if !items.is_empty() {
        out.activate().session(at).give_container(items);
        items.clear();
    }
}

fn count_rejected(job: &Job, name: OperatorName, rejected: &[Rejected]) {
    for r in rejected {
        job.metrics.rejected.with_label_values(&[name.as_str(), r.reason.as_str()]).inc();
    }
}
