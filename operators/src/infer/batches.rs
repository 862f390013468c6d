//! Rows in batches of one version.

use std::sync::Arc;
use std::time::Instant;

use tideflow_core::Epoch;
use tideflow_core::timely::dataflow::operators::{Capability, InputCapability};

use super::pool::Version;

/// Capabilities of an epoch, for what is scored and what is not, and for who scored it.
#[derive(Clone)]
pub(super) struct At {
    pub scored: Capability<Epoch>,
    pub failed: Capability<Epoch>,
    pub by: Capability<Epoch>,
}

impl At {
    /// Those that a record's give.
    pub fn of(capability: &InputCapability<Epoch>, epoch: Epoch) -> At {
        let output = |number| capability.delayed(&epoch, number);
        At { scored: output(0), failed: output(1), by: output(2) }
    }
}

/// Records of one epoch within a batch.
pub(super) struct Segment<D> {
    pub epoch: Epoch,
    pub at: At,
    pub items: Vec<D>,
}

/// Records that are scored by one call, and their rows.
pub(super) struct Batch<D> {
    pub version: Arc<Version>,
    pub segments: Vec<Segment<D>>,
    pub rows: Vec<f64>,
    pub count: usize,
    /// When its first row came.
    pub since: Instant,
}

impl<D> Batch<D> {
    /// An empty one, in memory that was used before.
    pub fn new(version: Arc<Version>, mut rows: Vec<f64>) -> Self {
        rows.clear();
        Batch { version, segments: Vec::new(), rows, count: 0, since: Instant::now() }
    }

    pub fn is_full(&self) -> bool {
        self.count == self.version.id.batch_rows
    }

    /// The oldest epoch that it has records of.
    pub fn oldest(&self) -> Option<Epoch> {
        self.segments.iter().map(|s| s.epoch).min()
    }

    /// The records of an epoch, to add to.
    pub fn segment(&mut self, epoch: Epoch, at: impl FnOnce() -> At) -> &mut Segment<D> {
        if self.segments.last().is_none_or(|s| s.epoch != epoch) {
            self.segments.push(Segment { epoch, at: at(), items: Vec::new() });
        }
        self.segments.last_mut().expect("just made")
    }

    /// Its rows, filled up with zeros.
    pub fn padded(&mut self) -> Vec<f64> {
        let mut rows = std::mem::take(&mut self.rows);
        let width = self.version.model.signature().width();
        rows.resize(self.version.id.batch_rows * width, 0.0);
        rows
    }
}
