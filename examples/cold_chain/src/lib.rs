//! Trucks report the temperature of their cargo; when it stays too warm, an alarm is raised.
//!
//! [`cold_chain()`] is the graph. Where its readings come from and where its results go are
//! parameters: `main.rs` gives it Kafka topics, its test gives it memory.

mod graph;
mod options;
mod reading;
mod results;

pub use graph::cold_chain;
pub use options::{Cargo, ColdChain, DEFAULTS, Topics};
pub use reading::{CargoReading, CargoStats};
pub use results::{LateReading, WarmCargo};
