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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    /// 65 healthy minutes at 20 degrees, which a model may see, and an hour at 90. Then the clock
    /// was set back: by its time the last row is among the first, and still no model may see it.
    fn boiler() -> Recording {
        let value = |minute: i64| if minute < 65 { 20.0 } else { 90.0 };
        let mut rows: Vec<_> =
            (0..125).map(|minute| (minute * MINUTE_MS, vec![value(minute)])).collect();
        rows.push((5 * MINUTE_MS + 1, vec![99.0]));
        Recording {
            name: "boiler-7".into(),
            machine: Machine::Temperature,
            window_ms: 10 * MINUTE_MS,
            rows,
            probation: 65,
            labels: vec![],
        }
    }

    /// A row every second, in which each sensor gives its own number.
    fn pump() -> Recording {
        let values: Vec<f64> = (1..=8).map(f64::from).collect();
        Recording {
            name: "skab_1".into(),
            machine: Machine::Pump,
            window_ms: 10_000,
            rows: (0..21).map(|second| (second * 1_000, values.clone())).collect(),
            probation: 20,
            labels: vec![],
        }
    }

    fn lines(folder: &Path, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_model_learns_from_whole_windows_of_rows_that_it_may_see_and_of_no_others() {
        let folder = tempfile::tempdir().unwrap();
        write_training(&[boiler()], folder.path()).unwrap();
        let windows = lines(folder.path(), "boiler-7");
        let starts: Vec<_> = windows.iter().map(|w| w["window_start"].as_i64().unwrap()).collect();
        // The window from minute 60 also holds rows that it may not see.
        assert_eq!(starts, [0, 10, 20, 30, 40, 50].map(|minute| minute * MINUTE_MS));
        for window in &windows {
            assert_eq!((&window["device"], &window["count"]), (&"boiler-7".into(), &10.into()));
            let length =
                window["window_end"].as_i64().unwrap() - window["window_start"].as_i64().unwrap();
            assert_eq!(length, 10 * MINUTE_MS);
            let expected = serde_json::json!({"mean": 20.0, "std": 0.0, "min": 20.0, "max": 20.0});
            assert_eq!(window["value"], expected, "{window}");
        }
    }

    #[test]
    fn every_recording_has_its_windows_and_a_line_with_the_units_of_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("made");
        write_training(&[boiler(), pump()], &out).unwrap();
        let index = fs::read_to_string(out.join("index.tsv")).unwrap();
        let expected = "boiler-7\tvalue=degF\nskab_1\taccelerometer_1=g\taccelerometer_2=g\t\
                        current=A\tpressure=bar\ttemperature=degC\tthermocouple=degC\t\
                        voltage=V\tflow=l/min\n";
        assert_eq!(index, expected);
        let windows = lines(&out, "skab_1");
        assert_eq!(windows.len(), 2);
        for (number, (field, _)) in (1..).zip(Pump::UNITS) {
            assert_eq!(windows[1][field]["mean"], f64::from(number), "{field}");
        }
    }
}
