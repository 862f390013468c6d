//! Where results go: one folder a system, [`VecSink`] for tests.

pub mod files;
pub mod kafka;
mod recorded;
mod vec;

pub use vec::{VecSink, VecWriter};
