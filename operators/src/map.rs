//! Turns each record into another, or into several.

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

    /// Yields all that `f` makes of each record, in order. The rest is as with [`Map::map`].
    ///
    /// # Errors
    /// When the name is taken.
    fn flat_map<I>(
        self,
        name: &str,
        f: impl FnMut(D) -> I + 'static,
    ) -> Result<Stream<'s, I::Item>, BuildError>
    where
        I: IntoIterator<Item: Clone + 'static> + 'static;
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

    fn flat_map<I>(
        self,
        name: &str,
        mut f: impl FnMut(D) -> I + 'static,
    ) -> Result<Stream<'s, I::Item>, BuildError>
    where
        I: IntoIterator<Item: Clone + 'static> + 'static,
    {
        let flow = self.flow();
        let node = flow.node("operator", name, "map".to_string(), self.origins())?;
        let name = OperatorName::new(name);
        let mapped = self.into_timely().flat_map(move |record| name.run(|| f(record)));
        Ok(Stream::new(&flow, node, "", mapped))
    }
}
