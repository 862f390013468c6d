//! The demo: a simulated fleet, and recorded machines, through the whole product in one process.
//!
//! [`fleet::run`] is `make demo`: the fleet sends to Kafka, the graph `device_health` makes windows,
//! scores and alarms of it, a consumer reads them back and accounts for every reading.

mod broker;
pub mod fleet;
mod screen;
mod setup;
mod tail;
mod windows;

pub use screen::Screen;
