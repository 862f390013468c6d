//! Event-time windows over keyed streams.

mod stats;
mod table;
mod tumbling;

pub use stats::{Stats, Summary, Total};
pub(crate) use stats::{UNIT, fixed};
pub use tumbling::{Aggregate, Late, Tumbling, Window, Windowed};
