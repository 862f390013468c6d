//! The windows that a recording's model may learn from.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tideflow::prelude::{DeviceId, EventTime, Tumbling};

use super::graph::{MachineWindow, window_record};
use super::recording::{Machine, Recording};
use super::sample::{Pump, Sample, SampleWindow, Temperature};
use crate::windows::{windows_of, write_lines};

/// Writes `NAME.jsonl` for every recording and `index.tsv`: a name and a unit for each field a line.
///
/// # Errors
/// When a file cannot be written.
pub fn write_training(recordings: &[Recording], out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("making `{}`", out.display()))?;
    let mut index = String::new();
    for recording in recordings {
        let units = match recording.machine {
            Machine::Temperature => write_one::<Temperature>(recording, out)?,
            Machine::Pump => write_one::<Pump>(recording, out)?,
        };
        let units = units.iter().map(|(field, unit)| format!("\t{field}={unit}"));
        let _ = writeln!(index, "{}{}", recording.name, units.collect::<String>());
    }
    let path = out.join("index.tsv");
    fs::write(&path, index).with_context(|| format!("writing `{}`", path.display()))
}

/// The windows that end before the first row which the model may not see.
fn write_one<S: Sample>(
    recording: &Recording,
    out: &Path,
) -> anyhow::Result<&'static [(&'static str, &'static str)]> {
    let device = DeviceId::try_from(recording.name.as_str())?;
    let rows = recording.rows.iter().take(recording.probation);
    let samples: Vec<S> =
        rows.map(|(ts, values)| S::new(&device, EventTime(*ts), values)).collect();
    let bound = Duration::from_millis(recording.disorder_ms() as u64);
    let length = Tumbling::of(Duration::from_millis(recording.window_ms as u64));
    let windows = windows_of::<S, S::Stats, Recorded<S>>(samples, bound, length, S::device)?;
    let mut windows: Vec<_> = windows.into_iter().map(|window| window.0).collect();
    windows.retain(|window| window.window_end.0 <= recording.probation_end());
    windows.sort_by_key(|window| window.window_start);
    write_lines(&windows, &out.join(format!("{}.jsonl", recording.name)))?;
    Ok(S::UNITS)
}

/// A window as it is written.
#[derive(Clone)]
struct Recorded<S: Sample>(SampleWindow<S::Summaries>);

impl<S: Sample> From<MachineWindow<S>> for Recorded<S> {
    fn from(window: MachineWindow<S>) -> Self {
        Recorded(window_record::<S>(window))
    }
}
