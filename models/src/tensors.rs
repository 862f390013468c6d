//! Rows of numbers as TensorFlow's tensors, and back.

use tensorflow::{
    FetchToken, Graph, Operation, SessionRunArgs, Status, Tensor, TensorInfo, TensorType,
};

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

    /// The tensor of `count` rows, from the columns that begin with `from`, of `width` in all.
    pub fn tensor(&self, rows: &[f64], count: usize, (from, width): (usize, usize)) -> Numbers {
        let columns = |row: usize| &rows[row * width + from..][..self.width()];
        match self.dtype {
            DType::Float32 => Numbers::Float32(self.fill(count, columns, |x| x as f32)),
            DType::Float64 => Numbers::Float64(self.fill(count, columns, |x| x)),
            DType::Int64 => Numbers::Int64(self.fill(count, columns, |x| x as i64)),
        }
    }

    fn fill<'a, T: TensorType>(
        &self,
        count: usize,
        columns: impl Fn(usize) -> &'a [f64],
        cast: impl Fn(f64) -> T,
    ) -> Tensor<T> {
        let dimensions = [&[count as u64], self.shape.as_slice()].concat();
        let mut tensor = Tensor::new(&dimensions);
        for (row, to) in tensor.chunks_exact_mut(self.width().max(1)).enumerate() {
            to.iter_mut().zip(columns(row)).for_each(|(to, x)| *to = cast(*x));
        }
        tensor
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
