//! Ready graphs. Each is a function from sources to sinks, with its options and its records.

pub mod detect;
pub mod device_health;
pub mod fleet_view;

mod reading;

pub use reading::Reading;
