//! Results into memory: the documented double of a sink, for tests and examples.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::{Backtest, BuildError, Check, Epoch, Outlet, Sink, SinkSpec, SinkStart};

/// Collects what is published, with its epoch, over all workers of the process.
///
/// ```
/// use tideflow_sinks::VecSink;
/// let sink = VecSink::<u64>::new();
/// // flow.sink("out", stream, sink.clone())?; … then, when the graph has ended:
/// assert!(sink.take().is_empty());
/// ```
#[derive(Debug)]
pub struct VecSink<D> {
    published: Arc<Mutex<Vec<(Epoch, D)>>>,
}

impl<D> VecSink<D> {
    /// An empty collection.
    pub fn new() -> Self {
        VecSink { published: Arc::default() }
    }

    /// Takes what was published so far, in the order of publication.
    pub fn take(&self) -> Vec<(Epoch, D)> {
        std::mem::take(&mut self.published.lock().expect("no holder of this lock panics"))
    }
}

impl<D> Default for VecSink<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D> Clone for VecSink<D> {
    fn clone(&self) -> Self {
        VecSink { published: self.published.clone() }
    }
}

impl<D: Clone + Send + 'static> SinkSpec<D> for VecSink<D> {
    type Sink = VecWriter<D>;

    fn about(&self) -> String {
        "memory".to_string()
    }

    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn start(self, _start: SinkStart<'_, '_>) -> Result<VecWriter<D>, BuildError> {
        Ok(VecWriter { open: BTreeMap::new(), through: 0, published: self.published })
    }

    fn record<'s>(
        self,
        outlet: Outlet<'s>,
        stream: StreamVec<'s, Epoch, D>,
        _: &Backtest,
    ) -> Result<(), BuildError> {
        // Nobody but this process sees it.
        self.connect(outlet, stream)
    }
}

/// A [`VecSink`] as it runs on one worker.
pub struct VecWriter<D> {
    open: BTreeMap<Epoch, Vec<D>>,
    through: Epoch,
    published: Arc<Mutex<Vec<(Epoch, D)>>>,
}

impl<D: Send + 'static> Sink<D> for VecWriter<D> {
    fn take(&mut self, epoch: Epoch, items: &mut Vec<D>) {
        self.open.entry(epoch).or_default().append(items);
    }

    fn close(&mut self, epoch: Epoch) {
        let items = self.open.remove(&epoch).unwrap_or_default();
        let mut published = self.published.lock().expect("no holder of this lock panics");
        published.extend(items.into_iter().map(|item| (epoch, item)));
        self.through = epoch;
    }

    fn published(&mut self) -> Epoch {
        self.through
    }
}
