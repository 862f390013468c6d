//! Turns each record into another.

use tideflow_core::timely::dataflow::operators::vec::Map as _;
use tideflow_core::{BuildError, OperatorName, Stream};

/// Maps a stream.
pub trait Map<'s, D: 'static> {
    /// Yields `f` of each record, in order.
    ///
    /// State: none. Assumes that `f` looks at nothing but the record. Fails: never; where a record can
    /// fail, split the stream instead.
    ///
    /// # Errors
    /// When the name is taken.
    fn map<E: Clone + 'static>(
        self,
        name: &str,
        f: impl FnMut(D) -> E + 'static,
    ) -> Result<Stream<'s, E>, BuildError>;
}

impl<'s, D: Clone + 'static> Map<'s, D> for Stream<'s, D> {
    fn map<E: Clone + 'static>(
        self,
        name: &str,
        mut f: impl FnMut(D) -> E + 'static,
    ) -> Result<Stream<'s, E>, BuildError> {
        let flow = self.flow();
        let node = flow.node("operator", name, "map".to_string(), self.origins())?;
        let name = OperatorName::new(name);
        let mapped = self.into_timely().map(move |record| name.run(|| f(record)));
        Ok(Stream::new(&flow, node, "", mapped))
    }
}
