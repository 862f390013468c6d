//! A row a key, and what changes of them.

use std::cell::RefCell;
use std::rc::Rc;

use tideflow_core::differential_dataflow::{AsCollection, VecCollection};
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::Operator;
use tideflow_core::timely::dataflow::operators::generic::operator::source;
use tideflow_core::{Epoch, Stream};

/// A row that a table has now (1), or has no more (-1).
pub type Change<K, V> = ((K, V), isize);

/// Rows by key, each key's at most one, as they change from epoch to epoch: what [`View`](crate::View)
/// takes in.
///
/// Its state is that of the operator that yields it, and in snapshots. A run that goes on from one
/// begins with the rows that were there.
pub struct Table<'s, K: 'static, V: 'static> {
    pub(super) name: String,
    pub(super) changes: Stream<'s, Change<K, V>>,
    pub(super) restored: Restored<K, V>,
}

/// The rows that a run goes on with. Filled while the operator that has them is built.
pub(super) type Restored<K, V> = Rc<RefCell<Vec<(K, V)>>>;

impl<'s, K: Clone + 'static, V: Clone + 'static> Table<'s, K, V> {
    /// The rows as a collection. Those restored are there since the epoch that they were snapshotted
    /// after: before the first that is replayed.
    pub(super) fn collection(self) -> VecCollection<'s, Epoch, (K, V)> {
        let Table { name, changes, restored } = self;
        let flow = changes.flow();
        let since = flow.resume().state_of();
        let restored = source(flow.scope(), &format!("{name}: restored"), |capability, _| {
            let mut at = Some(capability.delayed(&since));
            move |output| {
                if let Some(at) = at.take() {
                    let rows = restored.take().into_iter();
                    output.session(&at).give_iterator(rows.map(|row| (row, since, 1)));
                }
            }
        });
        let changes = changes.into_timely();
        let changes = changes.unary(Pipeline, &format!("{name}: changes"), |_, _| {
            move |input, output| {
                input.for_each(|capability, changes| {
                    let epoch = *capability.least().expect("changes carry one epoch");
                    let timed = changes.drain(..).map(|(row, diff)| (row, epoch, diff));
                    output.session(&capability).give_iterator(timed);
                });
            }
        });
        restored.as_collection().concat(changes.as_collection())
    }
}
