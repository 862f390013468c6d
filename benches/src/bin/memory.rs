//! What a device costs in memory: the resident size of a graph that holds one open window for each of
//! N devices, less the user's own structs. One process a size: `memory DEVICES`, or none for all.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tideflow::core::{
    Batch, Check, Ending, Job, Part, PartState, RecentBindings, Source, SourceSpec, SourceStart,
    execute, timely,
};
use tideflow::prelude::*;

#[derive(Clone, Serialize, Deserialize)]
struct Reading {
    device: DeviceId,
    value: f64,
}

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        EventTime(1_700_000_000_000)
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Values(Stats);

impl Aggregate<Reading> for Values {
    fn add(&mut self, reading: &Reading) {
        self.0.add(reading.value);
    }
}

/// A warm-up of a thousand devices, again and again; then every device once; then the end.
struct Devices {
    sent: u64,
    devices: u64,
    job: Job,
    before: u64,
    quiet_cuts: u32,
}

const WARM_DEVICES: u64 = 1_000;
const WARM_READINGS: u64 = 500_000;
/// Epochs to wait for everything to arrive: more than may be in flight.
const QUIET_CUTS: u32 = 40;

impl Source for Devices {
    type Item = Reading;

    fn poll(&mut self, batch: &mut Batch<Reading>) -> bool {
        let (warm, all) = (WARM_READINGS, WARM_READINGS + self.devices);
        let waits = self.sent == all || (self.sent == warm && self.quiet_cuts < QUIET_CUTS);
        if waits {
            return false;
        }
        for _ in 0..Batch::<Reading>::RECORDS {
            let number = if self.sent < warm { self.sent % WARM_DEVICES } else { self.sent };
            let device = format!("d{number:09}").parse().expect("well formed");
            batch.items.push(Reading { device, value: self.sent as f64 });
            batch.bytes += 60;
            self.sent += 1;
            if self.sent == warm || self.sent == all {
                self.quiet_cuts = 0;
                break;
            }
        }
        true
    }

    fn cut(&mut self, _wall_ms: i64, parts: &mut Vec<Part>) {
        self.quiet_cuts += 1;
        if self.quiet_cuts == QUIET_CUTS && self.sent == WARM_READINGS {
            self.before = resident();
        }
        if self.quiet_cuts == QUIET_CUTS && self.sent > WARM_READINGS {
            println!("{}", resident() - self.before);
            self.job.stop.ask(Ending::Suspend);
        }
        parts.push(Part {
            source: "devices".to_string(),
            partition: 0,
            next: self.sent as i64,
            watermark: EventTime::MIN,
            state: PartState::Active,
        });
    }
}

struct DevicesSpec(u64);

impl SourceSpec for DevicesSpec {
    type Source = Devices;

    fn about(&self) -> String {
        format!("{} devices", self.0)
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, start: SourceStart) -> Result<Devices, BuildError> {
        Ok(Devices { sent: 0, devices: self.0, job: start.job, before: 0, quiet_cuts: 0 })
    }
}

/// The resident size of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    pages * 4096
}

fn hold(devices: u64) -> Result<()> {
    let mut job = Job::default();
    job.epochs.interval = Duration::from_millis(5);
    let log = Box::new(RecentBindings::new(10));
    execute(
        timely::Config::thread(),
        &job,
        log,
        |_| (),
        move |flow| {
            let (readings, _) = flow.source("devices", DevicesSpec(devices))?;
            let windows = readings
                .key_by(|r: &Reading| &r.device)
                .tumbling_window::<_, Values>("windows", Tumbling::of(minutes(1)))?;
            flow.sink("out", windows.on_time, VecSink::new())
        },
    )?;
    Ok(())
}

fn main() -> Result<()> {
    if let Some(devices) = std::env::args().nth(1) {
        return hold(devices.parse().context("DEVICES: expected a number")?);
    }
    let own = size_of::<DeviceId>() + size_of::<Values>();
    println!("| devices | bytes a device | of them key and accumulator | above |");
    println!("|---|---|---|---|");
    for devices in [10_000u64, 100_000, 1_000_000] {
        let output = Command::new(std::env::current_exe()?).arg(devices.to_string()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let grown: u64 = text.trim().parse().with_context(|| {
            format!("run with {devices} devices: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        let each = grown as f64 / devices as f64;
        println!("| {devices} | {each:.0} | {own} | {:.0} |", each - own as f64);
    }
    Ok(())
}
