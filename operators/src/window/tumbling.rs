//! Windows of one length, one after the other, by event time.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tideflow_core::form::{json, restore_known};
use tideflow_core::prometheus::IntCounter;
use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, Event, EventTime, Groups, Key, KeyGroup, Stateful, Stream, millis,
};

use super::table::{OpenWindows, WindowTable};
use crate::Keyed;

/// What a window keeps of its records. The order in which records are added must not matter: a key's
/// records may come from several partitions, and a replay may interleave them otherwise.
///
/// ```
/// use tideflow_operators::Aggregate;
/// #[derive(Clone, Default)]
/// struct Hottest(i64);
/// impl Aggregate<i64> for Hottest {
///     fn add(&mut self, reading: &i64) { self.0 = self.0.max(*reading); }
/// }
/// ```
pub trait Aggregate<D>: Default + 'static {
    /// The version of its form in snapshots, postcard's of its fields: to be raised when they change.
    const VERSION: u32 = 1;

    /// Takes one record into account.
    fn add(&mut self, record: &D);

    /// Reads one from a snapshot, in the form of this or an earlier version.
    ///
    /// # Errors
    /// What was expected, and found. As it stands it knows this version alone.
    fn restore(version: u32, bytes: &[u8]) -> Result<Self, String>
    where
        Self: DeserializeOwned,
    {
        restore_known(Self::VERSION, version, bytes)
    }

    /// What people are shown of it, as JSON: its fields, unless it says otherwise.
    fn show(&self) -> String
    where
        Self: Serialize,
    {
        json(self)
    }

    /// Bytes of memory that it holds beside its own size; none, unless it says otherwise.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Windows of one length without gaps or overlap; they start at multiples of the length since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Tumbling {
    length: Duration,
    open_for: Duration,
}

impl Tumbling {
    /// Windows of this length; at least a millisecond.
    pub fn of(length: Duration) -> Self {
        Tumbling { length, open_for: Duration::ZERO }
    }

    /// The same windows, which close only so much later than at their end: what comes late by less is in them.
    #[must_use]
    pub fn open_for(self, longer: Duration) -> Self {
        Tumbling { open_for: longer, ..self }
    }

    /// The start of the window that a time lies in.
    pub(crate) fn start_of(self, at: EventTime) -> EventTime {
        Self::start(millis(self.length), at)
    }

    fn start(length_ms: i64, at: EventTime) -> EventTime {
        EventTime(at.0.saturating_sub(at.0.rem_euclid(length_ms)))
    }
}

/// A closed window of one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window<K, A> {
    /// The key.
    pub key: K,
    /// The first millisecond of the window.
    pub start: EventTime,
    /// The first millisecond after the window.
    pub end: EventTime,
    /// What the window's records add up to.
    pub value: A,
}

/// A window is there from its last millisecond on.
impl<K, A> Event for Window<K, A> {
    fn event_time(&self) -> EventTime {
        EventTime(self.end.0.saturating_sub(1))
    }
}

/// A record that came after its window had closed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Late<D> {
    /// The record.
    pub record: D,
    /// The start of the window it belongs to.
    pub start: EventTime,
    /// The end of the window it belongs to.
    pub end: EventTime,
    /// The watermark it came after.
    pub watermark: EventTime,
}

/// The outputs of a window operator.
pub struct Windowed<'s, D: 'static, K: 'static, A: 'static> {
    /// Windows, each once, when the watermark reaches its end.
    pub on_time: Stream<'s, Window<K, A>>,
    /// Records that came after their window had closed.
    pub late: Stream<'s, Late<D>>,
}

