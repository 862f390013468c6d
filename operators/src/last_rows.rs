//! The last rows of each key, as one row of features.

use std::marker::PhantomData;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, Entries, Event, EventTime, Groups, Key, KeyGroup, KeyedState, Row,
    Stateful, Stream, millis,
};

use crate::{Features, Keyed};

/// A record and the features of those of its key before it: `N` rows of features, oldest first. A model takes them
/// as a tensor of the shape `[N, D::NAMES.len()]`, or however its manifest cuts them up.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct LastRows<D, const N: usize> {
    /// The newest record.
    pub of: D,
    /// The features of the `N - 1` before it, oldest first, a row after the other.
    pub before: Vec<f64>,
}

impl<D: Features, const N: usize> Features for LastRows<D, N> {
    const NAMES: &'static [&'static str] = D::NAMES;
    const ROWS: usize = {
        assert!(N > 0 && D::ROWS == 1, "at least one row, and not the last rows of last rows");
        N
    };

    fn row(&self, row: &mut Vec<f64>) {
        row.extend_from_slice(&self.before);
        self.of.row(row);
    }

    fn whose(&self) -> Option<(String, EventTime)> {
        self.of.whose()
    }
}

impl<D: Event, const N: usize> Event for LastRows<D, N> {
    fn event_time(&self) -> EventTime {
        self.of.event_time()
    }
}

impl<'s, D, F> Keyed<'s, D, F>
where
    D: Event + Features + ExchangeData + Clone,
{
    /// Yields each record with the features of the `N - 1` of its key before it, as soon as it comes: nothing for
    /// the first `N - 1` of a key. One that lies more than `forget_after` of event time behind that before it is a
    /// first one again. Times in which a key is silent have no row.
    ///
    /// State: the features of `N - 1` records, 8 bytes each, for each key that was heard of within twice
    /// `forget_after` of event time, by key group and in snapshots. Assumes that a key's records come in one
    /// order, as windows do and the records of one partition. Fails: never; a feature that cannot be scored is in
    /// `N` rows.
    ///
    /// ```
    /// # use tideflow_core::{minutes, BuildError, Event, EventTime, Stream};
    /// # use tideflow_models::ModelRef;
    /// # use tideflow_operators::{Aggregate, Features, Infer, Inferred, KeyBy, LastRows, Stats, Tumbling, Window};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # struct Reading { device: u64, ts: i64, celsius: f64 }
    /// # impl Event for Reading { fn event_time(&self) -> EventTime { EventTime(self.ts) } }
    /// # #[derive(Clone, Default, Serialize, Deserialize)]
    /// # struct Warmth(Stats);
    /// # impl Aggregate<Reading> for Warmth {
    /// #     fn add(&mut self, reading: &Reading) { self.0.add(reading.celsius) }
    /// # }
    /// impl Features for Warmth {
    ///     const NAMES: &'static [&'static str] = &["celsius.mean"];
    ///     fn row(&self, row: &mut Vec<f64>) { row.push(self.0.summary().mean) }
    /// }
    /// type Minute = Window<u64, Warmth>;
    /// /// The model's features are `celsius.mean[-2]`, `celsius.mean[-1]` and `celsius.mean[0]`.
    /// fn graph<'s>(
    ///     readings: Stream<'s, Reading>,
    ///     model: &ModelRef,
    /// ) -> Result<Inferred<'s, LastRows<Minute, 3>>, BuildError> {
    ///     let windows = readings
    ///         .key_by(|r| &r.device)
    ///         .tumbling_window::<_, Warmth>("windows", Tumbling::of(minutes(1)))?;
    ///     let last = windows.on_time.key_by(|w: &Minute| &w.key).last_rows::<_, 3>("last", minutes(60))?;
    ///     last.infer("trend", model)
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken, or it would forget at once.
    pub fn last_rows<K: Key, const N: usize>(
        self,
        name: &str,
        forget_after: Duration,
    ) -> Result<Stream<'s, LastRows<D, N>>, BuildError>
    where
        F: Fn(&D) -> &K + Clone + 'static,
    {
        if millis(forget_after) < 1 {
            return Err(BuildError::invalid(name, "rows must be kept for 1 ms at least"));
        }
        let by = self.key.clone();
        let group = move |record: &D| KeyGroup::of(by(record).stable_hash());
        // Twice as long, so that whether a record is a first one does not depend on when it is looked.
        let rows = KeyedState::expiring(forget_after.saturating_mul(2), |row: &Before| row.last);
        let logic = Last::<D, K, F, N> { key: self.key, rows, forget_after, of: PhantomData };
        let about = format!("the last {N} rows of each key, for {forget_after:?}");
        let (_, out) = self.stream.stateful(name, about, "", group, logic)?;
        Ok(out)
    }
}

/// What is kept of a key.
#[derive(Serialize, Deserialize)]
struct Before {
    /// The time of its last record.
    last: EventTime,
    /// The features of at most `N - 1` records, oldest first.
    features: Vec<f64>,
}

impl Row for Before {
    fn heap_bytes(&self) -> usize {
        self.features.capacity() * size_of::<f64>()
    }
}

struct Last<D, K, F, const N: usize> {
    key: F,
    rows: KeyedState<K, Before>,
    forget_after: Duration,
    of: PhantomData<D>,
}

impl<D, K, F, const N: usize> Stateful<D> for Last<D, K, F, N>
where
    D: Event + Features + ExchangeData + Clone,
    K: Key,
    F: Fn(&D) -> &K + 'static,
{
    type Out = ();
    type Side = LastRows<D, N>;
    type State = Entries<K, Before>;

    /// Kept features mean nothing to a graph that has others.
    fn meaning(&self) -> String {
        format!("{N} rows of {}", D::NAMES.join(", "))
    }

    fn state(&mut self) -> &mut Groups<Entries<K, Before>> {
        self.rows.groups()
    }

    fn resume(&mut self, watermark: EventTime) {
        self.rows.resume(watermark);
    }

    fn fold(&mut self, records: &mut Vec<D>, out: &mut Emit<LastRows<D, N>>) {
        let most = (<LastRows<D, N> as Features>::ROWS - 1) * D::NAMES.len();
        for of in records.drain(..) {
            let (key, now, after) = ((self.key)(&of).clone(), of.event_time(), self.forget_after);
            let fresh = || Before { last: now, features: Vec::new() };
            self.rows.change(&key, fresh, |before| {
                if now > before.last.plus(after) {
                    before.features.clear();
                }
                before.last = before.last.max(now);
                let whole = before.features.len() == most;
                let kept = whole.then(|| before.features.clone());
                let from = before.features.len();
                of.row(&mut before.features);
                if before.features.len() - from != D::NAMES.len() {
                    // No row, and not to be scored as one of those before another.
                    before.features.truncate(from);
                }
                let beyond = before.features.len().saturating_sub(most);
                before.features.drain(..beyond);
                kept.into_iter().for_each(|before| out.push(LastRows { of: of.clone(), before }));
            });
        }
    }

    fn close(&mut self, bound: &Bound, _: &mut Emit<()>, _: &mut Emit<LastRows<D, N>>) {
        self.rows.expire(bound.watermark);
    }
}
