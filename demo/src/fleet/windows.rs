//! Healthy windows to train the health model on: the same simulator and the same window operator.

use std::path::Path;
use std::time::Duration;

use tideflow::sources::simulate::{Fleet, FleetConfig};
use tideflow_dataflows::Reading;
use tideflow_dataflows::device_health::{ReadingStats, WindowRecord};

use crate::setup::{Surroundings, settings};
use crate::windows::{windows_of, write_lines};

/// A healthy fleet to take windows of.
#[derive(Clone, Debug)]
pub struct HealthyWindows {
    /// How many devices.
    pub devices: u32,
    /// For how long, in minutes of event time.
    pub minutes: u64,
    /// The seed of the fleet.
    pub seed: u64,
}

/// The fleet's period between two readings of a device must be that of the demo: how many readings a
/// window holds decides how its statistics scatter.
fn healthy_fleet(wanted: &HealthyWindows) -> FleetConfig {
    let demo = FleetConfig::default();
    let per_s =
        u64::from(demo.readings_per_s) * u64::from(wanted.devices) / u64::from(demo.devices);
    FleetConfig {
        devices: wanted.devices,
        readings_per_s: u32::try_from(per_s).unwrap_or(u32::MAX).max(1),
        duration_s: wanted.minutes * 60 / u64::from(demo.time_factor),
        seed: wanted.seed,
        ..demo
    }
}

/// Writes a fleet's windows as JSON lines, by start and device: how many.
///
/// # Errors
/// When the fleet cannot be simulated or the file cannot be written.
pub fn write_windows(
    wanted: &HealthyWindows,
    around: &Surroundings,
    out: &Path,
) -> anyhow::Result<usize> {
    let (config, _) = settings(around, &[])?;
    let bound = Duration::from_millis(config.readings.out_of_orderness_ms);
    let (readings, windows) = (readings(wanted)?, config.window.tumbling());
    let mut records: Vec<WindowRecord> =
        windows_of::<_, ReadingStats, _>(readings, bound, windows, |r: &Reading| &r.device)?;
    records.sort_by(|a, b| (a.window_start, &a.device).cmp(&(b.window_start, &b.device)));
    write_lines(&records, out)?;
    Ok(records.len())
}

/// What the fleet sends, decoded as the graph would.
fn readings(wanted: &HealthyWindows) -> anyhow::Result<Vec<Reading>> {
    let mut fleet = Fleet::new(healthy_fleet(wanted))?;
    let mut readings = Vec::new();
    while let Some(message) = fleet.next_message() {
        readings.push(serde_json::from_slice(message.payload)?);
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_seeds_windows_are_the_same_lines_in_order_and_hold_every_reading() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, seed| {
            let (out, wanted) =
                (folder.path().join(name), HealthyWindows { devices: 20, minutes: 5, seed });
            let count = write_windows(&wanted, &Surroundings::default(), &out).unwrap();
            (count, fs::read_to_string(&out).unwrap())
        };
        let (count, text) = written("one", 7);
        let windows: Vec<WindowRecord> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(windows.len(), count);
        let keys: Vec<_> = windows.iter().map(|w| (w.window_start, w.device.clone())).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        // Ten a minute of each device, as in the demo.
        assert_eq!(windows.iter().map(|w| w.count).sum::<u64>(), 20 * 5 * 10);
        let whole = windows.iter().filter(|w| (9..=11).contains(&w.count)).count();
        assert!(whole > 60, "{whole} of {count}");

        assert_eq!(written("again", 7), (count, text.clone()));
        assert_ne!(written("other", 8).1, text);
    }
}
