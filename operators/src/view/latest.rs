//! The last record of each key as a table.

use std::time::Duration;

use tideflow_core::differential_dataflow::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, Entries, Event, EventTime, Groups, Key, KeyGroup, KeyedState, Row,
    Stateful, millis,
};

use super::rows::{Greatest, set};
use super::table::{Change, Restored, Table};
use crate::Keyed;

/// For how long a key's last record stands.
#[derive(Clone, Copy, Debug)]
pub struct Latest {
    forget_after: Duration,
}

impl Latest {
    /// A key whose last record lies this long before the watermark has none any more. Keys are looked
    /// at whenever the watermark passes a multiple of a 64th of it.
    pub fn forget_after(silence: Duration) -> Self {
        Latest { forget_after: silence }
    }
}

impl<'s, D, F> Keyed<'s, D, F>
where
    D: Event + Row + ExchangeData,
{
    /// The table of each key's last record by event time; of two of one time, the greater.
    ///
    /// State: a key and its record, for each key that was heard of within `forget_after` of event time, by
    /// key group and in snapshots; and one record for each key of the open epoch. Assumes: nothing about
    /// order. Fails: never.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tideflow_core::{Event, EventTime, BuildError, Stream, Update};
    /// # use tideflow_operators::{KeyBy, Latest, Row, View};
    /// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
    /// struct State { ts: i64, device: String, on: bool }
    /// impl Event for State { fn event_time(&self) -> EventTime { EventTime(self.ts) } }
    /// impl Row for State {}
    ///
    /// /// How many devices are on, of those heard of within the last minute.
    /// fn count<'s>(
    ///     states: Stream<'s, State>,
    /// ) -> Result<Stream<'s, Update<String, isize>>, BuildError> {
    ///     let view = View::new(&states.flow());
    ///     let latest = states
    ///         .key_by(|s| &s.device)
    ///         .latest("states", Latest::forget_after(Duration::from_secs(60)))?;
    ///     let on = view.collection(latest).filter(|(_, state)| state.on);
    ///     view.updates("devices on", on.map(|_| "all".to_string()).count())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken, or it would forget at once.
    pub fn latest<K: Key>(self, name: &str, keep: Latest) -> Result<Table<'s, K, D>, BuildError>
    where
        F: Fn(&D) -> &K + Clone + 'static,
    {
        if millis(keep.forget_after) < 1 {
            return Err(BuildError::invalid(name, "records must be kept for 1 ms at least"));
        }
        let (restored, by) = (Restored::default(), self.key.clone());
        let logic = Keeping {
            key: self.key,
            rows: KeyedState::expiring(keep.forget_after, D::event_time),
            epoch: Greatest::default(),
            restored: restored.clone(),
        };
        let about = format!("the last record of each key, for {:?}", keep.forget_after);
        let group = move |record: &D| KeyGroup::of(by(record).stable_hash());
        let (changes, _) = self.stream.stateful(name, about, "", group, logic)?;
        Ok(Table { name: name.to_string(), changes, restored })
    }
}

struct Keeping<K, D, F> {
    key: F,
    rows: KeyedState<K, D>,
    epoch: Greatest<K, (EventTime, D)>,
    restored: Restored<K, D>,
}

impl<K, D, F> Stateful<D> for Keeping<K, D, F>
where
    K: Key,
    D: Event + Row + ExchangeData,
    F: Fn(&D) -> &K + 'static,
{
    type Out = Change<K, D>;
    type Side = ();
    type State = Entries<K, D>;

    fn state(&mut self) -> &mut Groups<Entries<K, D>> {
        self.rows.groups()
    }

    fn resume(&mut self, watermark: EventTime) {
        self.rows.resume(watermark);
        let rows = self.rows.iter().map(|(key, row)| (key.clone(), row.clone()));
        *self.restored.borrow_mut() = rows.collect();
    }

    fn fold(&mut self, records: &mut Vec<D>, _: &mut Emit<()>) {
        for record in records.drain(..) {
            let key = (self.key)(&record).clone();
            self.epoch.offer(&key, (record.event_time(), record));
        }
    }

    fn close(&mut self, bound: &Bound, out: &mut Emit<Change<K, D>>, _: &mut Emit<()>) {
        for (key, (at, record)) in self.epoch.take() {
            let stands = self.rows.get(&key);
            if stands.is_none_or(|stands| (stands.event_time(), stands) < (at, &record)) {
                set(&mut self.rows, key, Some(record), out);
            }
        }
        self.rows.expire(bound.watermark).into_iter().for_each(|row| out.push((row, -1)));
    }
}
