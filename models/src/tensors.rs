//! Rows of numbers as TensorFlow's tensors, and back.

use std::ops::Range;

use tensorflow::{FetchToken, Graph, Operation, SessionRunArgs, Status, Tensor, TensorInfo};

use crate::DType;
use crate::rows::all_finite;

/// Where a tensor enters or leaves the graph.
pub(crate) struct Port {
    pub operation: Operation,
    pub index: i32,
    pub dtype: DType,
    /// The shape of one row.
    shape: Vec<u64>,
}

/// A tensor of one of the types that models have here.
pub(crate) enum Numbers {
    Float32(Tensor<f32>),
    Float64(Tensor<f64>),
    Int64(Tensor<i64>),
}

impl Port {
    pub fn new(
        graph: &Graph,
        info: &TensorInfo,
        dtype: DType,
        shape: &[u64],
    ) -> Result<Self, Status> {
        let name = info.name();
        let operation = graph.operation_by_name_required(&name.name)?;
        Ok(Port { operation, index: name.index, dtype, shape: shape.to_vec() })
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.shape.iter().product::<u64>() as usize
    }

    /// Memory for `count` rows, of the columns that begin with `from`.
    pub fn columns(&self, count: usize, from: usize) -> Columns {
        let dimensions = [&[count as u64], self.shape.as_slice()].concat();
        let numbers = match self.dtype {
            DType::Float32 => Numbers::Float32(Tensor::new(&dimensions)),
            DType::Float64 => Numbers::Float64(Tensor::new(&dimensions)),
            DType::Int64 => Numbers::Int64(Tensor::new(&dimensions)),
        };
        Columns { columns: from..from + self.width(), numbers }
    }
}

/// Some columns of rows, as a tensor.
pub(crate) struct Columns {
    columns: Range<usize>,
    pub numbers: Numbers,
}

impl Columns {
    /// Writes those of a row. False: one is such as its type does not hold.
    #[inline]
    pub fn set(&mut self, place: usize, row: &[f64]) -> bool {
        let row = &row[self.columns.clone()];
        let of = place * row.len()..(place + 1) * row.len();
        match &mut self.numbers {
            Numbers::Float32(tensor) => {
                let to = &mut tensor[of];
                to.iter_mut().zip(row).for_each(|(to, x)| *to = *x as f32);
                all_finite(to, |x| x)
            }
            Numbers::Float64(tensor) => {
                tensor[of].copy_from_slice(row);
                all_finite(row, |x| x)
            }
            Numbers::Int64(tensor) => {
                tensor[of].iter_mut().zip(row).for_each(|(to, x)| *to = *x as i64);
                row.iter().all(|x| DType::Int64.holds(*x))
            }
        }
    }

    /// Has all rows from this one on hold zeros.
    pub fn clear_from(&mut self, place: usize) {
        let at = place * self.columns.len();
        match &mut self.numbers {
            Numbers::Float32(tensor) => tensor[at..].fill(0.0),
            Numbers::Float64(tensor) => tensor[at..].fill(0.0),
            Numbers::Int64(tensor) => tensor[at..].fill(0),
        }
    }
}

impl Numbers {
    /// Has it enter the graph.
    pub fn feed<'a>(&'a self, port: &Port, step: &mut SessionRunArgs<'a>) {
        let Port { operation, index, .. } = port;
        match self {
            Numbers::Float32(tensor) => step.add_feed(operation, *index, tensor),
            Numbers::Float64(tensor) => step.add_feed(operation, *index, tensor),
            Numbers::Int64(tensor) => step.add_feed(operation, *index, tensor),
        }
    }

    /// What has left the graph.
    pub fn fetch(
        dtype: DType,
        step: &mut SessionRunArgs<'_>,
        token: FetchToken,
    ) -> Result<Self, Status> {
        Ok(match dtype {
            DType::Float32 => Numbers::Float32(step.fetch(token)?),
            DType::Float64 => Numbers::Float64(step.fetch(token)?),
            DType::Int64 => Numbers::Int64(step.fetch(token)?),
        })
    }

    /// How many numbers it holds.
    pub fn len(&self) -> usize {
        match self {
            Numbers::Float32(tensor) => tensor.len(),
            Numbers::Float64(tensor) => tensor.len(),
            Numbers::Int64(tensor) => tensor.len(),
        }
    }

    /// Writes rows of `width` numbers to the beginnings of rows of `stride`.
    pub fn spread(&self, width: usize, out: &mut [f64], stride: usize) {
        // A whole number that `f64` does not hold must not become another.
        let whole = |x: &i64| if x.unsigned_abs() <= 1 << 53 { *x as f64 } else { f64::NAN };
        match self {
            Numbers::Float32(tensor) => spread(tensor, |x| f64::from(*x), width, out, stride),
            Numbers::Float64(tensor) => spread(tensor, |x| *x, width, out, stride),
            Numbers::Int64(tensor) => spread(tensor, whole, width, out, stride),
        }
    }
}

fn spread<T>(rows: &[T], cast: impl Fn(&T) -> f64, width: usize, out: &mut [f64], stride: usize) {
    for (row, to) in rows.chunks_exact(width).zip(out.chunks_mut(stride)) {
        to.iter_mut().zip(row).for_each(|(to, x)| *to = cast(x));
    }
}
