//! Rows in batches of one version.

use std::sync::Arc;
use std::time::Instant;

use tideflow_core::Epoch;
use tideflow_core::timely::dataflow::operators::{Capability, InputCapability};
use tideflow_models::{Rows, Signature};

use super::Features;
use super::pool::Version;

/// Capabilities of an epoch: for what came of its records, for saying that the model has failed, and for who scored
/// it.
#[derive(Clone)]
pub(super) struct At {
    pub tried: Capability<Epoch>,
    pub failures: Capability<Epoch>,
    pub by: Capability<Epoch>,
}

impl At {
    /// Those that a record's give.
    pub fn of(capability: &InputCapability<Epoch>, epoch: Epoch) -> At {
        let output = |number| capability.delayed(&epoch, number);
        At { tried: output(0), failures: output(1), by: output(2) }
    }
}

/// Records of one epoch within a batch.
pub(super) struct Segment<D> {
    pub epoch: Epoch,
    pub at: At,
    pub items: Vec<D>,
}

/// Records that are scored by one call.
pub(super) struct Batch<D> {
    pub version: Arc<Version>,
    pub segments: Vec<Segment<D>>,
    pub count: usize,
    /// When its first row came.
    pub since: Instant,
}

impl<D> Batch<D> {
    /// An empty one.
    pub fn new(version: Arc<Version>) -> Self {
        Batch { version, segments: Vec::new(), count: 0, since: Instant::now() }
    }

    pub fn is_full(&self) -> bool {
        self.count == self.version.id.batch_rows
    }

    /// The oldest epoch that it has records of.
    pub fn oldest(&self) -> Option<Epoch> {
        self.segments.iter().map(|s| s.epoch).min()
    }

    /// Adds a record.
    pub fn add(&mut self, epoch: Epoch, at: impl FnOnce() -> At, item: D) {
        if self.segments.last().is_none_or(|s| s.epoch != epoch) {
            self.segments.push(Segment { epoch, at: at(), items: Vec::new() });
        }
        self.segments.last_mut().expect("just made").items.push(item);
        self.count += 1;
    }

    /// Writes down its rows, as many as every call has: it is filled up with zeros. Takes out the records that have
    /// none, each with the reason. `row` is memory for one of them.
    pub fn write(
        &mut self,
        rows: &mut Rows,
        row: &mut Vec<f64>,
        mut unfit: impl FnMut(&At, D, String),
    ) where
        D: Features,
    {
        let signature = self.version.model.signature();
        let width = signature.width();
        let mut writer = rows.writer();
        self.count = 0;
        for Segment { at, items, .. } in &mut self.segments {
            let mut place = 0;
            while let Some(item) = items.get(place) {
                row.clear();
                item.row(row);
                if row.len() == width && writer.set(self.count, row) {
                    (self.count, place) = (self.count + 1, place + 1);
                    continue;
                }
                unfit(at, items.remove(place), reason(signature, row));
            }
        }
        writer.clear_from(self.count);
    }
}

/// Why a row cannot be scored.
fn reason(signature: &Signature, row: &[f64]) -> String {
    if row.len() != signature.width() {
        return format!("expected {} features, found {}", signature.width(), row.len());
    }
    let bad = signature.misfit(row).expect("a value that does not fit");
    let (name, value) = (&signature.features[bad].name, row[bad]);
    match signature.dtypes[bad] {
        _ if !value.is_finite() => format!("feature `{name}` is {value}"),
        dtype => format!("feature `{name}` is {value}, no {}", dtype.as_str()),
    }
}
