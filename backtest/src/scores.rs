//! Scores, window by window.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tideflow_core::{EventTime, Stop};

use crate::buckets::Buckets;
use crate::sketch::Sketch;
use crate::{CompareError, ScorePoint};

/// One window's score of one side.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    published: bool,
    device: String,
    start: i64,
    end: i64,
    score: f64,
    by: String,
}

/// A line of `differences.csv`: empty where a side has no score.
#[derive(Serialize)]
struct Row<'a> {
    device: &'a str,
    window_start: i64,
    window_end: i64,
    published: Option<f64>,
    replayed: Option<f64>,
    difference: Option<f64>,
    published_by: &'a str,
    replayed_by: &'a str,
}

/// Both sides' scores, on their way to be compared.
pub(crate) struct Scores {
    entries: Buckets<Entry>,
    from: EventTime,
    to: EventTime,
    report: ScoreReport,
}

/// What came of it. Differences are the replay's score less the published one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ScoreReport {
    /// Windows that both have scored.
    pub compared: u64,
    /// Those whose scores are the same to the bit.
    pub equal: u64,
    pub only_published: u64,
    pub only_replayed: u64,
    /// Windows that begin before the time and end in it: of both sides, not compared.
    pub cut: u64,
    /// Windows that were published again: the last counts.
    pub published_again: u64,
    /// Published records that are none of the graph's.
    pub unreadable: u64,
    /// How many of each model and version.
    pub published_by: BTreeMap<String, u64>,
    pub replayed_by: BTreeMap<String, u64>,
    pub difference: Option<Difference>,
    /// Of the replay's scores against the published ones.
    pub psi: Option<f64>,
}

/// Of the windows that both have scored. The quantiles are right to 0.4 %.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub mean: f64,
    pub mean_abs: f64,
    pub p50_abs: f64,
    pub p95_abs: f64,
    pub p99_abs: f64,
    pub max_abs: f64,
    /// Where that is: the first of them by device and time.
    pub max_device: String,
    pub max_window_start: i64,
}

impl Scores {
    /// For windows of `from` to `to`, of which a side has about so many.
    pub fn new(
        folder: &Path,
        (from, to): (EventTime, EventTime),
        windows: u64,
    ) -> Result<Self, CompareError> {
        let entries = Buckets::new(&folder.join("scores"), 2 * windows)?;
        Ok(Scores { entries, from, to, report: ScoreReport::default() })
    }

    /// Takes a score of one side.
    pub fn add(&mut self, published: bool, point: Option<ScorePoint>) -> Result<(), CompareError> {
        let Some(point) = point else {
            self.report.unreadable += 1;
            return Ok(());
        };
        let ScorePoint { device, start, end, score, by } = point;
        if end <= self.from || end > self.to {
            return Ok(());
        }
        if start < self.from {
            self.report.cut += 1;
            return Ok(());
        }
        let versions =
            if published { &mut self.report.published_by } else { &mut self.report.replayed_by };
        *versions.entry(by.clone()).or_default() += 1;
        let entry = Entry { published, device, start: start.0, end: end.0, score, by };
        self.entries.add(&entry.device, &entry)
    }

    /// Compares them, and writes a line for each window to `file`; none where it was asked to stop.
    pub fn compare(self, file: &Path, stop: &Stop) -> Result<Option<ScoreReport>, CompareError> {
        let Scores { entries, mut report, .. } = self;
        let lines = File::create_new(file).map_err(CompareError::io("making", file))?;
        let mut lines = csv::Writer::from_writer(io::BufWriter::new(lines));
        let mut sums = Sums::default();
        let all = entries.each(stop, |entries| {
            let mut windows = BTreeMap::<(String, i64), [Option<Entry>; 2]>::new();
            for entry in entries {
                let side = usize::from(!entry.published);
                let both = windows.entry((entry.device.clone(), entry.start)).or_default();
                if let Some(Entry { published: true, .. }) = both[side].replace(entry) {
                    report.published_again += 1;
                }
            }
            for ((device, window_start), both) in &windows {
                let row = row(device, *window_start, both);
                sums.add(&row, &mut report);
                let failed = |error: csv::Error| CompareError::io("writing", file)(error.into());
                lines.serialize(row).map_err(failed)?;
            }
            Ok(())
        })?;
        lines.flush().map_err(CompareError::io("writing", file))?;
        report.psi = sums.published.psi(&sums.replayed);
        report.difference = sums.difference(report.compared);
        Ok(all.then_some(report))
    }
}

