//! A simulated fleet through `device_health`, with its results read back and accounted for.

mod account;
mod moments;
mod options;
mod report;
mod results;
mod run;
mod sender;
mod verdict;
mod view;
mod windows;

pub use options::{FleetOptions, troubled_fleet};
pub use report::Summary;
pub use run::run;
pub use windows::{HealthyWindows, write_windows};
