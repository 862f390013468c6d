//! Recordings as files.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::DetectError;
use super::graph::Reading;

/// What recordings look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SKAB: `;`-separated with a header, a time and eight sensors of a pump.
    Skab,
    /// NAB: `,`-separated with a header, a time and a value.
    Nab,
    /// C-MAPSS FD001: `train_FD001.txt` and `test_FD001.txt`, separated by spaces.
    Cmapss,
}

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Its file, below the folder; of an engine its number.
    pub name: PathBuf,
    /// The time of each row, as it was written; of an engine the cycle.
    pub times: Vec<String>,
    /// What was recorded, a row each.
    pub rows: Vec<Vec<f64>>,
    /// Values that are missing: the one before stands for each.
    pub missing: usize,
    /// What is known of each row, 1 for an anomaly; none where nothing is.
    pub labels: Option<Vec<f64>>,
}

/// The sensors of a pump, by their names in the header.
const PUMP: [&str; 8] = [
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
];
/// The column of a pump's recording that says what is known of a row.
const PUMP_LABEL: &str = "anomaly";
/// Columns of an engine's row: unit, cycle, three settings, 21 sensors.
const ENGINE_COLUMNS: usize = 26;
/// Of an engine: whose row it is, and when.
const ENGINE_KEYS: usize = 2;

impl Recording {
    /// Its rows as records of the graph.
    pub fn readings(&self, part: u64) -> Vec<Reading> {
        let reading =
            |(row, values): (u64, &Vec<f64>)| Reading { part, row, values: values.clone() };
        (0..).zip(&self.rows).map(reading).collect()
    }
}

/// The recordings of every `*.csv` below a folder, in the order of their paths; of engines those of the file
/// `name` in it. Beside them what is wrong with each file that is no recording, where others are.
///
/// # Errors
/// Names the first file and the line at fault where there is no recording at all, or says that there is nothing.
pub fn read(
    format: Format,
    folder: &Path,
    name: &str,
) -> Result<(Vec<Recording>, Vec<DetectError>), DetectError> {
    if format == Format::Cmapss {
        return Ok((engines(&folder.join(name))?, Vec::new()));
    }
    let mut files = Vec::new();
    collect(folder, &mut files).map_err(DetectError::io("reading", folder))?;
    files.sort();
    if files.is_empty() {
        return Err(DetectError::Nothing { what: "`*.csv` below", place: folder.to_path_buf() });
    }
    let (mut recordings, mut unreadable) = (Vec::new(), Vec::new());
    for file in &files {
        let read = match format {
            Format::Skab => table(file, b';', "datetime", &PUMP, Some(PUMP_LABEL)),
            _ => table(file, b',', "timestamp", &["value"], None),
        };
        let name = file.strip_prefix(folder).unwrap_or(file).to_path_buf();
        match read {
            Ok(recording) => recordings.push(Recording { name, ..recording }),
            Err(error) => unreadable.push(error),
        }
    }
    match recordings.is_empty() {
        true => Err(unreadable.remove(0)),
        false => Ok((recordings, unreadable)),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            files.push(path);
        }
    }
    Ok(())
}

/// The columns of these names, wherever they are: the first as text, the others as numbers; the last may be missing.
fn table(
    file: &Path,
    separator: u8,
    time: &str,
    numbers: &[&str],
    label: Option<&str>,
) -> Result<Recording, DetectError> {
    let no_table = |source| DetectError::Table { file: file.to_path_buf(), source };
    let wrong = |wrong: String| DetectError::Recording { file: file.to_path_buf(), wrong };
    let reader = csv::ReaderBuilder::new().delimiter(separator).from_path(file);
    let mut reader = reader.map_err(no_table)?;
    let header = reader.headers().map_err(no_table)?.clone();
    if header.is_empty() {
        return Err(wrong("it is empty".to_string()));
    }
    let place = |name: &&str| {
        let found = header.iter().position(|column| column.trim() == *name);
        let all = || header.iter().collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| wrong(format!("no column `{name}`, only `{}`", all())))
    };
    let time = place(&time)?;
    let places: Vec<usize> = numbers.iter().map(place).collect::<Result<_, _>>()?;
    let label = label.and_then(|name| header.iter().position(|column| column.trim() == name));
    let mut recording = Recording {
        name: PathBuf::new(),
        times: Vec::new(),
        rows: Vec::new(),
        missing: 0,
        labels: label.map(|_| Vec::new()),
    };
    for record in reader.records() {
        let record = record.map_err(no_table)?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut row = Vec::with_capacity(places.len());
        for (column, place) in places.iter().enumerate() {
            let text = record.get(*place).unwrap_or_default();
            row.push(match recording.rows.last() {
                Some(before) if is_missing(text) => {
                    recording.missing += 1;
                    before[column]
                }
                _ => number(text, line).map_err(wrong)?,
            });
        }
        recording.rows.push(row);
        if let (Some(labels), Some(label)) = (&mut recording.labels, label) {
            labels.push(number(record.get(label).unwrap_or_default(), line).map_err(wrong)?);
        }
        recording.times.push(record.get(time).unwrap_or_default().to_string());
    }
    Ok(recording)
}

/// Whether a text stands for no value.
fn is_missing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || ["nan", "na", "null"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A finite number, or what is wrong.
fn number(text: &str, line: u64) -> Result<f64, String> {
    let number: Option<f64> = text.trim().parse().ok();
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("line {line}: expected a number, found `{text}`"))
}

/// Engines, each a recording, in the order of the file.
fn engines(file: &Path) -> Result<Vec<Recording>, DetectError> {
    let wrong = |wrong: String| DetectError::Recording { file: file.to_path_buf(), wrong };
    let text = fs::read_to_string(file).map_err(DetectError::io("reading", file))?;
    let mut recordings: Vec<Recording> = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        let values: Vec<&str> = row.split_whitespace().collect();
        if values.is_empty() {
            continue;
        }
        if values.len() != ENGINE_COLUMNS {
            let found = values.len();
            return Err(wrong(format!(
                "line {line}: expected {ENGINE_COLUMNS} columns, found {found}"
            )));
        }
        let (keys, values) = values.split_at(ENGINE_KEYS);
        let values = values.iter().map(|text| number(text, line)).collect::<Result<_, _>>();
        let values: Vec<f64> = values.map_err(wrong)?;
        let name = PathBuf::from(keys[0]);
        if recordings.last().is_none_or(|last| last.name != name) {
            if recordings.iter().any(|r| r.name == name) {
                let unit = keys[0];
                return Err(wrong(format!(
                    "line {line}: unit {unit} again, expected the rows of each together"
                )));
            }
            let (times, rows) = (Vec::new(), Vec::new());
            recordings.push(Recording { name, times, rows, missing: 0, labels: None });
        }
        let last = recordings.last_mut().expect("just made");
        last.times.push(keys[1].to_string());
        last.rows.push(values);
    }
    if recordings.is_empty() {
        return Err(DetectError::Nothing { what: "rows in", place: file.to_path_buf() });
    }
    Ok(recordings)
}
