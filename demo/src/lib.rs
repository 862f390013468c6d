//! The demo: a simulated fleet, and recorded machines, through the whole product in one process.
//!
//! [`fleet::run`] is `make demo`: the fleet sends to Kafka, the graph `device_health` makes windows,
//! scores and alarms of it, a consumer reads them back and accounts for every reading.
//!
//! [`real::run`] is `make demo-real`: recorded machines through a second graph, with a model that has
//! learnt from the start of each recording; labelled anomalies are held against its alarms.

mod broker;
pub mod fleet;
pub mod real;
mod screen;
mod setup;
mod tail;
mod windows;

pub use broker::left_behind;
pub use screen::{Screen, Written};
pub use setup::Surroundings;
