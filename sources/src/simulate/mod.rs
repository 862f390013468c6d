//! A simulated fleet: machines with a daily load, known faults and known bad input, from one seed.
//!
//! [`Fleet`] yields the Kafka messages of a fleet in the order they are sent. The same
//! [`FleetConfig`] gives the same bytes on every machine: no clock, no thread, no library maths
//! takes part. What a perfect pipeline would make of the messages is in [`Truth`]: messages by
//! [`Kind`], and the [`Fault`]s a model should find.
//!
//! ```
//! use tideflow_sources::simulate::{Fleet, FleetConfig, Kind};
//!
//! let config = FleetConfig { devices: 20, readings_per_s: 200, duration_s: 2, ..Default::default() };
//! let mut fleet = Fleet::new(config)?;
//! while let Some(message) = fleet.next_message() {
//!     if message.kind == Kind::Good {
//!         assert!(message.payload.starts_with(br#"{"device":"d0000"#));
//!     }
//! }
//! assert_eq!(fleet.truth().counts.total(), 400);
//! # Ok::<(), tideflow_sources::simulate::FleetConfigError>(())
//! ```
//!
//! # Time
//! One wall-clock second is `time_factor` seconds of event time. A message's Kafka timestamp is
//! the simulated time of sending and never falls; a reading was taken up to `delay_max_ms`
//! earlier. So an out-of-orderness bound of at least `delay_max_ms` loses no good reading,
//! whatever the number of partitions. Pacing is the caller's: see [`Fleet::next_before`].

mod config;
mod fault;
mod fleet;
mod machine;
mod payload;
mod random;
#[cfg(test)]
mod tests;
mod truth;

pub use config::{DEVICES_MAX, FleetConfig, FleetConfigError};
pub use fault::{Fault, FaultKind, Field};
pub use fleet::{Fleet, Message};
pub use payload::Malformed;
pub use truth::{Counts, Kind, Truth};
