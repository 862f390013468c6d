//! Exactly once, whatever dies: a job that is killed, frozen, superseded or cut off publishes what one
//! does that is left alone, each result once, and every one. Readers see what is committed.

mod broker;
mod bucket;
pub mod check;
#[cfg(feature = "crash-points")]
mod compacted;
mod cuts;
#[cfg(feature = "crash-points")]
mod failing;
mod files;
mod inputs;
pub mod job;
mod kept;
mod manifests;
#[cfg(feature = "crash-points")]
mod outputs;
#[cfg(feature = "crash-points")]
mod points;
mod random;
#[cfg(feature = "crash-points")]
mod stalled;
pub mod start;
mod store;
pub mod view;
mod zombies;
