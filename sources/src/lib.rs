//! Where records come from: one folder a system, [`VecSource`] for tests, a simulated fleet.

pub mod kafka;
pub mod simulate;
mod vec;
mod watermark;

pub use vec::{VecReader, VecSource};
pub use watermark::Watermark;
