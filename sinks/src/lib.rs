//! Where results go: one folder a system, [`VecSink`] for tests.

mod vec;

pub use vec::{VecSink, VecWriter};