fn row<'a>(device: &'a str, window_start: i64, both: &'a [Option<Entry>; 2]) -> Row<'a> {
    let [published, replayed] = both.each_ref().map(Option::as_ref);
    let window_end = published.or(replayed).map_or(window_start, |entry| entry.end);
    let by = |side: Option<&'a Entry>| side.map_or("", |entry| entry.by.as_str());
    let (published_by, replayed_by) = (by(published), by(replayed));
    let [published, replayed] = [published, replayed].map(|side| side.map(|entry| entry.score));
    let difference = published.zip(replayed).map(|(published, replayed)| replayed - published);
    Row {
        device,
        window_start,
        window_end,
        published,
        replayed,
        difference,
        published_by,
        replayed_by,
    }
}

/// What is added up over the windows of both sides.
#[derive(Default)]
struct Sums {
    signed: f64,
    abs: f64,
    /// The largest, with device and start.
    max: Option<(f64, String, i64)>,
    differences: Sketch,
    published: Sketch,
    replayed: Sketch,
}

impl Sums {
    fn add(&mut self, row: &Row<'_>, report: &mut ScoreReport) {
        let (Some(published), Some(replayed), Some(difference)) =
            (row.published, row.replayed, row.difference)
        else {
            report.only_published += u64::from(row.published.is_some());
            report.only_replayed += u64::from(row.replayed.is_some());
            return;
        };
        report.compared += 1;
        report.equal += u64::from(published.to_bits() == replayed.to_bits());
        self.signed += difference;
        self.abs += difference.abs();
        self.differences.add(difference.abs());
        self.published.add(published);
        self.replayed.add(replayed);
        let place = (row.device, row.window_start);
        let larger = self.max.as_ref().is_none_or(|(max, device, start)| {
            let same = *max == difference.abs() && place < (device.as_str(), *start);
            difference.abs() > *max || same
        });
        if larger {
            self.max = Some((difference.abs(), row.device.to_string(), row.window_start));
        }
    }

    fn difference(self, compared: u64) -> Option<Difference> {
        let (max_abs, max_device, max_window_start) = self.max?;
        let quantile = |share| self.differences.quantile(share).expect("there are some");
        Some(Difference {
            mean: self.signed / compared as f64,
            mean_abs: self.abs / compared as f64,
            p50_abs: quantile(0.5),
            p95_abs: quantile(0.95),
            p99_abs: quantile(0.99),
            max_abs,
            max_device,
            max_window_start,
        })
    }
}

impl ScoreReport {
    /// Whether the replay says what was published.
    pub fn is_same(&self) -> bool {
        self.equal == self.compared && self.only_published == 0 && self.only_replayed == 0
    }

