//! Goes through the records of each key, one after the other.

use std::marker::PhantomData;

use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, Entries, Groups, Key, KeyGroup, KeyedState, Row, Stateful, Stream,
};

use crate::Keyed;

/// What is kept of a key while its records are gone through.
pub trait Scan<D>: Row + Default {
    /// What comes out.
    type Out: ExchangeData + Clone;
    /// Takes the key's next record, and yields what is known now.
    fn step(&mut self, record: D, out: &mut Emit<Self::Out>);
}

impl<'s, D, F> Keyed<'s, D, F>
where
    D: ExchangeData + Clone,
{
    /// Yields what a scan makes of each record and those of its key before it, as soon as it comes.
    ///
    /// State: one `S` a key, for ever. Assumes that a key's records come in one partition: their order is the
    /// partition's. Fails: never.
    ///
    /// ```
    /// # use tideflow_core::{BuildError, Emit, Event, EventTime, Flow, Row, Stream};
    /// # use tideflow_operators::{KeyBy, Scan};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # struct Reading { device: u64, celsius: f64 }
    /// /// How much warmer it was than the time before.
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct Rise { last: Option<f64> }
    /// impl Row for Rise {}
    /// impl Scan<Reading> for Rise {
    ///     type Out = f64;
    ///     fn step(&mut self, reading: Reading, out: &mut Emit<f64>) {
    ///         let last = self.last.replace(reading.celsius);
    ///         last.into_iter().for_each(|last| out.push(reading.celsius - last));
    ///     }
    /// }
    /// fn rises<'s>(readings: Stream<'s, Reading>) -> Result<Stream<'s, f64>, BuildError> {
    ///     readings.key_by(|r| &r.device).scan::<_, Rise>("rises")
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken.
    pub fn scan<K: Key, S: Scan<D>>(self, name: &str) -> Result<Stream<'s, S::Out>, BuildError>
    where
        F: Fn(&D) -> &K + Clone + 'static,
    {
        let by = self.key.clone();
        let logic = Scanning { key: self.key, keys: KeyedState::<K, S>::new(), of: PhantomData };
        let group = move |record: &D| KeyGroup::of(by(record).stable_hash());
        let (_, out) =
            self.stream.stateful(name, "record by record".to_string(), "", group, logic)?;
        Ok(out)
    }
}

struct Scanning<D, K, S, F> {
    key: F,
    keys: KeyedState<K, S>,
    of: PhantomData<D>,
}

impl<D, K, S, F> Stateful<D> for Scanning<D, K, S, F>
where
    D: ExchangeData + Clone,
    K: Key,
    S: Scan<D>,
    F: Fn(&D) -> &K + 'static,
{
    type Out = ();
    type Side = S::Out;
    type State = Entries<K, S>;

    fn state(&mut self) -> &mut Groups<Entries<K, S>> {
        self.keys.groups()
    }

    fn fold(&mut self, records: &mut Vec<D>, out: &mut Emit<S::Out>) {
        for record in records.drain(..) {
            let key = (self.key)(&record).clone();
            self.keys.change(&key, S::default, |scan| scan.step(record, out));
        }
    }

    fn close(&mut self, _: &Bound, _: &mut Emit<()>, _: &mut Emit<S::Out>) {}
}
