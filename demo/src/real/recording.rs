//! Recorded machines: their rows, which of them are known to be healthy, and what is labelled.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::date;

/// Rows that NAB gives a detector to learn from: this share, and no more than this many.
const NAB_PROBATION_SHARE: f64 = 0.15;
const NAB_PROBATION_MAX: usize = 750;
/// And SKAB.
const SKAB_PROBATION: usize = 400;

/// What a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// One temperature.
    Temperature,
    /// A water pump with eight sensors.
    Pump,
}

/// One recorded machine.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The name of its file, without the ending; also its device and its model.
    pub name: String,
    /// What its rows hold.
    pub machine: Machine,
    /// The length of its windows, ms.
    pub window_ms: i64,
    /// Times, ms since the Unix epoch, and values, as recorded.
    pub rows: Vec<(i64, Vec<f64>)>,
    /// How many rows at the start a model may learn from; there are more.
    pub probation: usize,
    /// Labelled anomalies: from and to, ms since the Unix epoch, both within.
    pub labels: Vec<(i64, i64)>,
}

/// The two series of NAB, with the length of a window: as long as the machine's own rhythm, an hour of
/// work here and a day there.
const NAB: [(&str, i64); 2] = [
    ("machine_temperature_system_failure", 3_600_000),
    ("ambient_temperature_system_failure", 86_400_000),
];
const SKAB_WINDOW_MS: i64 = 10_000;

/// Reads the two series of NAB in a folder with `windows.json`.
///
/// # Errors
/// Names the file and the line at fault.
pub fn read_nab(folder: &Path) -> anyhow::Result<Vec<Recording>> {
    let path = folder.join("windows.json");
    let text = read(&path)?;
    let labelled: BTreeMap<String, Vec<(String, String)>> =
        serde_json::from_str(&text).with_context(|| format!("reading `{}`", path.display()))?;
    let one = |(name, window_ms): (&str, i64)| {
        let file = format!("{name}.csv");
        let rows = read_rows(&folder.join(&file), ',', 1)?;
        let share = (rows.len() as f64 * NAB_PROBATION_SHARE) as usize;
        let labels = labelled.get(&file).map(Vec::as_slice).unwrap_or_default();
        let label = |(from, to): &(String, String)| Some((date::parse(from)?, date::parse(to)?));
        let labels = labels.iter().map(label).collect::<Option<Vec<_>>>();
        Ok(Recording {
            name: name.to_string(),
            machine: Machine::Temperature,
            window_ms,
            rows,
            probation: share.min(NAB_PROBATION_MAX),
            labels: labels.with_context(|| format!("no dates in `{}`", path.display()))?,
        })
    };
    NAB.into_iter().map(one).collect()
}

/// Reads the pump experiments of SKAB in a folder with `other/*.csv`.
///
/// # Errors
/// Names the file and the line at fault.
pub fn read_skab(folder: &Path) -> anyhow::Result<Vec<Recording>> {
    let folder = folder.join("other");
    let listed = fs::read_dir(&folder);
    let listed =
        listed.with_context(|| format!("no SKAB experiments in `{}`", folder.display()))?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "csv") {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            files.push((stem.parse::<u32>().unwrap_or(u32::MAX), stem, path));
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no SKAB experiments in `{}`", folder.display());
    files.into_iter().map(|(_, stem, path)| read_experiment(&stem, &path)).collect()
}

fn read_experiment(stem: &str, path: &Path) -> anyhow::Result<Recording> {
    // Eight sensors, whether the row is anomalous, and whether it is the first or last such row.
    let mut rows = read_rows(path, ';', 10)?;
    let anomalous: Vec<_> = rows.iter().map(|(ts, values)| (*ts, values[8] > 0.0)).collect();
    rows.iter_mut().for_each(|(_, values)| values.truncate(8));
    ensure!(
        rows.len() > SKAB_PROBATION,
        "`{}` holds {} rows, expected more than the {SKAB_PROBATION} that a model learns from",
        path.display(),
        rows.len()
    );
    Ok(Recording {
        name: format!("skab_{stem}"),
        machine: Machine::Pump,
        window_ms: SKAB_WINDOW_MS,
        probation: SKAB_PROBATION,
        labels: runs(&anomalous),
        rows,
    })
}

/// From the first to the last row of each run of anomalous rows.
fn runs(rows: &[(i64, bool)]) -> Vec<(i64, i64)> {
    let mut labels = Vec::new();
    for run in rows.chunk_by(|a, b| a.1 == b.1).filter(|run| run[0].1) {
        labels.push((run[0].0, run[run.len() - 1].0));
    }
    labels
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))
}

/// Rows of a date and `count` numbers, below one line of names.
fn read_rows(path: &Path, separator: char, count: usize) -> anyhow::Result<Vec<(i64, Vec<f64>)>> {
    let mut rows = Vec::new();
    for (index, line) in read(path)?.lines().enumerate().skip(1) {
        let mut cells = line.trim_end().split(separator);
        let ts = cells.next().and_then(date::parse);
        let values: Option<Vec<f64>> = cells.map(|cell| cell.parse().ok()).collect();
        match (ts, values) {
            (Some(ts), Some(values)) if values.len() == count => rows.push((ts, values)),
            _ => bail!(
                "`{}`:{}: expected a date and {count} numbers, found `{line}`",
                path.display(),
                index + 1
            ),
        }
    }
    ensure!(!rows.is_empty(), "`{}` holds no row", path.display());
    Ok(rows)
}