    /// For people: lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let ScoreReport { compared, only_published, only_replayed, cut, .. } = self;
        let differ = compared - self.equal;
        let _ = match &self.difference {
            None => writeln!(text, "scores    none to compare"),
            Some(_) if differ == 0 => writeln!(text, "scores    {compared} compared, all the same"),
            Some(d) => writeln!(
                text,
                "scores    {differ} of {compared} differ: by {:+.4} on average, {:.4} without sign, at most {:.4} \
                 ({}, window of {})\n          without sign p50 {:.4}, p95 {:.4}, p99 {:.4}; PSI {:.3}, {}",
                d.mean,
                d.mean_abs,
                d.max_abs,
                d.max_device,
                EventTime(d.max_window_start).date(),
                d.p50_abs,
                d.p95_abs,
                d.p99_abs,
                self.psi.unwrap_or_default(),
                judged(self.psi.unwrap_or_default()),
            ),
        };
        let mut rest = Vec::new();
        let mut tell = |count: &u64, what: &str| {
            if *count > 0 {
                rest.push(format!("{count} {what}"));
            }
        };
        tell(only_published, "windows only published");
        tell(only_replayed, "windows only replayed");
        tell(cut, "scores of windows that begin before the time, left out");
        tell(&self.published_again, "published again, of which the last counts");
        tell(&self.unreadable, "published records that are none of the graph's");
        if !rest.is_empty() {
            let _ = writeln!(text, "          {}", rest.join("; "));
        }
        let versions = |by: &BTreeMap<String, u64>| {
            let each = by.iter().map(|(version, count)| format!("{version} ({count})"));
            let all = each.collect::<Vec<_>>().join(", ");
            if all.is_empty() { "nothing".to_string() } else { all }
        };
        let (published, replayed) = (versions(&self.published_by), versions(&self.replayed_by));
        let _ =
            writeln!(text, "models    published by {published}\n          replayed by {replayed}");
        text
    }
}

/// What a PSI is taken to mean, by the rule of thumb of credit scoring.
fn judged(psi: f64) -> &'static str {
    match psi {
        psi if psi < 0.1 => "alike",
        psi if psi < 0.25 => "somewhat other scores",
        _ => "quite other scores",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(device: &str, start: i64, score: f64, by: &str) -> Option<ScorePoint> {
        let (start, end) = (EventTime(start), EventTime(start + 10));
        Some(ScorePoint { device: device.to_string(), start, end, score, by: by.to_string() })
    }

    #[test]
    fn windows_are_compared_by_device_and_start_and_those_at_the_edges_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut scores =
            Scores::new(folder.path(), (EventTime(100), EventTime(200)), 1).expect("new");
        for (published, device, start, score) in [
            (true, "a", 100, 0.25),
            (false, "a", 100, 0.5),
            (true, "a", 190, 0.5),
            (false, "a", 190, 0.5),
            (true, "b,\"", 100, 0.5),
            (true, "b,\"", 100, 1.0),
            (false, "b,\"", 100, 0.25),
            (true, "a", 120, 0.1),
            (false, "c", 120, 0.1),
            (true, "a", 95, 0.1),
            (false, "a", 95, 0.2),
            (true, "a", 90, 0.1),
            (true, "a", 195, 0.1),
        ] {
            let by = if published { "m/7" } else { "m/8" };
            scores.add(published, point(device, start, score, by)).expect("there is room");
        }
        scores.add(true, None).expect("it is counted");
        let file = folder.path().join("differences.csv");
        let report = scores.compare(&file, &Stop::default()).expect("there is room");
        let report = report.expect("nobody asked to stop");
        let counts = [
            report.compared,
            report.equal,
            report.only_published,
            report.only_replayed,
            report.cut,
            report.published_again,
            report.unreadable,
        ];
        assert_eq!(counts, [3, 1, 1, 1, 2, 1, 1]);
        let d = report.difference.clone().expect("three are compared");
        assert_eq!((d.mean, d.mean_abs), (-0.5 / 3.0, 1.0 / 3.0));
        assert_eq!((d.max_abs, d.max_device.as_str(), d.max_window_start), (0.75, "b,\"", 100));
        assert_eq!((d.p50_abs, d.p99_abs), (0.25, 0.75));
        assert_eq!(report.published_by, BTreeMap::from([("m/7".to_string(), 5)]));
        let lines = std::fs::read_to_string(&file).expect("just written");
        let expected = "device,window_start,window_end,published,replayed,difference,published_by,replayed_by\n\
                        a,100,110,0.25,0.5,0.25,m/7,m/8\n\
                        a,120,130,0.1,,,m/7,\n\
                        a,190,200,0.5,0.5,0.0,m/7,m/8\n\
                        \"b,\"\"\",100,110,1.0,0.25,-0.75,m/7,m/8\n\
                        c,120,130,,0.1,,,m/8\n";
        assert_eq!(lines, expected);
        assert!(report.text().starts_with("scores    2 of 3 differ: by -0.1667 on average"));
    }
}
