//! What fleet is simulated, and with what it is run.

use std::time::Duration;

use tideflow::models::ModelRef;
use tideflow::sources::simulate::FleetConfig;

use crate::setup::Surroundings;

/// Seconds of event time in a second of the clock.
const TIME_FACTOR: u32 = 60;
/// Shares of the messages.
const LATE_SHARE: f64 = 0.002;
const BAD_CLOCK_SHARE: f64 = 0.001;
const MALFORMED_SHARE: f64 = 0.001;
/// How old a late reading is at most, ms of event time: eight seconds of the clock, so that it is
/// late even where the graph is seconds behind.
const LATE_BY_MS_MAX: u32 = 480_000;
/// And at least: a window and the out-of-orderness bound, and some more.
const LATE_BY_MS_MIN: u32 = 90_000;
/// Faults of a fleet of any size.
const FAULTS: std::ops::RangeInclusive<u32> = 3..=24;
const DEVICES_A_FAULT: u32 = 80;

/// A run of the demo.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The fleet.
    pub fleet: FleetConfig,
    /// The model that scores its windows.
    pub model: ModelRef,
    /// Brokers and variables.
    pub around: Surroundings,
    /// The port of the Prometheus page; 0 takes a free one.
    pub metrics_port: u16,
}

/// A fleet with some of everything that goes wrong.
pub fn troubled_fleet(
    devices: u32,
    readings_per_s: u32,
    duration: Duration,
    seed: u64,
) -> FleetConfig {
    let fleet = FleetConfig {
        devices,
        readings_per_s,
        time_factor: TIME_FACTOR,
        duration_s: duration.as_secs(),
        seed,
        late_share: LATE_SHARE,
        bad_clock_share: BAD_CLOCK_SHARE,
        malformed_share: MALFORMED_SHARE,
        ..FleetConfig::default()
    };
    // None are sent before twice the spread and their own age have passed: a short run gets some too.
    let room = u32::try_from(fleet.length_ms()).unwrap_or(u32::MAX).saturating_sub(120_000);
    let late_by_ms = (room / 2).clamp(LATE_BY_MS_MIN, LATE_BY_MS_MAX);
    let faults = (devices / DEVICES_A_FAULT).clamp(*FAULTS.start(), *FAULTS.end());
    FleetConfig { late_by_ms, ..fleet }.with_spread_faults(faults)
}
