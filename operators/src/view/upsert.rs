//! A log of upserts and tombstones as a table.

use tideflow_core::differential_dataflow::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, Entries, EventTime, Groups, Key, KeyGroup, KeyedState, Row, Stateful,
    Stream, Upsert,
};

use super::rows::{Greatest, set};
use super::table::{Change, Restored, Table};

/// Makes tables of logs.
pub trait Upserts<'s, K: 'static, V: 'static> {
    /// The table that the log adds up to: each key's last value, until a record without one.
    ///
    /// State: a key and its row, for each key that has one, by key group and in snapshots; and one record
    /// for each key of the open epoch. Assumes that a key stays in one partition of its log, so that its
    /// records have an order. Where it does not, those that fall into one epoch are taken in the order
    /// of their partitions: any run does it the same. Fails: never.
    ///
    /// ```
    /// # use tideflow_core::{BuildError, Flow, Update, Upsert};
    /// # use tideflow_operators::{Row, Upserts, View};
    /// # use tideflow_sources::VecSource;
    /// # use tideflow_sinks::VecSink;
    /// #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
    /// struct Place { site: String }
    /// impl Row for Place {}
    ///
    /// /// How many devices each site has.
    /// fn graph(flow: &Flow, log: VecSource<Upsert<String, Place>>) -> Result<(), BuildError> {
    ///     let (log, _) = flow.source("registry", log)?;
    ///     let view = View::new(flow);
    ///     let devices = view.collection(log.upserts("devices")?);
    ///     let counted = devices.map(|(_, place)| place.site).count();
    ///     let sites = view.updates("sites", counted)?;
    ///     flow.sink("out", sites, VecSink::<Update<String, isize>>::new())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken.
    fn upserts(self, name: &str) -> Result<Table<'s, K, V>, BuildError>;
}

impl<'s, K: Key, V: Row + ExchangeData> Upserts<'s, K, V> for Stream<'s, Upsert<K, V>> {
    fn upserts(self, name: &str) -> Result<Table<'s, K, V>, BuildError> {
        let restored = Restored::default();
        let logic = Upserting {
            rows: KeyedState::new(),
            epoch: Greatest::default(),
            restored: restored.clone(),
        };
        let group = |upsert: &Upsert<K, V>| KeyGroup::of(upsert.key.stable_hash());
        let about = "the last value of each key".to_string();
        let (changes, _) = self.stateful(name, about, "", group, logic)?;
        Ok(Table { name: name.to_string(), changes, restored })
    }
}

/// A record's place in its log, and the value there.
type Placed<V> = ((i32, i64), Option<V>);

struct Upserting<K, V> {
    rows: KeyedState<K, V>,
    epoch: Greatest<K, Placed<V>>,
    restored: Restored<K, V>,
}

impl<K: Key, V: Row + ExchangeData> Stateful<Upsert<K, V>> for Upserting<K, V> {
    type Out = Change<K, V>;
    type Side = ();
    type State = Entries<K, V>;

    fn state(&mut self) -> &mut Groups<Entries<K, V>> {
        self.rows.groups()
    }

    fn resume(&mut self, _: EventTime) {
        let rows = self.rows.iter().map(|(key, row)| (key.clone(), row.clone()));
        *self.restored.borrow_mut() = rows.collect();
    }

    fn fold(&mut self, upserts: &mut Vec<Upsert<K, V>>, _: &mut Emit<()>) {
        for Upsert { partition, offset, key, value } in upserts.drain(..) {
            self.epoch.offer(&key, ((partition, offset), value));
        }
    }

    fn close(&mut self, _: &Bound, out: &mut Emit<Change<K, V>>, _: &mut Emit<()>) {
        for (key, (_, value)) in self.epoch.take() {
            set(&mut self.rows, key, value, out);
        }
    }
}
