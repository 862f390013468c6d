//! How good scores were.

use serde::{Deserialize, Serialize};
use tideflow_core::EventTime;
use tideflow_models::VersionId;

use super::parts::Part;
use crate::{Aggregate, Total, Window};

/// How good a version's scores of some time were, by their labels.
///
/// A score above the threshold says yes, and so does a label of 0.5 or more. A figure is none where nothing can be said: where
/// fewer scores have a label than asked for, or where it would divide by 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The version.
    pub model: VersionId,
    /// The first millisecond of the time.
    pub start: EventTime,
    /// The first millisecond after it.
    pub end: EventTime,
    /// Scores without a label.
    pub unlabelled: u64,
    /// Scores with one; both said yes.
    pub true_positives: u64,
    /// The score alone said yes.
    pub false_positives: u64,
    /// The label alone said yes.
    pub false_negatives: u64,
    /// None of them did.
    pub true_negatives: u64,
    /// The share of what was said yes to that was one.
    pub precision: Option<f64>,
    /// The share of what was a yes that was said yes to.
    pub recall: Option<f64>,
    /// The harmonic mean of these two.
    pub f1: Option<f64>,
    /// The mean of (score - label)^2: of probabilities and labels of 0 and 1, the Brier score.
    pub brier: Option<f64>,
    /// Its root, in the unit of the label.
    pub rmse: Option<f64>,
}

/// What figures are made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcomes {
    unlabelled: u64,
    true_positives: u64,
    false_positives: u64,
    false_negatives: u64,
    true_negatives: u64,
    squares: Total,
}

/// A label of this or more says yes. Labels are 0 and 1, whatever scores are.
const YES: f64 = 0.5;
/// A larger error counts as this: so that the sum of squares is exact, in any order.
const ERROR_MAX: f64 = 1_000_000.0;

impl Outcomes {
    /// A score, and its label where it has one.
    pub fn count(&mut self, score: f64, label: Option<f64>, threshold: f64) {
        let Some(label) = label else {
            self.unlabelled += 1;
            return;
        };
        let outcome = match (score > threshold, label >= YES) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, true) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        };
        *outcome += 1;
        self.squares.add((score - label).abs().min(ERROR_MAX).powi(2));
    }

    /// Counts what another one has.
    pub fn include(&mut self, other: &Outcomes) {
        self.unlabelled += other.unlabelled;
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
        self.squares.include(&other.squares);
    }
}

impl Aggregate<Part<Outcomes>> for Outcomes {
    fn add(&mut self, part: &Part<Outcomes>) {
        self.include(&part.counts);
    }
}

impl Quality {
    pub(super) fn of(window: Window<VersionId, Outcomes>, labelled_min: u64) -> Self {
        let Window { key: model, start, end, value } = window;
        let Outcomes { unlabelled, squares, .. } = value;
        let (tp, fp, fn_) = (value.true_positives, value.false_positives, value.false_negatives);
        let enough = squares.count() >= labelled_min;
        let share = |part: u64, all: u64| (enough && all > 0).then(|| part as f64 / all as f64);
        let brier = (enough && squares.count() > 0).then(|| squares.mean());
        Quality {
            model,
            start,
            end,
            unlabelled,
            true_positives: tp,
            false_positives: fp,
            false_negatives: fn_,
            true_negatives: value.true_negatives,
            precision: share(tp, tp + fp),
            recall: share(tp, tp + fn_),
            f1: share(2 * tp, 2 * tp + fp + fn_),
            brier,
            rmse: brier.map(f64::sqrt),
        }
    }

    /// The figures that can be said, by the names of their fields.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let figures = [
            ("precision", self.precision),
            ("recall", self.recall),
            ("f1", self.f1),
            ("brier", self.brier),
            ("rmse", self.rmse),
        ];
        figures.into_iter().filter_map(|(name, figure)| Some((name, figure?)))
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::form::put_entry;

    use super::*;

    fn quality(said: &[(f64, Option<f64>)], labelled_min: u64) -> Quality {
        let mut value = Outcomes::default();
        said.iter().for_each(|(score, label)| value.count(*score, *label, 0.5));
        let (start, end) = (EventTime(0), EventTime(1));
        Quality::of(Window { key: VersionId::default(), start, end, value }, labelled_min)
    }

    /// By hand: two of three alarms were right, and two of four faults were found.
    #[test]
    fn the_figures_are_those_of_the_textbook() {
        let (yes, no) = (Some(1.0), Some(0.0));
        let said =
            [(1.0, yes), (0.75, yes), (0.75, no), (0.5, yes), (0.0, yes), (0.25, no), (0.9, None)];
        let found = quality(&said, 6);
        let counts = (found.true_positives, found.false_positives, found.false_negatives);
        assert_eq!((counts, found.true_negatives, found.unlabelled), ((2, 1, 2), 1, 1));
        assert_eq!((found.precision, found.recall), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!(found.f1, Some(4.0 / 7.0));
        // (0 + 1/16 + 9/16 + 1/4 + 1 + 1/16) / 6
        assert_eq!(found.brier, Some(1.9375 / 6.0));
        assert_eq!(found.rmse, Some((1.9375_f64 / 6.0).sqrt()));
        assert_eq!(quality(&said, 7).figures().count(), 0, "six have a label");
    }

    #[test]
    fn golden_outcomes_have_this_form_in_snapshots() {
        let mut outcomes = Outcomes::default();
        outcomes.count(0.5, None, 0.5);
        outcomes.count(1.0, Some(0.5), 0.75);
        let mut bytes = Vec::new();
        put_entry(&(), &outcomes, &mut bytes);
        let quarter = 0.25_f64.to_le_bytes();
        // 2^62, twice that after zigzag: nine bytes of seven bits.
        let sum = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
        let expected: [&[u8]; 4] = [&[1, 1, 0, 0, 0, 1], &quarter, &quarter, &sum];
        assert_eq!(bytes[4..], expected.concat());
    }

    #[test]
    fn what_would_divide_by_0_is_not_said() {
        let found = quality(&[(0.25, Some(0.0))], 0);
        assert_eq!((found.precision, found.recall, found.f1), (None, None, None));
        assert_eq!(found.brier, Some(0.0625));
        assert_eq!(quality(&[], 0).figures().count(), 0);
    }

    #[test]
    fn an_error_beyond_a_million_counts_as_a_million() {
        assert_eq!(quality(&[(1e300, Some(0.0))], 0).rmse, Some(1e6));
    }
}
