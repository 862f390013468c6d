//! Writes what a graph's model would be given.

use std::io::Write;
use std::path::Path;

use tideflow_core::timely::Config;
use tideflow_core::{
    BuildError, EpochSettings, ErrorKind, FeatureRows, Flow, Job, LogOnly, RecentBindings,
    TakenRows, WantedRows, execute, plan_of,
};

use crate::feature_file::{FeatureFileError, expect_none, write_features};
use crate::graph::expect_checked;
use crate::runner::RunFailure;

/// Runs the graph over what its sources hold, up to its model, and writes the rows that this would be given to a
/// file. `out` is told how many.
///
/// Nothing is durable: it neither reads nor writes what a job of the graph keeps.
pub(crate) fn write(
    (config, epochs): (Config, EpochSettings),
    build: impl Fn(&Flow<'_>) -> Result<(), BuildError> + Send + Sync + 'static,
    (to, wanted): (&Path, &WantedRows),
    out: &mut dyn Write,
) -> Result<(), RunFailure> {
    expect_none(to)?;
    let rows = FeatureRows::new(wanted.clone());
    let job = Job { epochs, rows: Some(rows.clone()), ..Job::default() };
    // Held while the graph runs: with it go connections that the checks have made.
    let plan = plan_of(&job, &build)?;
    rows.expect_one()?;
    expect_checked(&plan)?;
    execute(config, &job, LogOnly::new(RecentBindings::new(1)), |_| (), build)?;
    let TakenRows { names, rows, unfit } = rows.finish();
    if rows.is_empty() {
        let message = format!(
            "expected rows for the model, found none ({unfit} with a feature that is not finite)"
        );
        return Err(RunFailure { kind: ErrorKind::Invalid, message });
    }
    write_features(to, &names, &rows, None)?;
    let count = rows.len();
    let left_out = match unfit {
        0 => String::new(),
        _ => format!("; {unfit} with a feature that is not finite left out"),
    };
    let told = writeln!(out, "features of {count} rows in {}{left_out}", to.display());
    told.map_err(|error| RunFailure { kind: ErrorKind::Fatal, message: error.to_string() })
}

impl From<FeatureFileError> for RunFailure {
    fn from(error: FeatureFileError) -> RunFailure {
        RunFailure { kind: error.kind(), message: error.to_string() }
    }
}