impl<'s, D, F> Keyed<'s, D, F>
where
    D: Event + ExchangeData + Clone,
{
    /// Yields the aggregate of each key and window, once, when the watermark reaches the window's end, or lies
    /// behind it by as much as the windows stay open for; a record whose window closed in an earlier epoch comes out of `late` instead.
    ///
    /// State: the accumulator of each key in each open window, and up to 70 bytes beside it; gone when
    /// the window closes. Assumes: nothing about order. Fails: never.
    ///
    /// ```
    /// # use tideflow_core::{Event, EventTime, Flow, BuildError, minutes};
    /// # use tideflow_operators::{Aggregate, KeyBy, Tumbling};
    /// # use tideflow_sources::VecSource;
    /// # use tideflow_sinks::VecSink;
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// # struct Reading { device: String, ts: i64, celsius: f64 }
    /// # impl Event for Reading { fn event_time(&self) -> EventTime { EventTime(self.ts) } }
    /// #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
    /// struct Hottest(f64);
    /// impl Aggregate<Reading> for Hottest {
    ///     fn add(&mut self, r: &Reading) { self.0 = self.0.max(r.celsius); }
    /// }
    /// fn graph(flow: &Flow, source: VecSource<Reading>) -> Result<(), BuildError> {
    ///     let (readings, _) = flow.source("readings", source)?;
    ///     let hottest = readings
    ///         .key_by(|r| &r.device)
    ///         .tumbling_window::<_, Hottest>("hottest", Tumbling::of(minutes(1)))?;
    ///     flow.sink("out", hottest.on_time, VecSink::new())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken, or the length is under a millisecond.
    pub fn tumbling_window<K: Key, A>(
        self,
        name: &str,
        windows: Tumbling,
    ) -> Result<Windowed<'s, D, K, A>, BuildError>
    where
        F: Fn(&D) -> &K + Clone + 'static,
        A: Aggregate<D> + ExchangeData + Clone,
    {
        let length_ms = millis(windows.length);
        if length_ms < 1 {
            return Err(BuildError::invalid(name, "a window must be at least 1 ms long"));
        }
        let flow = self.stream.flow();
        let count =
            |family: &tideflow_core::prometheus::IntCounterVec| family.with_label_values(&[name]);
        let metrics = &flow.job().metrics;
        let by = self.key.clone();
        let logic = TumblingWindow {
            key: self.key,
            length_ms,
            open_for: windows.open_for,
            watermark: EventTime::MIN,
            table: WindowTable::<D, K, A>::new(),
            closed: count(&metrics.windows),
            windowed: count(&metrics.windowed),
            late: count(&metrics.late),
        };
        let (on_time, late) = self.stream.stateful(
            name,
            format!("tumbling windows of {:?}", windows.length),
            "late",
            move |r| KeyGroup::of(by(r).stable_hash()),
            logic,
        )?;
        Ok(Windowed { on_time, late })
    }
}

struct TumblingWindow<D, K, A, F> {
    key: F,
    length_ms: i64,
    open_for: Duration,
    watermark: EventTime,
    table: WindowTable<D, K, A>,
    closed: IntCounter,
    windowed: IntCounter,
    late: IntCounter,
}

impl<D, K, A, F> Stateful<D> for TumblingWindow<D, K, A, F>
where
    D: Event + Clone + 'static,
    K: Key,
    A: Aggregate<D> + ExchangeData + Clone,
    F: Fn(&D) -> &K + 'static,
{
    type Out = Window<K, A>;
    type Side = Late<D>;
    type State = OpenWindows<D, K, A>;

    fn meaning(&self) -> String {
        format!("windows of {} ms", self.length_ms)
    }

    fn state(&mut self) -> &mut Groups<OpenWindows<D, K, A>> {
        self.table.state()
    }

    fn resume(&mut self, watermark: EventTime) {
        self.watermark = watermark;
        self.table.restored();
    }

    fn fold(&mut self, items: &mut Vec<D>, side: &mut Emit<Late<D>>) {
        let (all, mut late) = (items.len() as u64, 0);
        // By the watermark of the epoch before: the one that closed windows.
        let closed = self.watermark.minus(self.open_for);
        for record in items.drain(..) {
            let start = Tumbling::start(self.length_ms, record.event_time());
            let end = EventTime(start.0.saturating_add(self.length_ms));
            if end <= closed {
                late += 1;
                side.push(Late { record, start, end, watermark: self.watermark });
            } else {
                self.table.at((self.key)(&record), start).add(&record);
            }
        }
        self.late.inc_by(late);
        self.windowed.inc_by(all - late);
    }

    fn close(&mut self, bound: &Bound, out: &mut Emit<Window<K, A>>, _: &mut Emit<Late<D>>) {
        if bound.watermark <= self.watermark {
            return;
        }
        self.watermark = bound.watermark;
        let length_ms = self.length_ms;
        // A window is closed when its end <= closed, that is when its start is before this:
        let closed = bound.watermark.minus(self.open_for);
        let limit = EventTime(closed.0.saturating_sub(length_ms).saturating_add(1));
        let limit = if closed == EventTime::MAX { EventTime::MAX } else { limit };
        let mut windows = 0;
        self.table.close_before(limit, |start, key, value| {
            windows += 1;
            let end = EventTime(start.0.saturating_add(length_ms));
            out.push(Window { key, start, end, value });
        });
        self.closed.inc_by(windows);
    }
}
