//! What a device costs in memory: the resident size of a graph that holds one open window for each of
//! N devices, less the user's own structs, and what the page of metrics says of it. One process a size:
//! `memory DEVICES`, or none for all.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tideflow::core::{
    Batch, Check, Ending, Job, LogOnly, Part, PartState, RecentBindings, Source, SourceSpec,
    SourceStart, execute, timely,
};
use tideflow::prelude::*;
use tideflow_benches::{Reading, Values};

/// A warm-up of a thousand devices, again and again; then every device once; then the end.
struct Devices {
    sent: u64,
    devices: u64,
    job: Job,
    before: (u64, u64),
    quiet_cuts: u32,
}

const WARM_DEVICES: u64 = 1_000;
const WARM_READINGS: u64 = 500_000;
/// Epochs to wait for everything to arrive and to be accounted: more than may be in flight, and than lie
/// between two looks at the state.
const QUIET_CUTS: u32 = 100;

impl Devices {
    /// Bytes that are resident, and those accounted for the windows.
    fn taken(&self) -> (u64, u64) {
        let accounted = self.job.metrics.state_bytes.with_label_values(&["windows", "0"]).get();
        (resident(), accounted as u64)
    }
}

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
            self.before = self.taken();
        }
        if self.quiet_cuts == QUIET_CUTS && self.sent > WARM_READINGS {
            let (now, before) = (self.taken(), self.before);
            println!("{} {}", now.0 - before.0, now.1 - before.1);
            self.job.stop.ask(Ending::Suspend);
        }
        parts.push(Part {
            source: "devices".to_string(),
            partition: 0,
            from: None,
            next: self.sent as i64,
            watermark: EventTime::MIN,
            state: PartState::Active,
        });
    }

    fn replayed(&self) -> u64 {
        0
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
        Ok(Devices { sent: 0, devices: self.0, job: start.job, before: (0, 0), quiet_cuts: 0 })
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
    let log = LogOnly::new(RecentBindings::new(10));
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
    println!("| devices | bytes a device | accounted | of them key and accumulator | above |");
    println!("|---|---|---|---|---|");
    for devices in [10_000u64, 100_000, 1_000_000] {
        let output = Command::new(std::env::current_exe()?).arg(devices.to_string()).output()?;
        let text = String::from_utf8(output.stdout)?;
        let numbers = text.trim().split_once(' ');
        let numbers = numbers.and_then(|(a, b)| Some([a.parse().ok()?, b.parse().ok()?]));
        let of =
            || format!("run with {devices} devices: {}", String::from_utf8_lossy(&output.stderr));
        let numbers: [u64; 2] = numbers.with_context(of)?;
        let [each, accounted] = numbers.map(|bytes| bytes as f64 / devices as f64);
        let above = each - own as f64;
        println!("| {devices} | {each:.0} | {accounted:.0} | {own} | {above:.0} |");
    }
    Ok(())
}
