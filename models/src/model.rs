//! What a model is: the trait, and the signature that it shows.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Distribution, ModelLoadError, Rows, ScoreError};

/// Something that scores rows of features. Every implementation promises:
/// 1. `score` replaces what `out` held by `count` x [`Signature::outputs`] values, row by row, in
///    the order of the rows; after an error `out` is empty;
/// 2. the bits of a row's scores depend on that row and on `count` alone: not on the other rows, not
///    on its place among them, not on earlier calls, not on the thread. Callers that pad every batch
///    to one fixed `count` therefore get the same bits for a row in every run with the same kind of
///    processor and the same native library; [`Model::warm`] tries it;
/// 3. any number of threads may score at once; none waits for another's batch;
/// 4. a row that holds a NaN or an infinity is scored like any other: what comes out is the model's
///    affair;
/// 5. the signature and the reference never change.
///
/// ```
/// use tideflow_models::{LinearModel, Model};
///
/// let model = LinearModel::new("heat", &[("temperature.mean", "celsius")], &[0.5], -10.0).logistic();
/// let mut scores = Vec::new();
/// model.score(&[20.0, 30.0], 2, &mut scores)?;
/// assert_eq!(scores[0], 0.5);
/// assert!(scores[1] > 0.99);
/// # Ok::<(), tideflow_models::ScoreError>(())
/// ```
pub trait Model: Send + Sync + 'static {
    /// What goes in and what comes out.
    fn signature(&self) -> &Signature;

    /// Scores `count` rows.
    ///
    /// `rows` holds `count` x [`Signature::width`] values, row by row, each in the units and the
    /// order of [`Signature::features`], and such as its [`DType`] can hold: others are rounded. Scores of
    /// other types than `float64` are widened; a whole number that `f64` does not hold becomes NaN. Fails
    /// where `rows` has another length ([`ScoreError::Rows`]) or the native library fails.
    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError>;

    /// Memory for `count` rows, in the form in which this model takes them: who fills it spares each call the time.
    fn rows(&self, count: usize) -> Rows {
        Rows::plain(self.signature(), count)
    }

    /// Scores the rows in memory that [`Model::rows`] has made, as [`Model::score`] does. Fails as that does.
    fn score_rows(&self, rows: &Rows, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        self.score(rows.as_plain(), rows.count(), out)
    }

    /// How features and outputs were distributed at training, by their names; of none that nobody has told of.
    fn reference(&self) -> &BTreeMap<String, Distribution> {
        static NOBODY_TOLD: BTreeMap<String, Distribution> = BTreeMap::new();
        &NOBODY_TOLD
    }

    /// Makes ready for batches of `count` rows: scores a few, so that the first real one does not pay
    /// for what a backend does only once, and tries promise 2 on them.
    ///
    /// Fails where a batch cannot be scored, or ([`ScoreError::Placement`]) where a row's scores
    /// depend on its place in a batch of this size.
    fn warm(&self, count: usize) -> Result<(), ScoreError> {
        let signature = self.signature();
        let outputs = signature.outputs.len();
        let mut scores = Vec::new();
        for row in trial_rows(signature.width()) {
            self.score(&row.repeat(count), count, &mut scores)?;
            let differs = |i: &usize| scores[*i].to_bits() != scores[i % outputs].to_bits();
            if let Some(i) = (0..scores.len()).find(differs) {
                return Err(ScoreError::Placement {
                    model: signature.name.clone(),
                    count,
                    row: i / outputs,
                    first: scores[i % outputs],
                    other: scores[i],
                });
            }
        }
        Ok(())
    }
}

/// Rows of scattered values, first between -1 and 1, then between twice that, and so on.
fn trial_rows(width: usize) -> impl Iterator<Item = Vec<f64>> {
    (0..8_u32).map(move |trial| {
        let scale = f64::from(1_u32 << trial);
        // Knuth's multiplicative hash.
        let hash = |column: usize| (column as u32 + 1 + 1_000 * trial).wrapping_mul(2_654_435_761);
        (0..width).map(|column| (f64::from(hash(column)) / 2_f64.powi(31) - 1.0) * scale).collect()
    })
}

/// One number that a model takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Unique within the model.
    pub name: String,
    /// The unit of its values as they enter the model, before any scaling.
    pub unit: String,
}

/// What a number is in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit floating point.
    Float32,
    /// 64-bit floating point.
    Float64,
    /// Whole numbers; those that `f64` holds, within 2^53.
    Int64,
}

impl DType {
    /// The largest whole number below which `f64` holds every one: 2^53.
    pub(crate) const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

    /// Whether a number can be one of these: finite as a floating point number, or whole.
    pub fn holds(self, value: f64) -> bool {
        match self {
            DType::Float32 => (value as f32).is_finite(),
            DType::Float64 => value.is_finite(),
            DType::Int64 => value.abs() <= Self::WHOLE_MAX && value.fract() == 0.0,
        }
    }

    /// The number of this type that a model is given for `value`.
    pub fn nearest(self, value: f64) -> f64 {
        match self {
            DType::Float32 => f64::from(value as f32),
            DType::Float64 | DType::Int64 => value,
        }
    }

