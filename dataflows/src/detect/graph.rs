//! The graph that all formats have in common.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use tideflow::operators::{Scored, Scorer};
use tideflow::prelude::*;

/// A row of a recording, as a record of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The recording, or the part of it that is judged by itself: a number from 0.
    pub part: u64,
    /// The row within it, from 0.
    pub row: u64,
    /// What was recorded.
    pub values: Vec<f64>,
}

impl Event for Reading {
    fn event_time(&self) -> EventTime {
        EventTime(self.row as i64)
    }
}

/// A row's features, and what else its verdict needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item<M> {
    /// As in [`Reading`].
    pub part: u64,
    /// As in [`Reading`].
    pub row: u64,
    /// In the order of [`Method::FEATURES`].
    pub features: Vec<f64>,
    /// What the verdict needs beside the model's outputs.
    pub beside: Vec<f64>,
    #[serde(skip)]
    of: PhantomData<M>,
}

impl<M> Item<M> {
    /// Of a row.
    pub fn new(reading: &Reading, features: Vec<f64>, beside: Vec<f64>) -> Self {
        Item { part: reading.part, row: reading.row, features, beside, of: PhantomData }
    }
}

impl<M: Method> Features for Item<M> {
    const NAMES: &'static [&'static str] = M::FEATURES;

    fn row(&self, row: &mut Vec<f64>) {
        row.extend_from_slice(&self.features);
    }
}

/// What is said of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// As in [`Reading`].
    pub part: u64,
    /// As in [`Reading`].
    pub row: u64,
    /// What the format's results hold: an anomaly's score from 0 to 1, or what is predicted.
    pub score: f64,
    /// Whether it is an anomaly.
    pub alarm: bool,
}

/// How recordings of one format are judged.
pub trait Method: Clone + Send + Sync + std::fmt::Debug + PartialEq + Serialize + 'static
where
    Self: for<'de> Deserialize<'de>,
{
    /// The features that its model takes, in order.
    const FEATURES: &'static [&'static str];
    /// The recipe of the training package that makes its model.
    const RECIPE: &'static str;
    /// Options of its training, where it is for these recordings alone and judged by nobody.
    const TRAINING: &'static [&'static str] = &[];
    /// Makes features of rows.
    type Trace: Scan<Reading, Out = Item<Self>>;
    /// Makes outcomes of a model's outputs.
    type Verdict: Scan<Scored<Item<Self>>, Out = Outcome>;
}

/// What comes out of the graph.
pub struct Outputs<'s> {
    /// One for each row that has features.
    pub outcomes: Stream<'s, Outcome>,
    /// Rows that the model could not score.
    pub failed: Stream<'s, Rejected>,
}

/// Features of every row, by the recording that it is in.
///
/// # Errors
/// When a name is taken.
pub fn trace<'s, M: Method>(
    readings: Stream<'s, Reading>,
) -> Result<Stream<'s, Item<M>>, BuildError> {
    readings.key_by(|r: &Reading| &r.part).scan::<_, M::Trace>("features")
}

/// A verdict for every row: its features, the model, and what is made of its outputs.
///
/// # Errors
/// When a name is taken, or the model cannot be used.
pub fn judge<'s, M: Method>(
    readings: Stream<'s, Reading>,
    model: &impl Scorer,
) -> Result<Outputs<'s>, BuildError> {
    let inferred = trace::<M>(readings)?.infer("model", model)?;
    let by_part = inferred.scored.key_by(|scored: &Scored<Item<M>>| &scored.of.part);
    Ok(Outputs { outcomes: by_part.scan::<_, M::Verdict>("verdict")?, failed: inferred.failed })
}
