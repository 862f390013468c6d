//! Records with scores, and those without.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tideflow_core::prometheus::IntCounter;
use tideflow_core::timely::ExchangeData;
use tideflow_core::{Flow, OperatorName, Origin, Reason, Rejected};
use tideflow_models::VersionId;

use super::settle::{Split, Tried};

/// A record with its score.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Scored<D> {
    /// The record.
    pub of: D,
    /// The model's first output.
    pub score: f64,
    /// Its other outputs, in order.
    pub others: Vec<f64>,
    /// The version of the model that the record's epoch is bound to.
    pub model: Arc<VersionId>,
    /// Whether the model has failed, and this is the score that [`OnFailure::Score`](super::OnFailure::Score)
    /// gives.
    pub fallback: bool,
}

/// Makes scores and dead letters of what came of records.
pub(super) struct Scores {
    name: OperatorName,
    scored: IntCounter,
    rejected: IntCounter,
    fallbacks: IntCounter,
}

impl Scores {
    pub fn new(name: OperatorName, flow: &Flow<'_>) -> Self {
        let (metrics, label) = (&flow.job().metrics, [name.as_str()]);
        let reason = [name.as_str(), Reason::NotScored.as_str()];
        Scores {
            name,
            scored: metrics.inference_rows.with_label_values(&label),
            rejected: metrics.rejected.with_label_values(&reason),
            fallbacks: metrics.inference_fallbacks.with_label_values(&label),
        }
    }
}

impl<D: ExchangeData + Clone> Split<D> for Scores {
    type Well = Scored<D>;
    type Ill = Rejected;

    fn split(
        &mut self,
        Tried { of, model, outcome }: Tried<D>,
        fallback: bool,
        well: &mut Vec<Scored<D>>,
        ill: &mut Vec<Rejected>,
    ) {
        match outcome {
            Ok((score, others)) => {
                well.push(Scored { of, score, others, model, fallback });
            }
            Err(detail) => {
                ill.push(Rejected {
                    operator: self.name.as_str().to_string(),
                    reason: Reason::NotScored,
                    detail,
                    origin: Origin::default(),
                    key: None,
                    payload: serde_json::to_vec(&of).ok(),
                    headers: Vec::new(),
                });
            }
        }
    }

    fn count(&mut self, well: usize, ill: usize, ruled: bool) {
        let counter = if ruled { &self.fallbacks } else { &self.scored };
        counter.inc_by(well as u64);
        self.rejected.inc_by(ill as u64);
    }
}
