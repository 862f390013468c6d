//! The graph.

use tideflow::core::{SinkSpec, Source, SourceSpec};
use tideflow::models::LinearModel;
use tideflow::prelude::*;

use crate::{Cargo, CargoReading, CargoStats, LateReading, WarmCargo};

/// Raises an alarm when a truck's cargo was too warm for several windows in a row.
///
/// # Errors
/// When an option cannot be used, or a source or sink cannot start.
pub fn cold_chain(
    flow: &Flow<'_>,
    cargo: &Cargo,
    readings: impl SourceSpec<Source: Source<Item = CargoReading>>,
    alarms_out: impl SinkSpec<WarmCargo>,
    late_out: impl SinkSpec<LateReading>,
    rejects_out: impl SinkSpec<Rejected>,
) -> Result<(), BuildError> {
    let (readings, rejects) = flow.source("readings", readings)?;

    let windows = readings
        .key_by(|r: &CargoReading| &r.truck)
        .tumbling_window::<_, CargoStats>("windows", Tumbling::of(minutes(cargo.window_minutes)))?;

    // The rule is a model: degrees above the limit. A trained one would take its place here.
    let excess = LinearModel::new(
        "excess",
        &[("celsius.mean", "degrees Celsius")],
        &[1.0],
        -cargo.limit_celsius,
    );
    let excess = windows.on_time.infer("excess", &ModelRef::from(excess))?;
    let warm = Hysteresis::raise_above(0.0)
        .clear_below(-cargo.margin_celsius)
        .for_at_least(cargo.windows_min);
    let alarms = excess.scored.alarm("too warm", warm)?;

    let alarms = alarms.map("alarm records", WarmCargo::from)?;
    flow.sink("alarms out", alarms, alarms_out)?;

    let late = windows.late.map("late records", LateReading::from)?;
    flow.sink("late out", late, late_out)?;

    flow.sink("rejects out", rejects.and(excess.failed), rejects_out)
}
