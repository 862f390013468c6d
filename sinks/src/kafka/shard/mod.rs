//! One shard of the exactly-once output: a transactional producer, and the record of its progress
//! that every transaction of it carries.
//!
//! A shard is a fixed set of output partitions (partition modulo the number of shards) that one
//! [`Shard`] at a time writes. [`Shard::fence`] takes it over: whoever had it before can commit
//! nothing any more, and what it had open is aborted. Records and progress become visible together or
//! not at all, so what a commit with an unknown outcome came to stands in the progress:
//! [`read_progress`]. [`Group`] says which epochs go into one transaction, [`ShardPublisher`] does it.

mod error;
mod group;
#[cfg(test)]
mod job;
mod owner;
mod progress;
mod publisher;
mod reader;
mod transaction;

pub use error::{ReadProgressError, ShardError};
pub use group::{Group, Next, group_bytes_max};
pub use owner::{Shard, ShardConfig, TRANSACTION_TIMEOUT_MS};
pub use progress::{Manifest, Note};
pub use publisher::{EpochRecords, ShardPublisher};
pub use reader::{ShardProgress, look_at_progress, read_progress};
