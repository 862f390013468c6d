//! What a sink writes in a backtest, in place of publishing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::{
    Backtest, BuildError, Epoch, ErrorKind, Failure, OperatorName, Outlet, RecordedOutput, Sink,
};

/// Appends the lines of some records.
type Append<D> = Box<dyn Fn(&mut Vec<D>, &mut Vec<u8>)>;

/// A [`Sink`] whose records go to an output of a backtest, a line each, in the order in which they come to a
/// worker. It writes on the worker: to a file of this machine, for which nobody waits.
pub(crate) struct Recorded<D> {
    name: OperatorName,
    append: Append<D>,
    output: Arc<RecordedOutput>,
    failure: Failure,
    /// Lines of open epochs, and how many.
    open: BTreeMap<Epoch, (Vec<u8>, u64)>,
    through: Epoch,
}

impl<D: Clone + 'static> Recorded<D> {
    /// Has a stream written to the output by this name.
    pub fn connect<'s>(
        outlet: Outlet<'s>,
        stream: StreamVec<'s, Epoch, D>,
        backtest: &Backtest,
        output: &str,
        append: Append<D>,
    ) -> Result<(), BuildError> {
        let name = outlet.name();
        let failure = outlet.flow().job().failure.clone();
        let output = backtest.output(output).map_err(|error| failed(name, error))?;
        let (open, through) = (BTreeMap::new(), 0);
        let recorded = Recorded { name, append, output, failure, open, through };
        outlet.gate(stream, Pipeline, |_| Ok(recorded))
    }
}

fn failed(name: OperatorName, source: std::io::Error) -> BuildError {
    let (operator, kind) = (name.as_str().to_string(), ErrorKind::Fatal);
    BuildError { operator, kind, source: Box::new(source) }
}

impl<D: 'static> Sink<D> for Recorded<D> {
    fn take(&mut self, epoch: Epoch, items: &mut Vec<D>) {
        let (lines, records) = self.open.entry(epoch).or_default();
        *records += items.len() as u64;
        (self.append)(items, lines);
        items.clear();
    }

    fn close(&mut self, epoch: Epoch) {
        let (lines, records) = self.open.remove(&epoch).unwrap_or_default();
        if let Err(error) = self.output.write(&lines, records) {
            self.failure.set(failed(self.name, error));
        }
        self.through = epoch;
    }

    fn published(&mut self) -> Epoch {
        self.through
    }
}
