//! The `device_health` graph as a program.

use std::process::ExitCode;

use tideflow_dataflows::device_health::{DEFAULTS, DeviceHealth, device_health};

fn main() -> ExitCode {
    tideflow::main(tideflow::Graph {
        name: "device_health",
        about: "Minute statistics, health scores and alarms for a fleet of devices.",
        version: env!("CARGO_PKG_VERSION"),
        defaults: DEFAULTS,
        validate: DeviceHealth::problems,
        durability: |config: &DeviceHealth, name| config.job.durability(name, &config.kafka),
        build: device_health,
        model: Some(DeviceHealth::model_settings),
        compare: Some(DeviceHealth::comparison),
    })
}
