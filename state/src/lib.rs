//! What a job leaves behind so that another process can go on where it was killed.
//!
//! [`Store`] keeps generations, manifests and snapshots. [`Entry`] is a record of the log of bindings, and
//! [`Replay`] says which of them count;
//! [`BindingsTopic`] and [`KafkaBindingLog`] keep it in Kafka. [`Manifest`] says what a snapshot consists of.
//! `tests/protocol` checks the protocol that they are part of in every interleaving of a small world.

mod entry;
mod generation;
mod place;
mod replay;
mod savepoint;
mod snapshot;
mod store;
mod topic;
mod topics;
mod watch;

pub use entry::{Entry, EntryError};
pub use generation::Generation;
pub use replay::{Recorded, Replay, ReplayError, SnapshotAt};
pub use snapshot::{Manifest, Operators, Place, SnapshotError, WorkerState, Written};
pub use store::{Store, StoreError};
pub use topic::{
    BindingPlace, BindingPlaces, BindingsTopic, Copies, KafkaBindingLog, LogTopicError, Marker,
    ReadBindingsError, check_brokers, check_log_topic, open_log_topic,
};
pub use topics::Topics;
pub use watch::{GenerationWatch, Superseded};
