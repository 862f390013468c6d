//! How a run is cut and spread.

use std::ops::Range;

use proptest::prelude::*;

/// How a run is cut and spread.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub workers: usize,
    pub chunk: usize,
    pub epoch_bytes: usize,
    pub snapshot_every: u64,
}

/// Runs on one to four workers.
pub fn shapes(
    chunk: Range<usize>,
    epoch_bytes: Range<usize>,
    snapshot_every: Range<u64>,
) -> impl Strategy<Value = Shape> {
    let numbers = (1..5usize, chunk, epoch_bytes, snapshot_every);
    numbers.prop_map(|(workers, chunk, epoch_bytes, snapshot_every)| Shape {
        workers,
        chunk,
        epoch_bytes,
        snapshot_every,
    })
}
