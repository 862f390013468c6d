//! Rows for one call of a model.

use std::ops::Range;

#[cfg(feature = "tensorflow")]
use crate::tensors::{Columns, ColumnsMut};
use crate::{DType, Signature};

/// Memory for the rows of one call after the other, in the form in which a model takes them:
/// [`Model::rows`](crate::Model::rows) makes it.
pub struct Rows {
    count: usize,
    form: Form,
}

pub(crate) enum Form {
    Plain {
        columns: Vec<(DType, Range<usize>)>,
        width: usize,
        values: Vec<f64>,
    },
    /// Of the model's inputs, in order.
    #[cfg(feature = "tensorflow")]
    Tensors(Vec<Columns>),
}

impl Rows {
    /// So many rows, their values as they are.
    pub fn plain(signature: &Signature, count: usize) -> Self {
        let (columns, width) = (signature.columns(), signature.width());
        Rows { count, form: Form::Plain { columns, width, values: vec![0.0; width * count] } }
    }

    #[cfg(feature = "tensorflow")]
    pub(crate) fn tensors(columns: Vec<Columns>, count: usize) -> Self {
        Rows { count, form: Form::Tensors(columns) }
    }

    #[cfg(feature = "tensorflow")]
    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where they are written.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer(match &mut self.form {
            Form::Plain { columns, width, values } => {
                Target::Plain { columns, width: *width, values }
            }
            #[cfg(feature = "tensorflow")]
            Form::Tensors(columns) => {
                Target::Tensors(columns.iter_mut().map(Columns::as_mut).collect())
            }
        })
    }

    /// The values, row by row; none, where they are in another form.
    pub(crate) fn as_plain(&self) -> &[f64] {
        match &self.form {
            Form::Plain { values, .. } => values,
            #[cfg(feature = "tensorflow")]
            Form::Tensors(_) => &[],
        }
    }
}

/// Writes the rows of one call. Made once for all of them: the native library is asked where its memory is, behind a
/// lock that all threads share.
pub struct Writer<'a>(Target<'a>);

enum Target<'a> {
    Plain {
        columns: &'a [(DType, Range<usize>)],
        width: usize,
        values: &'a mut [f64],
    },
    #[cfg(feature = "tensorflow")]
    Tensors(Vec<ColumnsMut<'a>>),
}

impl Writer<'_> {
    /// Writes a row, counted from 0: its values, in the order of the features, as the model's types hold them. False:
    /// one is such as its type does not hold, [`Signature::misfit`] says which; the row must be written anew.
    ///
    /// # Panics
    /// When it has another width, or there are not so many rows.
    #[inline]
    pub fn set(&mut self, place: usize, row: &[f64]) -> bool {
        match &mut self.0 {
            Target::Plain { columns, width, values } => {
                values[place * *width..][..*width].copy_from_slice(row);
                columns.iter().all(|(dtype, of)| row[of.clone()].iter().all(|x| dtype.holds(*x)))
            }
            #[cfg(feature = "tensorflow")]
            Target::Tensors(columns) => columns.iter_mut().all(|of| of.set(place, row)),
        }
    }

    /// Has all rows from this one on hold zeros.
    ///
    /// # Panics
    /// When there are not so many rows.
    pub fn clear_from(&mut self, place: usize) {
        match &mut self.0 {
            Target::Plain { width, values, .. } => values[place * *width..].fill(0.0),
            #[cfg(feature = "tensorflow")]
            Target::Tensors(columns) => columns.iter_mut().for_each(|of| of.clear_from(place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Feature;

    const TYPES: [DType; 3] = [DType::Float32, DType::Float64, DType::Int64];

    /// Values of which most fit all types.
    fn value() -> impl Strategy<Value = f64> {
        let special =
            vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39, -1e39, 1e300, 0.5, -0.0];
        prop_oneof![200 => (-1_000..1_000).prop_map(f64::from), 1 => proptest::sample::select(special)]
    }

    proptest! {
        #[test]
        fn oracle_a_row_fits_when_each_of_its_values_does(
            row in proptest::collection::vec((0..3_usize, value()), 1..100),
        ) {
            let (dtypes, row): (Vec<_>, Vec<_>) = row.into_iter().map(|(n, x)| (TYPES[n], x)).unzip();
            for dtypes in [dtypes, vec![DType::Float32; row.len()]] {
                let feature = Feature { name: "of a row".into(), unit: "none".into() };
                let signature = Signature {
                    name: "any".into(),
                    version: "1".into(),
                    digest: String::new(),
                    features: vec![feature; row.len()],
                    dtypes,
                    batch_rows: 2,
                    outputs: vec!["score".into()],
                };
                let mut rows = Rows::plain(&signature, 2);
                prop_assert_eq!(rows.writer().set(1, &row), signature.misfit(&row).is_none());
                let bits = |row: &[f64]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&rows.as_plain()[row.len()..]), bits(&row));
                rows.writer().clear_from(0);
                prop_assert!(rows.as_plain().iter().all(|x| *x == 0.0));
            }
        }
    }
}
