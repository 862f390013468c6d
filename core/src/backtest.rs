//! A run over the past that publishes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{BuildError, Check, EventTime, Stop};

/// A part of the past that a graph runs over again, and the folder that its results go to instead of to where
/// a job publishes them. Cheap to clone: all clones are the same.
///
/// Sources yield the records of that time and end; [`Flow::sink`](crate::Flow::sink) sees to it that nothing is
/// published. The watermark does not go beyond the end of the time, so what comes out is what a job has by
/// then: windows that are open at the end have no result.
#[derive(Clone, Debug)]
pub struct Backtest {
    /// The first event time that is read: what comes of it up to `from` warms up the graph's state.
    pub warm_up_from: EventTime,
    /// The first event time that counts.
    pub from: EventTime,
    /// The first that does not; [`EventTime::MAX`] for all that is there when the run begins.
    pub to: EventTime,
    folder: PathBuf,
    kept: Arc<Mutex<Kept>>,
}

/// What came of the run so far.
#[derive(Debug, Default)]
struct Kept {
    outputs: BTreeMap<String, Arc<RecordedOutput>>,
    notes: BTreeSet<String>,
    reached: Option<EventTime>,
}

impl Backtest {
    /// The time, and a folder that is there.
    pub fn new(from: EventTime, to: EventTime, folder: impl Into<PathBuf>) -> Self {
        Backtest { warm_up_from: from, from, to, folder: folder.into(), kept: Arc::default() }
    }

    /// Reads what lies so long before it too.
    #[must_use]
    pub fn warmed_up(self, span: Duration) -> Self {
        Backtest { warm_up_from: self.from.minus(span), ..self }
    }

    /// Whether records of this time are read.
    #[inline]
    pub fn holds(&self, at: EventTime) -> bool {
        self.warm_up_from <= at && at < self.to
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of an output: of a topic, or of whatever else results go to by this name.
    pub fn file_of(&self, name: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        self.folder.join("outputs").join(format!("{name}.jsonl"))
    }

    /// The output by this name; all workers have the same.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn output(&self, name: &str) -> io::Result<Arc<RecordedOutput>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.outputs.get(name) {
            return Ok(found.clone());
        }
        let path = self.file_of(name);
        std::fs::create_dir_all(path.parent().expect("it lies in a folder"))?;
        let file = BufWriter::with_capacity(1 << 18, File::create_new(path)?);
        let made = Arc::new(RecordedOutput(Mutex::new((file, 0))));
        kept.outputs.insert(name.to_string(), made.clone());
        Ok(made)
    }

    /// Brings all outputs to their files: the number of records of each, by its name.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn finish(&self) -> io::Result<BTreeMap<String, u64>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let finish = |(name, output): (&String, &Arc<RecordedOutput>)| {
            let mut output = output.0.lock().unwrap_or_else(PoisonError::into_inner);
            output.0.flush()?;
            Ok((name.clone(), output.1))
        };
        kept.outputs.iter().map(finish).collect()
    }

    /// Takes note of what whoever reads the results must know; the same is noted once.
    pub fn note(&self, note: String) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.notes.insert(note.clone()) {
            tracing::warn!("{note}");
        }
    }

    /// Learns how far the graph has come.
    pub(crate) fn reach(&self, watermark: EventTime) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).reached = Some(watermark);
    }

    /// The watermark that the graph has reached: what is over by then has its results. Less than the end that
    /// was asked for where there are no records up to that.
    pub fn reached(&self) -> EventTime {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.reached.unwrap_or(EventTime::MIN)
    }

    /// What was noted.
    pub fn notes(&self) -> BTreeSet<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).notes.clone()
    }
}

/// A file that takes what would have been published: a line a record.
#[derive(Debug)]
pub struct RecordedOutput(Mutex<(BufWriter<File>, u64)>);

impl RecordedOutput {
    /// Takes whole lines, of so many records; they stay together.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, lines: &[u8], records: u64) -> io::Result<()> {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        output.0.write_all(lines)?;
        output.1 += records;
        Ok(())
    }
}

/// Compares what a backtest has written with what was published. Every implementation promises:
/// 1. it reads, and writes below the backtest's folder only;
/// 2. what it says does not depend on the number of workers;
/// 3. its memory has a bound that its documents name.
///
/// ```
/// use tideflow_core::{Backtest, BuildError, Check, Compare, Compared, EventTime, Stop};
/// /// Says how much there is.
/// struct Count;
/// impl Compare for Count {
///     fn checks(&self) -> Vec<Check> { Vec::new() }
///     fn compare(&self, of: &Backtest, _: &Stop) -> Result<Option<Compared>, BuildError> {
///         let lines = std::fs::read_to_string(of.file_of("totals")).unwrap_or_default();
///         let records = lines.lines().count();
///         let json = serde_json::json!({ "records": records });
///         Ok(Some(Compared { text: format!("{records} records\n"), json }))
///     }
/// }
/// # let folder = std::env::temp_dir();
/// let backtest = Backtest::new(EventTime(0), EventTime(60_000), folder);
/// let said = Count.compare(&backtest, &Stop::default()).expect("nothing fails").expect("not stopped");
/// assert_eq!(said.text, "0 records\n");
/// ```
pub trait Compare {
    /// What must hold before the run.
    fn checks(&self) -> Vec<Check>;
    /// Compares, after the run; none where it was asked to stop.
    ///
    /// # Errors
    /// When what was published, or what was written, cannot be read.
    fn compare(&self, of: &Backtest, stop: &Stop) -> Result<Option<Compared>, BuildError>;
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// For people: lines, the answer in the first of them.
    pub text: String,
    /// All of it.
    pub json: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_write_an_output_write_one_file_and_names_stay_in_the_folder() {
        let folder = std::env::temp_dir().join(format!("tideflow-backtest-{}", std::process::id()));
        let backtest = Backtest::new(EventTime(1), EventTime(3), &folder);
        let [one, two] = [backtest.clone(), backtest.clone()].map(|b| b.output("../a b").unwrap());
        one.write(b"1\n2\n", 2).unwrap();
        two.write(b"3\n", 1).unwrap();
        assert_eq!(backtest.finish().unwrap(), BTreeMap::from([("../a b".to_string(), 3)]));
        let path = folder.join("outputs/.._a_b.jsonl");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
        std::fs::remove_dir_all(folder).unwrap();
        let held = |of: &Backtest| [0, 1, 2, 3].map(|at| of.holds(EventTime(at)));
        assert_eq!(held(&backtest), [false, true, true, false]);
        assert_eq!(held(&backtest.warmed_up(Duration::from_millis(1))), [true, true, true, false]);
    }
}
