//! Says by what a stream's records belong together.

use tideflow_core::timely::ExchangeData;
use tideflow_core::{Key, Stream};

/// Keys a stream.
pub trait KeyBy<'s, D: 'static> {
    /// The stream, with the key of each record. Nothing moves yet: the next operator that keeps state
    /// sends each record to the worker of its key group, once.
    ///
    /// State: none. Fails: never.
    fn key_by<K: Key, F: Fn(&D) -> &K + Clone + 'static>(self, key: F) -> Keyed<'s, D, F>;
}

/// A stream whose records have a key.
pub struct Keyed<'s, D: 'static, F> {
    pub(crate) stream: Stream<'s, D>,
    pub(crate) key: F,
}

impl<'s, D: ExchangeData + Clone> KeyBy<'s, D> for Stream<'s, D> {
    fn key_by<K: Key, F: Fn(&D) -> &K + Clone + 'static>(self, key: F) -> Keyed<'s, D, F> {
        Keyed { stream: self, key }
    }
}
