//! Rows of features: what a model is given, and where they go in a run that has none.

use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::operators::vec::Map as _;
use tideflow_core::{BuildError, EventTime, FeatureRow, FeatureRows, Key, OperatorName, Stream};

use super::Inferred;
use crate::Window;

/// What a model can score: a row of numbers.
///
/// ```
/// use tideflow_core::EventTime;
/// use tideflow_operators::Features;
/// struct Room { name: String, ts: i64, celsius: f64, lux: f64 }
/// impl Features for Room {
///     const NAMES: &'static [&'static str] = &["celsius", "lux"];
///     fn row(&self, row: &mut Vec<f64>) { row.extend([self.celsius, self.lux]); }
///     fn whose(&self) -> Option<(String, EventTime)> { Some((self.name.clone(), EventTime(self.ts))) }
/// }
/// ```
pub trait Features {
    /// The names of the features, in order: those of the model's manifest.
    const NAMES: &'static [&'static str];
    /// How many rows of these names make one, oldest first: 1, but for [`LastRows`](crate::LastRows). Where there are
    /// several, a name says which: `celsius[0]` of the newest, `celsius[-1]` of the one before.
    const ROWS: usize = 1;
    /// Appends the features, in the order of the names: as many as there are names, in each row. A record that has more
    /// or fewer is not scored.
    fn row(&self, row: &mut Vec<f64>);
    /// What the row belongs to, as text, and its time: once each in what a model learns from. Windows say it
    /// themselves; what says nothing can be scored, and cannot be written for training.
    fn whose(&self) -> Option<(String, EventTime)> {
        None
    }
}

impl<K: Key, A: Features> Features for Window<K, A> {
    const NAMES: &'static [&'static str] = A::NAMES;
    const ROWS: usize = A::ROWS;

    fn row(&self, row: &mut Vec<f64>) {
        self.value.row(row);
    }

    fn whose(&self) -> Option<(String, EventTime)> {
        Some((text(&self.key), self.start))
    }
}

/// The names of all features of a row, in order.
pub(super) fn names<D: Features>() -> Vec<String> {
    let own = |row: usize| {
        let behind = D::ROWS - 1 - row;
        D::NAMES.iter().map(move |name| match (D::ROWS, behind) {
            (1, _) => (*name).to_string(),
            (_, 0) => format!("{name}[0]"),
            _ => format!("{name}[-{behind}]"),
        })
    };
    (0..D::ROWS).flat_map(own).collect()
}

/// A key as text: the same for a number and its digits.
fn text(key: &impl Key) -> String {
    match serde_json::to_value(key) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => format!("{key:?}"),
    }
}

/// Gives the rows of a stream to `rows` in place of a model: nothing is scored.
pub(super) fn collect<'s, D: Features + ExchangeData + Clone>(
    stream: Stream<'s, D>,
    name: &str,
    rows: FeatureRows,
) -> Result<Inferred<'s, D>, BuildError> {
    let flow = stream.flow();
    let node = flow.node("operator", name, "features".to_string(), stream.origins())?;
    let (operator, failure) = (OperatorName::new(name), flow.job().failure.clone());
    let scored = stream.into_timely().flat_map(move |item| {
        let taken = operator.run(|| rows.take(operator.as_str(), row(operator, &item)?));
        taken.unwrap_or_else(|error| failure.set(error));
        None
    });
    Ok(Inferred {
        failed: Stream::new(&flow, node, "failed", scored.clone().flat_map(|_| None)),
        by: scored.clone().flat_map(|_| None),
        scored: Stream::new(&flow, node, "", scored),
    })
}

fn row<D: Features>(operator: OperatorName, item: &D) -> Result<FeatureRow, BuildError> {
    let (key, time) = item.whose().ok_or_else(|| {
        let what =
            "expected rows that say whose they are, by `Features::whose`; found one that does not";
        BuildError::invalid(operator.as_str(), what)
    })?;
    let width = D::NAMES.len() * D::ROWS;
    let mut features = Vec::with_capacity(width);
    item.row(&mut features);
    Ok(FeatureRow { time, key, features })
}
