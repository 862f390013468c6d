//! How many rows lie in which bin of what a model was trained on.

use serde::{Deserialize, Serialize};
use tideflow_models::{DType, Distribution, Model};

use super::parts::Part;
use crate::Aggregate;

/// The least share that a bin counts with: the logarithm of an empty one would be infinite.
const SHARE_MIN: f64 = 0.0001;

/// The population stability index: how far a distribution has moved away from the one expected. It is the
/// sum over the bins of (actual - expected) * ln(actual / expected), of shares; one below 0.0001 counts as
/// 0.0001. 0 is no difference. Of `n` rows that are distributed as expected it is about the number of bins
/// less one, divided by `n`.
///
/// `expected` are shares that make 1, `counts` the rows found in the same bins; NaN where there are none.
///
/// ```
/// use tideflow_operators::psi;
/// assert_eq!(psi(&[0.5, 0.5], &[7, 7]), 0.0);
/// // 0.25 * ln(0.75 / 0.5) - 0.25 * ln(0.25 / 0.5)
/// assert!((psi(&[0.5, 0.5], &[75, 25]) - 0.274653).abs() < 1e-6);
/// ```
pub fn psi(expected: &[f64], counts: &[u64]) -> f64 {
    let rows = counts.iter().sum::<u64>() as f64;
    let term = |(expected, count): (&f64, &u64)| {
        let (expected, actual) = (expected.max(SHARE_MIN), (*count as f64 / rows).max(SHARE_MIN));
        (actual - expected) * (actual / expected).ln()
    };
    if rows == 0.0 { f64::NAN } else { expected.iter().zip(counts).map(term).sum() }
}

/// The columns of a version whose distribution at training is known: features, and outputs behind them.
pub(super) struct Columns(Vec<Column>);

struct Column {
    name: String,
    /// Its place in a row with outputs.
    at: usize,
    dtype: DType,
    trained_on: Distribution,
}

impl Columns {
    pub fn of(model: &dyn Model) -> Self {
        let (signature, reference) = (model.signature(), model.reference());
        let features =
            signature.features.iter().map(|feature| &feature.name).zip(&signature.dtypes);
        // Outputs are what the model gives: whatever type they were, they are not rounded again.
        let outputs = signature.outputs.iter().map(|output| (output, &DType::Float64));
        let column = |(at, (name, dtype)): (usize, (&String, &DType))| {
            let trained_on = reference.get(name)?.clone();
            Some(Column { name: name.clone(), at, dtype: *dtype, trained_on })
        };
        Columns(features.chain(outputs).enumerate().filter_map(column).collect())
    }
}

/// What was counted of some rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub rows: u64,
    columns: Vec<Bins>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bins {
    name: String,
    expected: Vec<f64>,
    counts: Vec<u64>,
}

impl Tally {
    /// Counts a row, with its outputs behind it.
    pub fn count(&mut self, columns: &Columns, row: &[f64]) {
        if self.columns.is_empty() {
            let bins = |Column { name, trained_on: Distribution { shares, .. }, .. }: &Column| {
                let counts = vec![0; shares.len()];
                Bins { name: name.clone(), expected: shares.clone(), counts }
            };
            self.columns = columns.0.iter().map(bins).collect();
        }
        self.rows += 1;
        for (bins, Column { at, dtype, trained_on, .. }) in self.columns.iter_mut().zip(&columns.0)
        {
            bins.counts[trained_on.bin(dtype.nearest(row[*at]))] += 1;
        }
    }

    /// The index of each column, by its name.
    pub fn psi(&self) -> impl Iterator<Item = (&str, f64)> {
        self.columns.iter().map(|bins| (bins.name.as_str(), psi(&bins.expected, &bins.counts)))
    }
}

impl Aggregate<Part<Tally>> for Tally {
    fn add(&mut self, Part { counts: other, .. }: &Part<Tally>) {
        if self.columns.is_empty() {
            self.columns.clone_from(&other.columns);
        } else {
            // Of one version, so the same columns with the same bins.
            for (bins, others) in self.columns.iter_mut().zip(&other.columns) {
                bins.counts.iter_mut().zip(&others.counts).for_each(|(n, m)| *n += m);
            }
        }
        self.rows += other.rows;
    }

    fn heap_bytes(&self) -> usize {
        let bins = |b: &Bins| b.name.capacity() + 8 * (b.expected.capacity() + b.counts.capacity());
        let columns: usize = self.columns.iter().map(bins).sum();
        columns + self.columns.capacity() * size_of::<Bins>()
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::form::put_entry;
    use tideflow_models::LinearModel;

    use super::*;

    /// By hand: (0.5 - 0.25) ln 2 + (0.25 - 0.5) ln 0.5 = 0.5 ln 2, and nothing of the bin that is as it was.
    #[test]
    fn the_index_is_that_of_the_textbook() {
        let found = psi(&[0.25, 0.5, 0.25], &[50, 25, 25]);
        assert!((found - 0.5 * 2_f64.ln()).abs() < 1e-12, "{found}");
        // The same the other way round: it is symmetric.
        let back = psi(&[0.5, 0.25, 0.25], &[25, 50, 25]);
        assert!((found - back).abs() < 1e-12, "{back}");
    }

    /// By hand: 0.9999 ln 10000 + 0.9999 ln 10000, a thousand rows where one in ten thousand is expected at most.
    #[test]
    fn an_empty_bin_counts_as_a_ten_thousandth_on_either_side() {
        let found = psi(&[1.0, 0.0], &[0, 1_000]);
        assert!((found - 2.0 * 0.9999 * 10_000_f64.ln()).abs() < 1e-12, "{found}");
        assert_eq!(psi(&[1.0, 0.0], &[1_000, 0]), 0.0);
        assert!(psi(&[1.0], &[0]).is_nan());
    }

    #[test]
    fn golden_a_tally_has_this_form_in_snapshots() {
        let bins = Bins { name: "a".into(), expected: vec![0.5], counts: vec![300] };
        let mut bytes = Vec::new();
        put_entry(&(), &Tally { rows: 300, columns: vec![bins] }, &mut bytes);
        let half = 0.5_f64.to_le_bytes();
        let expected: [&[u8]; 3] = [&[0xac, 2, 1, 1, b'a', 1], &half, &[1, 0xac, 2]];
        assert_eq!(bytes[4..], expected.concat());
    }

    /// A feature of 32 bits that never changed in training: what is given as 64 bits is the same number there.
    #[test]
    fn a_value_is_counted_as_the_number_that_the_model_is_given() {
        let always = f64::from(0.1_f32);
        let above = f64::from(0.1_f32.next_up());
        let trained_on = Distribution { edges: vec![always, above], shares: vec![0.0, 1.0, 0.0] };
        let model = LinearModel::new("m", &[("a", "1")], &[1.0], 0.0).trained_on("a", trained_on);
        let mut columns = Columns::of(&model);
        let mut counted = |dtype| {
            columns.0[0].dtype = dtype;
            let mut tally = Tally::default();
            tally.count(&columns, &[0.1, 7.0]);
            tally.columns[0].counts.clone()
        };
        assert_eq!(counted(DType::Float32), [0, 1, 0]);
        assert_eq!(counted(DType::Float64), [1, 0, 0]);
    }
}
