//! A job: what survives of it when it is killed, and the order in which a start of it takes over.
//!
//! [`JobConfig::durability`] makes what a graph needs to publish exactly once. `start` is the order of a
//! start, `snapshots` what the graph keeps for the next one, `manifest_thread` what follows when it counts,
//! `kept` what people may ask of it.

mod changes;
mod checks;
mod config;
mod error;
mod exactly_once;
mod kept;
mod manifest_thread;
mod snapshots;
mod start;

pub use config::{Delivery, JOB_DEFAULTS, JobConfig};
pub use error::StartError;
pub use exactly_once::ExactlyOnce;
