//! What a plot of a recording shows, as JSON for `demo/plot.py`.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use super::outcome::{AlarmSpan, Outcome};
use super::recording::{Machine, Recording};
use super::replay::Replayed;
use super::sample::{Pump, Sample, Temperature};

#[derive(Serialize)]
struct Plot<'a> {
    name: &'a str,
    /// Fields and units, in the order of a row.
    fields: &'a [(&'a str, &'a str)],
    /// Times and values.
    rows: &'a [(i64, Vec<f64>)],
    probation_end: i64,
    labels: &'a [(i64, i64)],
    /// From, to, score.
    scores: &'a [(i64, i64, f64)],
    alarms: &'a [AlarmSpan],
    raise_above: f64,
    clear_below: f64,
}

/// Writes `NAME.json`: its path.
///
/// # Errors
/// When the file cannot be written.
pub fn write_plot(
    recording: &Recording,
    replayed: &Replayed,
    outcome: &Outcome,
    thresholds: (f64, f64),
    out: &Path,
) -> anyhow::Result<PathBuf> {
    let plot = Plot {
        name: &recording.name,
        fields: match recording.machine {
            Machine::Temperature => Temperature::UNITS,
            Machine::Pump => Pump::UNITS,
        },
        rows: &recording.rows,
        probation_end: recording.probation_end(),
        labels: &recording.labels,
        scores: &replayed.scores,
        alarms: &outcome.alarms,
        raise_above: thresholds.0,
        clear_below: thresholds.1,
    };
    let path = out.join(format!("{}.json", recording.name));
    let writing = || format!("writing `{}`", path.display());
    let file = BufWriter::new(File::create(&path).with_context(writing)?);
    serde_json::to_writer(file, &plot).with_context(writing)?;
    Ok(path)
}
