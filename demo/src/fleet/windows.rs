//! Healthy windows to train the model on: the same simulator and the same window operator.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tideflow::core::timely::Config;
use tideflow::core::{Job, RecentBindings, execute};
use tideflow::prelude::*;
use tideflow::sources::simulate::{Fleet, FleetConfig};
use tideflow_dataflows::device_health::{Reading, ReadingStats, WindowRecord};

use super::options::settings;

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
pub fn write_windows(wanted: &HealthyWindows, out: &Path) -> anyhow::Result<usize> {
    let (config, _) = settings(&[])?;
    let bound = Duration::from_millis(config.readings.out_of_orderness_ms);
    let source = VecSource::new(readings(wanted)?).out_of_orderness(bound);
    let windows = VecSink::new();
    let (sink, tumbling) = (windows.clone(), config.window.tumbling());
    let build = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", source.clone())?;
        let windows = readings
            .key_by(|r: &Reading| &r.device)
            .tumbling_window::<_, ReadingStats>("windows", tumbling)?;
        let records = windows.on_time.map("window records", WindowRecord::from)?;
        flow.sink("windows out", records, sink.clone())
    };
    let log = Box::new(RecentBindings::new(1));
    execute(Config::thread(), &Job::default(), log, |_| (), build)?;

    let mut records: Vec<WindowRecord> = windows.take().into_iter().map(|(_, w)| w).collect();
    records.sort_by(|a, b| (a.window_start, &a.device).cmp(&(b.window_start, &b.device)));
    let file =
        std::fs::File::create(out).with_context(|| format!("writing `{}`", out.display()))?;
    let mut file = BufWriter::new(file);
    for record in &records {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(records.len())
}

/// What the fleet sends, decoded as the graph would, in one partition.
fn readings(wanted: &HealthyWindows) -> anyhow::Result<Vec<Vec<Reading>>> {
    let mut fleet = Fleet::new(healthy_fleet(wanted))?;
    let mut readings = Vec::new();
    while let Some(message) = fleet.next_message() {
        readings.push(serde_json::from_slice(message.payload)?);
    }
    Ok(vec![readings])
}