    /// Its name in a manifest, in Keras and numpy.
    pub fn as_str(self) -> &'static str {
        match self {
            DType::Float32 => "float32",
            DType::Float64 => "float64",
            DType::Int64 => "int64",
        }
    }
}

/// Which model it is, what goes in and what comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The model's name.
    pub name: String,
    /// The model's version; any text.
    pub version: String,
    /// What the model consists of: equal digests, equal scores. SHA-256 in hexadecimal.
    pub digest: String,
    /// What a row holds, in order.
    pub features: Vec<Feature>,
    /// What each feature is inside, in order.
    pub dtypes: Vec<DType>,
    /// What a row's scores are, in order.
    pub outputs: Vec<String>,
    /// Rows that every call should have.
    pub batch_rows: usize,
}

impl Signature {
    /// Features a row.
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// The columns of each type, where they lie side by side.
    pub(crate) fn columns(&self) -> Vec<(DType, Range<usize>)> {
        let mut to = 0;
        let alike = self.dtypes.chunk_by(PartialEq::eq).map(|alike| {
            let from = to;
            to += alike.len();
            (alike[0], from..to)
        });
        alike.collect()
    }

    /// The first value of a row that its feature cannot hold.
    pub fn misfit(&self, row: &[f64]) -> Option<usize> {
        row.iter().zip(&self.dtypes).position(|(value, dtype)| !dtype.holds(*value))
    }

    /// Checks that the features a graph computes are the model's, in the model's order.
    ///
    /// Fails with [`ModelLoadError::Features`], which gives both lists and the first difference.
    pub fn expect_features(&self, names: &[impl AsRef<str>]) -> Result<(), ModelLoadError> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let expected: Vec<&str> = self.features.iter().map(|f| f.name.as_str()).collect();
        if expected == names {
            return Ok(());
        }
        let shorter = expected.len().min(names.len());
        Err(ModelLoadError::Features {
            model: self.name.clone(),
            position: (0..shorter).find(|&i| expected[i] != names[i]).unwrap_or(shorter),
            expected: expected.iter().map(ToString::to_string).collect(),
            found: names.iter().map(ToString::to_string).collect(),
        })
    }

    /// Checks the length of a batch: the first lines of every `score`.
    pub(crate) fn check_rows(&self, rows: &[f64], count: usize) -> Result<(), ScoreError> {
        let expected = count * self.width();
        if rows.len() == expected {
            return Ok(());
        }
        Err(ScoreError::Rows {
            model: self.name.clone(),
            count,
            width: self.width(),
            expected,
            found: rows.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let feature = |name: &str| Feature { name: name.into(), unit: "celsius".into() };
        Signature {
            name: "health".into(),
            version: "1".into(),
            digest: String::new(),
            features: vec![feature("mean"), feature("min"), feature("max")],
            dtypes: vec![DType::Float32, DType::Float64, DType::Int64],
            batch_rows: 64,
            outputs: vec!["score".into()],
        }
    }

    /// Adds a little to every row but the first.
    struct Leaning(Signature);

    impl Model for Leaning {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
            out.clear();
            self.0.check_rows(rows, count)?;
            out.extend((0..count).map(|row| if row == 0 { 1.0 } else { 1.0 + f64::EPSILON }));
            Ok(())
        }
    }

    #[test]
    fn fault_a_model_whose_scores_depend_on_the_place_is_found_when_made_ready() {
        let model = Leaning(signature());
        model.warm(1).unwrap();
        let error = model.warm(64).unwrap_err();
        assert!(matches!(error, ScoreError::Placement { row: 1, .. }), "{error}");
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }

    #[test]
    fn a_value_that_its_feature_cannot_hold_is_found() {
        let misfit = |row: [f64; 3]| {
            let bad = signature().misfit(&row);
            assert_eq!(
                Rows::plain(&signature(), 1).writer().set(0, &row),
                bad.is_none(),
                "{row:?}"
            );
            bad
        };
        assert_eq!(misfit([-3e38, 1e300, 9_007_199_254_740_992.0]), None);
        assert_eq!(misfit([1e39, 1.0, 1.0]), Some(0));
        assert_eq!(misfit([1.0, f64::NAN, 0.5]), Some(1));
        assert_eq!(misfit([1.0, 1.0, 0.5]), Some(2));
        assert_eq!(misfit([1.0, 1.0, 1e16]), Some(2));
    }

    #[test]
    fn equal_features_are_accepted() {
        signature().expect_features(&["mean", "min", "max"]).unwrap();
    }

    #[test]
    fn fault_swapped_features_name_the_first_difference() {
        let error = signature().expect_features(&["mean", "max", "min"]).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        assert_eq!(
            error.to_string(),
            "model `health` takes other features, first at position 1: expected `min`, found \
             `max`; expected 3 features: `mean`, `min`, `max`; found 3: `mean`, `max`, `min`"
        );
    }

    #[test]
    fn fault_a_missing_last_feature_is_the_first_difference() {
        let error = signature().expect_features(&["mean", "min"]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("position 2: expected `max`, found nothing more"), "{message}");
    }

    #[test]
    fn fault_one_feature_too_many_is_the_first_difference() {
        let error = signature().expect_features(&["mean", "min", "max", "std"]).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("position 3: expected nothing more, found `std`"), "{message}");
    }
}
