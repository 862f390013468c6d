//! What snapshots are made of, and where restored state comes from.

use std::rc::Rc;
use std::sync::Arc;

use timely::dataflow::StreamVec;

use crate::{BuildError, Epoch, KeyGroup, Segment, Standing};

/// What an operator on one worker adds to a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPart {
    /// The epoch after which it is the state.
    pub epoch: Epoch,
    /// The operator's name.
    pub operator: &'static str,
    /// The version of the state's form.
    pub version: u32,
    /// The key groups that changed since the snapshot before.
    pub segment: Arc<Segment>,
}

/// A graph's snapshots, as streams: at each epoch with a snapshot, the state after it.
pub struct Snapshots<'s> {
    /// What this worker's operators add. When the frontier has passed the epoch, all have.
    pub parts: StreamVec<'s, Epoch, SnapshotPart>,
    /// Where the job stands, on worker 0.
    pub standings: StreamVec<'s, Epoch, Standing>,
    /// Its frontier is what has been published, and whose bindings are durable.
    pub published: StreamVec<'s, Epoch, ()>,
    /// To be called on worker 0 when the snapshot of an epoch is whole, or given up: another may begin.
    pub taken: Box<dyn Fn(Epoch)>,
}

/// A key group's state as it was stored: the group, the version of its form, its bytes.
pub type Restored = (KeyGroup, u32, Vec<u8>);

/// Gives an operator's state in the key groups that are asked for.
type Restore = dyn Fn(&str, &dyn Fn(KeyGroup) -> bool) -> Result<Vec<Restored>, BuildError>;

/// Where the operators of a worker find their state from before: [`Flow::local`](crate::Flow::local).
#[derive(Clone)]
pub struct RestoreFrom(pub Rc<Restore>);
