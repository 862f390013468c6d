//! A model without files: the documented double for tests.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{DType, Distribution, Feature, Model, ScoreError, Signature};

/// A weighted sum of the features plus a bias, optionally through the logistic function.
///
/// Scores are summed in `f64` in the order of the features, so they can be computed by hand.
///
/// ```
/// use tideflow_models::{LinearModel, Model};
///
/// let features = [("temperature.mean", "celsius"), ("current.max", "ampere")];
/// let model = LinearModel::new("load", &features, &[1.0, 10.0], 0.5);
/// let mut scores = Vec::new();
/// model.score(&[20.0, 2.0], 1, &mut scores)?;
/// assert_eq!(scores, [40.5]);
/// # Ok::<(), tideflow_models::ScoreError>(())
/// ```
#[derive(Debug, Clone)]
pub struct LinearModel {
    signature: Signature,
    reference: BTreeMap<String, Distribution>,
    weights: Vec<f64>,
    bias: f64,
    logistic: bool,
}

impl LinearModel {
    /// A model with the single output `score`; each feature is a name and a unit.
    ///
    /// # Panics
    /// Where there are no features, or not one weight a feature.
    pub fn new(name: &str, features: &[(&str, &str)], weights: &[f64], bias: f64) -> Self {
        assert!(!features.is_empty(), "a model takes at least one feature");
        assert_eq!(features.len(), weights.len(), "one weight a feature");
        let features: Vec<Feature> = features
            .iter()
            .map(|(name, unit)| Feature { name: name.to_string(), unit: unit.to_string() })
            .collect();
        let signature = Signature {
            name: name.to_string(),
            version: "1".to_string(),
            digest: String::new(),
            dtypes: vec![DType::Float64; features.len()],
            features,
            outputs: vec!["score".to_string()],
            batch_rows: 256,
        };
        let (reference, weights) = (BTreeMap::new(), weights.to_vec());
        Self { signature, reference, weights, bias, logistic: false }.with_digest()
    }

    /// The same model with its score taken through `1 / (1 + exp(-x))`, so between 0 and 1.
    pub fn logistic(mut self) -> Self {
        self.logistic = true;
        self.with_digest()
    }

    /// The same model as another version.
    pub fn version(mut self, version: &str) -> Self {
        self.signature.version = version.to_string();
        self
    }

    /// The same model for calls of so many rows.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.signature.batch_rows = rows;
        self
    }

    /// The same model, of which it is known how a feature or an output was distributed at training.
    pub fn trained_on(mut self, name: &str, distribution: Distribution) -> Self {
        self.reference.insert(name.to_string(), distribution);
        self
    }

    fn with_digest(mut self) -> Self {
        let mut hash = Sha256::new();
        for value in self.weights.iter().chain([&self.bias]) {
            hash.update(value.to_le_bytes());
        }
        hash.update([u8::from(self.logistic)]);
        self.signature.digest = format!("{:x}", hash.finalize());
        self
    }

    fn score_row(&self, row: &[f64]) -> f64 {
        let sum = row.iter().zip(&self.weights).fold(self.bias, |sum, (x, w)| sum + x * w);
        if self.logistic { 1.0 / (1.0 + (-sum).exp()) } else { sum }
    }
}

impl Model for LinearModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn reference(&self) -> &BTreeMap<String, Distribution> {
        &self.reference
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        out.clear();
        self.signature.check_rows(rows, count)?;
        out.extend(rows.chunks_exact(self.weights.len()).map(|row| self.score_row(row)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> LinearModel {
        LinearModel::new("m", &[("a", "1"), ("b", "1")], &[1.0, 2.0], 3.0)
    }

    #[test]
    fn every_row_gets_its_own_score_and_old_scores_go() {
        let mut out = vec![9.0; 7];
        model().score(&[1.0, 1.0, 0.0, -1.5], 2, &mut out).unwrap();
        assert_eq!(out, [6.0, 0.0]);
        model().warm(3).unwrap();
    }

    #[test]
    fn fault_a_batch_of_another_size_says_what_was_expected() {
        let mut out = vec![1.0];
        let error = model().score(&[1.0, 2.0, 3.0], 2, &mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "scoring 2 rows with model `m`: expected 4 values (2 rows of 2 features), found 3"
        );
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        assert!(out.is_empty());
    }

    #[test]
    fn another_model_has_another_digest() {
        let digest = |m: &LinearModel| m.signature().digest.clone();
        assert_ne!(digest(&model()), digest(&model().logistic()));
        assert_eq!(digest(&model()), digest(&model()));
    }
}
