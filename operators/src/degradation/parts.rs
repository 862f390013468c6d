//! Counts in two stages: a worker adds up what it sees in an epoch, and sends that on when the epoch has ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::container::CapacityContainerBuilder;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::{Capability, InputCapability};
use tideflow_core::timely::progress::frontier::MutableAntichain;
use tideflow_core::{Epoch, Event, EventTime};
use tideflow_models::VersionId;

/// What one worker has counted in one epoch, of a version and a window.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Part<C> {
    pub model: VersionId,
    /// A time in the window.
    pub at: EventTime,
    pub counts: C,
}

impl<C> Event for Part<C> {
    fn event_time(&self) -> EventTime {
        self.at
    }
}

/// What a worker counts in the epochs that are open.
pub(super) struct Counting<T, C: 'static> {
    open: BTreeMap<Epoch, (Capability<Epoch>, T)>,
    out: OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Part<C>>>>,
}

impl<T: Default, C: Clone + 'static> Counting<T, C> {
    pub fn new(out: OutputBuilder<Epoch, CapacityContainerBuilder<Vec<Part<C>>>>) -> Self {
        Counting { open: BTreeMap::new(), out }
    }

    /// What is counted in the epoch that this comes from an input with.
    pub fn at(&mut self, capability: &InputCapability<Epoch>) -> &mut T {
        let epoch = *capability.least().expect("records carry one epoch");
        let open = self.open.entry(epoch);
        &mut open.or_insert_with(|| (capability.delayed(&epoch, 0), T::default())).1
    }

    /// Sends what was counted in the epochs of which no input has more to come.
    pub fn end<I: IntoIterator<Item = Part<C>>>(
        &mut self,
        frontiers: &[MutableAntichain<Epoch>],
        parts: impl Fn(T) -> I,
    ) {
        let ended = |epoch: &Epoch| frontiers.iter().all(|frontier| !frontier.less_equal(epoch));
        while let Some(first) = self.open.first_entry()
            && ended(first.key())
        {
            let (at, counted) = first.remove();
            self.out.activate().session(&at).give_iterator(parts(counted).into_iter());
        }
    }
}
