//! Recorded machines, replayed as devices through Kafka, windows and a model of their own.

mod date;
mod graph;
mod outcome;
mod plot;
mod recording;
mod replay;
mod run;
mod sample;
mod training;

pub use graph::recorded;
pub use recording::{Machine, Recording, read_nab, read_skab};
pub use run::{RealSummary, run};
pub use sample::{Pump, Sample, Temperature};
pub use training::write_training;
