//! What the recorded machines send, and what a window of it adds up to.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tideflow::core::timely::ExchangeData;
use tideflow::prelude::*;
use tideflow::sources::kafka::FlatRecord;

/// A row of a recording as a reading of a device.
pub trait Sample:
    Event + FlatRecord + Serialize + DeserializeOwned + ExchangeData + Clone + Sync
{
    /// What a window keeps of them.
    type Stats: Aggregate<Self> + Features + ExchangeData + Clone;
    /// What is written of a window: a summary a field.
    type Summaries: for<'a> From<&'a Self::Stats> + Serialize + DeserializeOwned + Clone + Send;

    /// The fields with their units, in the order of a row.
    const UNITS: &'static [(&'static str, &'static str)];

    /// A reading; `values` in the order of [`Sample::UNITS`].
    fn new(device: &DeviceId, ts: EventTime, values: &[f64]) -> Self;

    /// The machine.
    fn device(&self) -> &DeviceId;

    /// How many readings a window holds.
    fn count(stats: &Self::Stats) -> u64;
}

/// A machine's window as it is written; its fields stand beside the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SampleWindow<T> {
    /// The machine.
    pub device: DeviceId,
    /// The first millisecond of the window.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// How many readings it holds.
    pub count: u64,
    /// A summary of each field.
    #[serde(flatten)]
    pub fields: T,
}

impl<T> KeyedRecord for SampleWindow<T>
where
    T: Serialize,
{
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

macro_rules! sample {
    (
        $(#[$about:meta])*
        $sample:ident, $stats:ident, $summaries:ident { $($field:ident: $unit:literal),+ $(,)? }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "`UNITS` says what the fields are")]
        pub struct $sample {
            pub device: DeviceId,
            pub ts: EventTime,
            $(pub $field: f64),+
        }

        flat_record!($sample { device, ts, $($field),+ });

        /// The statistics of a window.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $stats {
            $($field: Stats),+
        }

        /// The statistics of a window as they are written.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "`UNITS` says what the fields are")]
        pub struct $summaries {
            $(pub $field: Summary),+
        }

        impl Event for $sample {
            fn event_time(&self) -> EventTime {
                self.ts
            }
        }

        impl Aggregate<$sample> for $stats {
            fn add(&mut self, sample: &$sample) {
                $(self.$field.add(sample.$field);)+
            }
        }

        impl Features for $stats {
            const NAMES: &'static [&'static str] = &[$(
                concat!(stringify!($field), ".mean"),
                concat!(stringify!($field), ".std"),
                concat!(stringify!($field), ".min"),
                concat!(stringify!($field), ".max"),
            )+];

            fn row(&self, row: &mut Vec<f64>) {
                $(
                    let s = self.$field.summary();
                    row.extend([s.mean, s.std, s.min, s.max]);
                )+
            }
        }

        impl From<&$stats> for $summaries {
            fn from(stats: &$stats) -> Self {
                $summaries { $($field: stats.$field.summary()),+ }
            }
        }

        impl Sample for $sample {
            type Stats = $stats;
            type Summaries = $summaries;

            const UNITS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), $unit)),+];

            fn new(device: &DeviceId, ts: EventTime, values: &[f64]) -> Self {
                let mut values = values.iter().copied();
                let mut next = || values.next().expect("a row has a value a field");
                $sample { device: device.clone(), ts, $($field: next()),+ }
            }

            fn device(&self) -> &DeviceId {
                &self.device
            }

            fn count(stats: &$stats) -> u64 {
                [$(stats.$field.count()),+][0]
            }
        }
    };
}

sample! {
    /// A machine with one temperature, as NAB recorded it.
    Temperature, TemperatureStats, TemperatureSummaries { value: "degF" }
}

sample! {
    /// A water pump with eight sensors, as SKAB recorded it.
    Pump, PumpStats, PumpSummaries {
        accelerometer_1: "g",
        accelerometer_2: "g",
        current: "A",
        pressure: "bar",
        temperature: "degC",
        thermocouple: "degC",
        voltage: "V",
        flow: "l/min",
    }
}
