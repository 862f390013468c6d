//! A backtest: what a replay of a graph has written, beside what a job of it has published for the same time.
//!
//! [`Comparison`] says which outputs of a graph are compared, and does it: scores window by window, alarms device
//! by device. Both sides are spread over files by device first, so that memory does not grow with the time that
//! is compared.

mod alarms;
mod buckets;
mod comparison;
mod episodes;
mod error;
mod output;
mod published;
mod scores;
mod sketch;

pub use comparison::Comparison;
pub use error::CompareError;
pub use output::{AlarmPoint, ScorePoint};
