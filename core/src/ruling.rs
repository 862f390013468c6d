//! What is decided about an epoch when a part of the graph has failed in it: recorded before anything rests on it,
//! and never decided anew.
//!
//! A part tells worker 0 of epochs that it failed in, and what should become of them. When all workers are done with
//! such an epoch and its binding is durable, one ruling is appended to the log behind it; when that is durable too,
//! all workers are told.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;
use timely::scheduling::SyncActivator;

use crate::operator::OperatorName;
use crate::{BindingLog, Epoch, Flow};

/// What was decided about one epoch of one part of the graph. A program that does not know a field of it could not
/// act on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    /// The epoch.
    pub epoch: Epoch,
    /// The part's name.
    pub operator: String,
    /// What becomes of the epoch's records there, in words of the part's own.
    pub ruled: String,
}

/// The log of worker 0, once the graph is built, for those who write to it.
#[derive(Clone, Default)]
pub(crate) struct SharedLog {
    log: Rc<RefCell<Option<Box<dyn BindingLog>>>>,
    wake: Rc<RefCell<Vec<SyncActivator>>>,
}

impl SharedLog {
    /// Wakes this operator when something has become durable. Before the log is there.
    pub fn wake_also(&self, operator: SyncActivator) {
        self.wake.borrow_mut().push(operator);
    }

    pub fn set(&self, mut log: Box<dyn BindingLog>) {
        let operators = self.wake.take();
        log.wake_with(Box::new(move || {
            for operator in &operators {
                let _ = operator.activate();
            }
        }));
        *self.log.borrow_mut() = Some(log);
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut dyn BindingLog) -> T) -> T {
        act(&mut **self.log.borrow_mut().as_mut().expect("operators run when the graph is built"))
    }
}

/// Rulings that wait, where worker 0 decides.
#[derive(Default)]
struct Court {
    /// What was said first of each epoch that some worker failed in.
    heard: BTreeMap<Epoch, (Capability<Epoch>, String)>,
    /// Not durable yet, by their numbers in the log.
    appended: VecDeque<(u64, Capability<Epoch>, Ruling)>,
}

impl<'s> Flow<'s> {
    /// Has it recorded what becomes of the epochs in which a part of this name has failed: `failures` says so, on any
    /// worker, and what should become of them. Returns one ruling for each, on every worker. Its frontier passes an
    /// epoch when all workers are done with it and what was ruled is durable; no ruling: nobody has failed.
    ///
    /// Rulings that earlier starts have recorded are in [`Resume::rulings`](crate::Resume::rulings); there must be no
    /// failure in their epochs, nor in any that may be [published](crate::Resume::published), if it rests on them.
    pub fn rule(
        &self,
        name: &str,
        failures: StreamVec<'s, Epoch, String>,
    ) -> StreamVec<'s, Epoch, Ruling> {
        let operator = OperatorName::new(&format!("{name}: rulings"));
        let mut builder = OperatorBuilder::new(operator.as_str().to_string(), self.scope());
        let (rulings, stream) = builder.new_output::<Vec<Ruling>>();
        let to_worker_0: fn(&String) -> u64 = |_| 0;
        let mut failures = builder.new_input(failures, Exchange::new(to_worker_0));
        builder.new_input_connection(self.durable(), Pipeline, []);
        let mut rulings = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(rulings);
        let (name, log) = (name.to_string(), self.log());
        let address = builder.operator_info().address.to_vec();
        log.wake_also(self.scope().worker().sync_activator_for(address));
        builder.build_reschedule(move |_| {
            let mut court = Court::default();
            move |frontiers| {
                operator.run(|| {
                    failures.for_each(|capability, said| {
                        let epoch = *capability.least().expect("records carry one epoch");
                        if let Some(said) = said.drain(..).next() {
                            let at = || (capability.delayed(&epoch, 0), said);
                            court.heard.entry(epoch).or_insert_with(at);
                        }
                    });
                    let passed = |epoch: &Epoch| frontiers.iter().all(|f| !f.less_equal(epoch));
                    while let Some(first) = court.heard.first_entry()
                        && passed(first.key())
                    {
                        let (epoch, (at, ruled)) = first.remove_entry();
                        tracing::warn!(operator = name, epoch, ruled, "an epoch is ruled upon");
                        let ruling = Ruling { epoch, operator: name.clone(), ruled };
                        let number = log.with(|log| log.rule(ruling.clone()));
                        court.appended.push_back((number, at, ruling));
                    }
                    if court.appended.is_empty() {
                        return !court.heard.is_empty();
                    }
                    let durable = log.with(|log| log.rulings_durable());
                    while let Some((_, at, ruling)) =
                        court.appended.pop_front_if(|(number, ..)| *number <= durable)
                    {
                        rulings.activate().session(&at).give(ruling);
                    }
                    !court.appended.is_empty() || !court.heard.is_empty()
                })
            }
        });
        stream.broadcast()
    }
}
