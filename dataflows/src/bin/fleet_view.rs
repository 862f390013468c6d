//! The `fleet_view` graph as a program.

use std::process::ExitCode;

use tideflow_dataflows::fleet_view::{DEFAULTS, FleetView, fleet_view};

fn main() -> ExitCode {
    tideflow::main(tideflow::Graph {
        name: "fleet_view",
        about: "Where devices are and what they said last, rolled up by site and by region.",
        version: env!("CARGO_PKG_VERSION"),
        defaults: DEFAULTS,
        validate: FleetView::problems,
        durability: |config: &FleetView, name| config.job.durability(name, &config.kafka),
        build: fleet_view,
        model: None,
        compare: None,
    })
}