impl Recording {
    /// The time of the first row that no model has seen, ms since the Unix epoch.
    ///
    /// # Panics
    /// Where there is none.
    pub fn probation_end(&self) -> i64 {
        self.rows[self.probation].0
    }

    /// How far a row lies behind an earlier one at most, ms.
    pub fn disorder_ms(&self) -> i64 {
        let mut newest = i64::MIN;
        let behind = self.rows.iter().map(|(ts, _)| {
            newest = newest.max(*ts);
            newest - ts
        });
        behind.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    #[test]
    fn a_label_is_a_run_of_anomalous_rows() {
        let rows = [0, 0, 1, 1, 1, 0, 1].map(|x| x > 0);
        let rows: Vec<_> = rows.into_iter().enumerate().map(|(i, x)| (i as i64, x)).collect();
        assert_eq!(runs(&rows), [(2, 4), (6, 6)]);
    }

    #[test]
    fn the_series_of_nab_are_read_with_their_labels() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/nab");
        let series = read_nab(&folder).unwrap();
        let shape = |r: &Recording| (r.rows.len(), r.probation, r.labels.len(), r.disorder_ms());
        assert_eq!(shape(&series[0]), (22_695, 750, 4, 3_300_000));
        assert_eq!(shape(&series[1]), (7_267, 750, 2, 0));
        assert_eq!(series[0].labels[0].0, date::parse("2013-12-10 06:25:00").unwrap());
    }

    /// An experiment as SKAB writes it: a row a second from ten o'clock, some of them anomalous.
    fn experiment(rows: usize, anomalous: Range<usize>) -> String {
        let row = |i: usize| {
            let (minute, second) = (i / 60, i % 60);
            let anomaly = if anomalous.contains(&i) { "1.0" } else { "0.0" };
            format!("2020-03-09 10:{minute:02}:{second:02};1;2;3;4;5;6;7;8.5;{anomaly};0.0\n")
        };
        format!("names\n{}", (0..rows).map(row).collect::<String>())
    }

    #[test]
    fn the_experiments_of_skab_are_read_by_number_with_their_sensors_and_labels() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        for (name, rows, anomalous) in
            [("10", 500, 410..420), ("9", 401, 0..0), ("1", 402, 401..402)]
        {
            fs::write(other.join(format!("{name}.csv")), experiment(rows, anomalous)).unwrap();
        }
        // Neither is an experiment.
        fs::write(other.join("notes.txt"), "mine").unwrap();
        fs::write(folder.path().join("2.csv"), experiment(500, 0..0)).unwrap();

        let read = read_skab(folder.path()).unwrap();
        let shape = |r: &Recording| (r.name.clone(), r.rows.len(), r.labels.clone());
        let start = date::parse("2020-03-09 10:00:00").unwrap();
        let second = |n: i64| start + n * 1_000;
        let expected = [
            ("skab_1".to_string(), 402, vec![(second(401), second(401))]),
            ("skab_9".to_string(), 401, vec![]),
            ("skab_10".to_string(), 500, vec![(second(410), second(419))]),
        ];
        assert_eq!(read.iter().map(shape).collect::<Vec<_>>(), expected);
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.5];
        for recording in &read {
            assert_eq!((recording.machine, recording.probation), (Machine::Pump, 400));
            assert_eq!((recording.window_ms, recording.disorder_ms()), (10_000, 0));
            let rows = recording.rows.iter().enumerate();
            assert!(rows.into_iter().all(|(n, row)| *row == (second(n as i64), values.clone())));
        }
    }

    #[test]
    fn fault_a_folder_without_experiments_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        let refused = || read_skab(folder.path()).unwrap_err().to_string();
        let expected = format!("no SKAB experiments in `{}`", other.display());
        assert_eq!(refused(), expected);
        fs::create_dir(&other).unwrap();
        fs::write(other.join("notes.txt"), "mine").unwrap();
        assert_eq!(refused(), expected);
    }

    #[test]
    fn fault_an_experiment_with_nothing_behind_what_is_learnt_from_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.csv");
        fs::write(&path, experiment(400, 0..0)).unwrap();
        let error = read_experiment("1", &path).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "1.csv` holds 400 rows, expected more than the 400 that a model learns from"
            ),
            "{error}"
        );
        fs::write(&path, experiment(401, 0..0)).unwrap();
        let recording = read_experiment("1", &path).unwrap();
        assert_eq!(recording.probation_end(), date::parse("2020-03-09 10:06:40").unwrap());
    }

    #[test]
    fn fault_a_row_that_is_none_is_named_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "timestamp,value\n2013-12-02 21:15:00,1.5\n2013-12-02 21:20:00,x\n")
            .unwrap();
        let error = read_rows(&path, ',', 1).unwrap_err().to_string();
        assert!(error.contains("a.csv`:3: expected a date and 1 numbers"), "{error}");
    }
}
