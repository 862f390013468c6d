//! From tables to collections, and from collections to what has changed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tideflow_core::differential_dataflow::consolidation::consolidate;
use tideflow_core::differential_dataflow::{ExchangeData, VecCollection};
use tideflow_core::timely::dataflow::channels::pact::Exchange;
use tideflow_core::timely::dataflow::operators::Capability;
use tideflow_core::timely::dataflow::operators::generic::Operator;
use tideflow_core::{BuildError, Epoch, Flow, Key, KeyGroup, OperatorName, Stream, Update};

use super::table::{Change, Table};

/// A part of a graph that is written with the operators of differential dataflow, and so follows every
/// change of its tables: what no longer holds is taken back.
///
/// A collection carries rows at epochs. Each operator costs what a change touches, not what there is;
/// `count` over differences that add up (numbers, [`Fixed`](crate::Fixed), tuples of them) costs the
/// same whatever a group's size, `reduce` looks at the group.
///
/// State: what differential keeps for joins and reductions. It is not in snapshots: a run that goes on
/// makes it anew from the rows of its tables, which are. What differential keeps of earlier epochs is
/// let go as they pass, unless a graph holds on to an arrangement's trace by hand.
///
/// A view that is written differently at the next start tells what changes from there on, not what it
/// would have told before: its changelog is begun anew under another name.
pub struct View<'s> {
    flow: Flow<'s>,
    origins: RefCell<Vec<(usize, &'static str)>>,
}

impl<'s> View<'s> {
    /// A view of no table yet.
    pub fn new(flow: &Flow<'s>) -> Self {
        View { flow: flow.clone(), origins: RefCell::default() }
    }

    /// A table as a collection of its rows.
    pub fn collection<K: Key, V: Clone + 'static>(
        &self,
        table: Table<'s, K, V>,
    ) -> VecCollection<'s, Epoch, (K, V)> {
        self.origins.borrow_mut().extend(table.changes.origins());
        table.collection()
    }

    /// What changes of a collection with one value a key: for each epoch the keys that have another value
    /// than before, in order of the keys, once each. In the graph's plan it comes from all tables that
    /// the view has taken in before.
    ///
    /// State: the changes of epochs in flight, at most
    /// [`inflight_max`](tideflow_core::EpochSettings::inflight_max). Assumes that what is done between the
    /// tables and here rests on the rows alone. What holds after the epoch that the run goes on from was
    /// yielded by an earlier one, and is not yielded again. Fails: never.
    ///
    /// # Errors
    /// When the name is taken.
    ///
    /// # Panics
    /// While the graph runs, when a key has two values: the view was to give one.
    pub fn updates<K: Key, V: ExchangeData>(
        &self,
        name: &str,
        collection: VecCollection<'s, Epoch, (K, V)>,
    ) -> Result<Stream<'s, Update<K, V>>, BuildError> {
        let about = "what changes of a view".to_string();
        let node = self.flow.node("operator", name, about, &self.origins.borrow())?;
        let (name, since) = (OperatorName::new(name), self.flow.resume().state_of());
        // Not where differential has it: that may change with its version.
        let by_key = Exchange::new(|((key, _), _, _): &((K, V), Epoch, isize)| {
            u64::from(KeyGroup::of(key.stable_hash()).0)
        });
        let updates = collection.inner.unary_frontier(by_key, name.as_str(), |_, _| {
            let mut open = BTreeMap::<Epoch, (Capability<Epoch>, Vec<Change<K, V>>)>::new();
            move |(input, frontier), output| {
                name.run(|| {
                    input.for_each(|capability, changes| {
                        for (row, epoch, diff) in changes.drain(..).filter(|c| c.1 > since) {
                            let open = open.entry(epoch);
                            let (_, of) =
                                open.or_insert_with(|| (capability.delayed(&epoch, 0), Vec::new()));
                            of.push((row, diff));
                        }
                    });
                    while let Some(first) = open.first_entry()
                        && !frontier.less_equal(first.key())
                    {
                        let (at, changes) = first.remove();
                        output.session(&at).give_iterator(updates(changes).into_iter());
                    }
                });
            }
        });
        Ok(Stream::new(&self.flow, node, "", updates))
    }
}

/// What an epoch's changes come to for each key.
fn updates<K: Key, V: Ord + std::fmt::Debug + Clone>(
    mut changes: Vec<Change<K, V>>,
) -> Vec<Update<K, V>> {
    consolidate(&mut changes);
    let of_key = changes.chunk_by(|((a, _), _), ((b, _), _)| a == b);
    let update = |changes: &[Change<K, V>]| {
        let count = |sign: isize| changes.iter().filter(|(_, diff)| *diff == sign).count();
        let one = count(1) <= 1 && count(-1) <= 1 && count(1) + count(-1) == changes.len();
        assert!(one, "the view has more than one value for a key: {changes:?}");
        let now = changes.iter().find(|(_, diff)| *diff == 1);
        let key = changes[0].0.0.clone();
        Update { key, value: now.map(|((_, value), _)| value.clone()) }
    };
    of_key.map(update).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(changes: &[(&str, i64, isize)]) -> Vec<(String, Option<i64>)> {
        let change = |(key, value, diff): &(&str, i64, isize)| ((key.to_string(), *value), *diff);
        let updates = updates(changes.iter().map(change).collect());
        updates.into_iter().map(|Update { key, value }| (key, value)).collect()
    }

    #[test]
    fn an_epoch_says_once_what_a_key_has_become_and_nothing_of_what_came_back() {
        let changes = [
            ("new", 1, 1),
            ("gone", 1, -1),
            ("other", 2, 1),
            ("other", 1, -1),
            ("back", 1, -1),
            ("back", 2, 1),
            ("back", 2, -1),
            ("back", 1, 1),
        ];
        let expected = [("gone", None), ("new", Some(1)), ("other", Some(2))];
        assert_eq!(of(&changes), expected.map(|(key, value)| (key.to_string(), value)));
    }

    #[test]
    #[should_panic(expected = "more than one value for a key")]
    fn two_values_of_a_key_are_a_view_that_is_none() {
        of(&[("twice", 1, 1), ("twice", 2, 1)]);
    }
}
