//! Rows of numbers as TensorFlow's tensors, and back.

use std::ops::{Add, Mul, Range};

use multiversion::multiversion;
use tensorflow::{FetchToken, Graph, Operation, SessionRunArgs, Status, Tensor, TensorInfo};

use crate::DType;

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
    /// Where they are written.
    pub fn as_mut(&mut self) -> ColumnsMut<'_> {
        let numbers = match &mut self.numbers {
            Numbers::Float32(tensor) => NumbersMut::Float32(tensor),
            Numbers::Float64(tensor) => NumbersMut::Float64(tensor),
            Numbers::Int64(tensor) => NumbersMut::Int64(tensor),
        };
        ColumnsMut { columns: self.columns.clone(), numbers }
    }
}

/// The memory of some columns.
pub(crate) struct ColumnsMut<'a> {
    columns: Range<usize>,
    numbers: NumbersMut<'a>,
}

enum NumbersMut<'a> {
    Float32(&'a mut [f32]),
    Float64(&'a mut [f64]),
    Int64(&'a mut [i64]),
}

impl ColumnsMut<'_> {
    /// Writes those of a row. False: one is such as its type does not hold.
    #[inline]
    pub fn set(&mut self, place: usize, row: &[f64]) -> bool {
        let row = &row[self.columns.clone()];
        let of = place * row.len()..(place + 1) * row.len();
        match &mut self.numbers {
            NumbersMut::Float32(all) => write_f32(&mut all[of], row),
            NumbersMut::Float64(all) => write_f64(&mut all[of], row),
            NumbersMut::Int64(all) => {
                all[of].iter_mut().zip(row).for_each(|(to, x)| *to = *x as i64);
                row.iter().all(|x| DType::Int64.holds(*x))
            }
        }
    }

    /// Has all rows from this one on hold zeros.
    pub fn clear_from(&mut self, place: usize) {
        let at = place * self.columns.len();
        match &mut self.numbers {
            NumbersMut::Float32(all) => all[at..].fill(0.0),
            NumbersMut::Float64(all) => all[at..].fill(0.0),
            NumbersMut::Int64(all) => all[at..].fill(0),
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

/// Writes numbers as those of a type; false: one is not finite in it.
#[multiversion(targets = "simd")]
fn write_f32(to: &mut [f32], row: &[f64]) -> bool {
    write(to, row, |x| x as f32)
}

/// Writes numbers; false: one is not finite.
#[multiversion(targets = "simd")]
fn write_f64(to: &mut [f64], row: &[f64]) -> bool {
    write(to, row, |x| x)
}

/// Times zero, what is not finite gives a NaN, which stays in a sum. Without a branch for each, and with several sums,
/// so that the processor takes as many at a time as it can: `inline(always)`, into a function of each kind of
/// processor.
#[inline(always)]
fn write<T>(to: &mut [T], row: &[f64], cast: impl Fn(f64) -> T) -> bool
where
    T: Copy + Default + PartialEq + Add<Output = T> + Mul<Output = T>,
{
    let zero = T::default();
    let mut sums = [zero; 16];
    let mut one = |((to, x), sum): ((&mut T, &f64), &mut T)| {
        *to = cast(*x);
        *sum = *sum + *to * zero;
    };
    let (many_to, rest_to) = to.as_chunks_mut::<16>();
    let (many, rest) = row.as_chunks::<16>();
    for (to, some) in many_to.iter_mut().zip(many) {
        to.iter_mut().zip(some).zip(&mut sums).for_each(&mut one);
    }
    rest_to.iter_mut().zip(rest).zip(&mut sums).for_each(&mut one);
    sums.iter().all(|sum| *sum == zero)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Values of which most are finite in all types.
    fn value() -> impl Strategy<Value = f64> {
        let special =
            vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e39, -1e39, 1e300, 0.5, -0.0, 1e-320];
        prop_oneof![200 => -1e3..1e3, 1 => proptest::sample::select(special)]
    }

    proptest! {
        #[test]
        fn oracle_numbers_are_written_and_looked_at_as_one_by_one(
            row in proptest::collection::vec(value(), 0..100),
        ) {
            let (mut narrow, mut wide) = (vec![7.0; row.len()], vec![7.0; row.len()]);
            let fits = |dtype: DType| row.iter().all(|x| dtype.holds(*x));
            prop_assert_eq!(write_f32(&mut narrow, &row), fits(DType::Float32));
            prop_assert_eq!(write_f64(&mut wide, &row), fits(DType::Float64));
            prop_assert!(narrow.iter().zip(&row).all(|(x, y)| x.to_bits() == (*y as f32).to_bits()));
            prop_assert!(wide.iter().zip(&row).all(|(x, y)| x.to_bits() == y.to_bits()));
        }
    }
}
