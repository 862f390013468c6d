//! Rows for one call of a model.

#[cfg(feature = "tensorflow")]
use crate::tensors::Columns;

/// Memory for the rows of one call after the other, in the form in which a model takes them:
/// [`Model::rows`](crate::Model::rows) makes it.
pub struct Rows {
    count: usize,
    form: Form,
}

pub(crate) enum Form {
    Plain {
        width: usize,
        values: Vec<f64>,
    },
    /// Of the model's inputs, in order.
    #[cfg(feature = "tensorflow")]
    Tensors(Vec<Columns>),
}

impl Rows {
    /// So many rows of `width` values, as they are.
    pub fn plain(width: usize, count: usize) -> Self {
        Rows { count, form: Form::Plain { width, values: vec![0.0; width * count] } }
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

    /// Writes a row, counted from 0: its values, in the order of the features, as the model's types hold them.
    ///
    /// # Panics
    /// When it has another width, or there are not so many rows.
    #[inline]
    pub fn set(&mut self, place: usize, row: &[f64]) {
        match &mut self.form {
            Form::Plain { width, values } => {
                values[place * *width..][..*width].copy_from_slice(row);
            }
            #[cfg(feature = "tensorflow")]
            Form::Tensors(columns) => columns.iter_mut().for_each(|of| of.set(place, row)),
        }
    }

    /// Has all rows from this one on hold zeros.
    ///
    /// # Panics
    /// When there are not so many rows.
    pub fn clear_from(&mut self, place: usize) {
        match &mut self.form {
            Form::Plain { width, values } => values[place * *width..].fill(0.0),
            #[cfg(feature = "tensorflow")]
            Form::Tensors(columns) => columns.iter_mut().for_each(|of| of.clear_from(place)),
        }
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
