//! The rows that a model would be given, taken in its place: what it is to learn from.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::{BuildError, EventTime};

/// A row of features.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow {
    /// Its time; of a window the start.
    pub time: EventTime,
    /// What it belongs to, as text.
    pub key: String,
    /// In the order of the features' names.
    pub features: Vec<f64>,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedRows {
    /// Those of this operator; none: of the only one that calls a model.
    pub operator: Option<String>,
    /// Those of this time or later.
    pub from: Option<EventTime>,
    /// Those before this time.
    pub before: Option<EventTime>,
}

/// Takes the rows of an operator that would call a model, in its place: shared by all workers of a process.
///
/// In a run with it, [`Job::rows`](crate::Job::rows), sources read what is there and end, and sinks publish
/// nothing: it leaves no trace.
///
/// Memory: every row until [`FeatureRows::finish`], with [`FeatureRows::FEATURES_MAX`] features at most.
#[derive(Clone, Debug, Default)]
pub struct FeatureRows(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wanted: WantedRows,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// All that call a model.
    operators: BTreeSet<String>,
    names: Vec<String>,
    rows: Vec<FeatureRow>,
    unfit: u64,
}

/// What was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenRows {
    /// The names of the features.
    pub names: Vec<String>,
    /// By time and key, whichever worker took them.
    pub rows: Vec<FeatureRow>,
    /// How many more had a feature that is not finite, or too many or few: no model is given such a row.
    pub unfit: u64,
}

/// Rows from one line of log to the next.
const TOLD_EVERY: usize = 100_000;

impl FeatureRows {
    /// Features beyond which no more are taken: 4 GiB of them.
    pub const FEATURES_MAX: usize = 1 << 29;

    /// None yet.
    pub fn new(wanted: WantedRows) -> Self {
        FeatureRows(Arc::new(Shared { wanted, found: Mutex::default() }))
    }

    /// Whether the rows of this operator, which calls a model, are those wanted.
    pub fn are_of(&self, operator: &str, names: &[String]) -> bool {
        let mut found = self.found();
        found.operators.insert(operator.to_string());
        let wanted = self.0.wanted.operator.as_ref().is_none_or(|wanted| wanted == operator);
        if wanted {
            found.names = names.to_vec();
        }
        wanted
    }

    /// That there is one such operator, in a graph that was built to look at it.
    ///
    /// # Errors
    /// When there is none, or there are several to choose from.
    pub fn expect_one(&self) -> Result<(), BuildError> {
        let found = self.found();
        let names: Vec<_> = found.operators.iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(" and ");
        let (operator, wrong) = match &self.0.wanted.operator {
            None if found.operators.len() == 1 => return Ok(()),
            Some(wanted) if found.operators.contains(wanted) => return Ok(()),
            _ if found.operators.is_empty() => {
                ("features", "expected an operator that calls a model, found none".to_string())
            }
            None => ("features", format!("expected which operator is meant: {names} call models")),
            Some(wanted) => {
                (wanted.as_str(), format!("expected an operator that calls a model: {names}"))
            }
        };
        Err(BuildError::invalid(operator, wrong))
    }

    /// Takes a row of the operator, if its time is wanted and a model may be given it.
    ///
    /// # Errors
    /// When there are too many.
    pub fn take(&self, operator: &str, row: FeatureRow) -> Result<(), BuildError> {
        let WantedRows { from, before, .. } = self.0.wanted;
        if from.is_some_and(|from| row.time < from) || before.is_some_and(|b| row.time >= b) {
            return Ok(());
        }
        let mut found = self.found();
        let whole = row.features.len() == found.names.len();
        if !whole || !row.features.iter().all(|feature| feature.is_finite()) {
            found.unfit += 1;
            return Ok(());
        }
        let most = Self::FEATURES_MAX / row.features.len().max(1);
        if found.rows.len() >= most {
            let wrong = format!("expected at most {most} rows, found more: ask for a shorter time");
            return Err(BuildError::invalid(operator, wrong));
        }
        found.rows.push(row);
        if found.rows.len().is_multiple_of(TOLD_EVERY) {
            tracing::info!(operator, rows = found.rows.len(), "features");
        }
        Ok(())
    }

    /// Gives out what was taken.
    pub fn finish(&self) -> TakenRows {
        let Found { names, mut rows, unfit, .. } = std::mem::take(&mut *self.found());
        rows.sort_by(|a, b| {
            let at = (a.time, &a.key).cmp(&(b.time, &b.key));
            at.then_with(|| a.features.partial_cmp(&b.features).expect("all are finite"))
        });
        TakenRows { names, rows, unfit }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.found.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: i64, key: &str, feature: f64) -> FeatureRow {
        FeatureRow { time: EventTime(time), key: key.to_string(), features: vec![feature] }
    }

    #[test]
    fn rows_come_by_time_and_key_within_the_times_wanted() {
        let rows = FeatureRows::new(WantedRows {
            from: Some(EventTime(1)),
            before: Some(EventTime(3)),
            ..WantedRows::default()
        });
        assert!(rows.are_of("m", &["x".to_string()]));
        let take = |taken: Vec<FeatureRow>| {
            taken.into_iter().for_each(|row| rows.take("m", row).expect("it fits"));
        };
        take(vec![row(3, "a", 1.0), row(2, "a", 2.0), row(1, "b", f64::NAN)]);
        take(vec![
            row(1, "b", 4.0),
            row(0, "b", 5.0),
            row(1, "a", 6.0),
            row(0, "c", f64::INFINITY),
        ]);
        let TakenRows { names, rows, unfit } = rows.finish();
        assert_eq!((names, unfit), (vec!["x".to_string()], 1));
        assert_eq!(rows, [row(1, "a", 6.0), row(1, "b", 4.0), row(2, "a", 2.0)]);
    }

    #[test]
    fn the_operator_must_be_the_only_one_or_named() {
        let look = |wanted: Option<&str>, operators: &[&str]| {
            let operator = wanted.map(String::from);
            let rows = FeatureRows::new(WantedRows { operator, ..WantedRows::default() });
            let taken =
                operators.iter().filter(|name| rows.are_of(name, &["x".to_string()])).count();
            rows.expect_one().map(|()| taken).map_err(|error| error.to_string())
        };
        assert_eq!(look(None, &["a"]), Ok(1));
        assert_eq!(look(Some("b"), &["a", "b"]), Ok(1));
        let refused = |text: &str| Err(text.to_string());
        let none = "`features`: expected an operator that calls a model, found none";
        assert_eq!(look(None, &[]), refused(none));
        let several = "`features`: expected which operator is meant: `a` and `b` call models";
        assert_eq!(look(None, &["a", "b"]), refused(several));
        let other = "`c`: expected an operator that calls a model: `a` and `b`";
        assert_eq!(look(Some("c"), &["a", "b"]), refused(other));
    }
}
