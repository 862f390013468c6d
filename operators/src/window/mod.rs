//! Event-time windows over keyed streams.

mod stats;
mod table;
mod tumbling;

pub use stats::{Stats, Summary};
pub use tumbling::{Aggregate, Late, Tumbling, Window, Windowed};
