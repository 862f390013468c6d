//! What an epoch is: the binding that says which input it holds and how far time has come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::{Chosen, Epoch, EventTime, Ruling, Standing};

/// How a partition takes part in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// Records are coming: its watermark holds time back.
    Active,
    /// Read to its end and quiet since: it does not hold time back.
    Idle,
    /// Nothing will ever come again.
    Ended,
}

/// One partition's share of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The source's name.
    pub source: String,
    /// The partition.
    pub partition: i32,
    /// Where reading it began, in the first epoch that it is a part of.
    pub from: Option<i64>,
    /// The offset of the first record that is *not* in this epoch.
    pub next: i64,
    /// The largest event time read so far, less the out-of-orderness bound.
    pub watermark: EventTime,
    /// Whether it holds time back.
    pub state: PartState,
}

/// How input ends, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// More epochs follow.
    No,
    /// The last epoch; what is open stays open.
    Suspend,
    /// The last epoch; time runs to its end, so that open windows close.
    Drain,
}

/// An epoch's binding. Replaying it gives the same records, the same watermark, the same results: a program
/// that does not know a field of it could not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The epoch.
    pub epoch: Epoch,
    /// Every partition, sorted by source and partition.
    pub parts: Vec<Part>,
    /// The watermark of the whole graph after this epoch.
    pub watermark: EventTime,
    /// The wall clock when the epoch was cut, in milliseconds since 1970.
    pub wall_ms: i64,
    /// Whether this is the last epoch, and how it ends.
    pub ending: Ending,
    /// What was chosen outside of the graph and holds in this epoch; nothing, before there was such a field.
    #[serde(default)]
    pub chosen: Chosen,
}

impl Binding {
    /// Where the job stands after it.
    pub(crate) fn standing(&self) -> Standing {
        let Binding { epoch, watermark, ref parts, ref chosen, .. } = *self;
        Standing { epoch, watermark, parts: parts.clone(), chosen: chosen.clone() }
    }

    /// What every worker is told of it.
    pub fn bound(&self, snapshot: bool) -> Bound {
        let Binding { epoch, watermark, wall_ms, .. } = *self;
        Bound { epoch, watermark, wall_ms, snapshot }
    }
}

/// The least watermark of the partitions that hold time back. Where none does, nothing more is to be
/// waited for than what was read: the largest of all.
pub(crate) fn global_watermark(parts: &[Part]) -> EventTime {
    let active = parts.iter().filter(|p| p.state == PartState::Active);
    let all = parts.iter().map(|p| p.watermark);
    active.map(|p| p.watermark).min().or_else(|| all.max()).unwrap_or(EventTime::MIN)
}

/// What every worker is told of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bound {
    /// The epoch.
    pub epoch: Epoch,
    /// The watermark of the whole graph after this epoch.
    pub watermark: EventTime,
    /// The wall clock when the epoch was cut, in milliseconds since 1970.
    pub wall_ms: i64,
    /// Whether a snapshot is to be taken after this epoch.
    pub snapshot: bool,
}

/// Where bindings are recorded before anything that rests on them is published.
///
/// Every implementation promises:
/// 1. `append` never waits; bindings come in order of their epochs, without a gap;
/// 2. `durable` is the last epoch whose binding, and all before it, will survive a crash;
/// 3. rulings are recorded behind what was appended before them, and `rulings_durable` is how many of them, from the
///    first on, will survive a crash;
/// 4. when `durable` or `rulings_durable` moves by itself, the callback given to `wake_with` is called.
///
/// ```
/// use tideflow_core::{BindingLog, Binding, Ending, EventTime, RecentBindings};
/// let mut log = RecentBindings::new(2);
/// for epoch in 1..=3 {
///     let watermark = EventTime(1_000);
///     let (parts, chosen) = (vec![], Default::default());
///     log.append(Binding { epoch, parts, watermark, wall_ms: 0, ending: Ending::No, chosen });
/// }
/// assert_eq!(log.durable(), 3);
/// assert_eq!(log.kept().iter().map(|b| b.epoch).collect::<Vec<_>>(), [2, 3]);
/// ```
pub trait BindingLog: Send {
    /// Records a binding.
    fn append(&mut self, binding: Binding);
    /// The last durable epoch; 0 before the first.
    fn durable(&mut self) -> Epoch;
    /// Records a ruling upon an epoch that is durable: its number, from 1.
    fn rule(&mut self, ruling: Ruling) -> u64;
    /// The number of the last durable ruling; 0 before the first.
    fn rulings_durable(&mut self) -> u64;
    /// Takes the callback for promise 4.
    fn wake_with(&mut self, _wake: Box<dyn Fn() + Send + Sync>) {}
}

/// Keeps the newest bindings in memory, and what was ruled upon their epochs: they survive nothing, and so count as
/// durable at once.
#[derive(Clone, Debug)]
pub struct RecentBindings {
    kept: Arc<Mutex<Kept>>,
    keep_max: usize,
    last: Epoch,
    ruled: u64,
}

#[derive(Debug, Default)]
struct Kept {
    bindings: VecDeque<Binding>,
    rulings: Vec<Ruling>,
}

impl RecentBindings {
    /// Keeps at most `keep_max` bindings.
    pub fn new(keep_max: usize) -> Self {
        RecentBindings { kept: Arc::default(), keep_max, last: 0, ruled: 0 }
    }

    /// Goes on behind this epoch.
    #[must_use]
    pub fn after(self, last: Epoch) -> Self {
        RecentBindings { last, ..self }
    }

    /// The bindings kept, oldest first.
    pub fn kept(&self) -> Vec<Binding> {
        self.lock().bindings.iter().cloned().collect()
    }

    /// What was ruled upon their epochs, in order.
    pub fn rulings(&self) -> Vec<Ruling> {
        self.lock().rulings.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder of this lock panics")
    }
}

impl BindingLog for RecentBindings {
    fn append(&mut self, binding: Binding) {
        assert_eq!(binding.epoch, self.last + 1, "bindings must be contiguous");
        self.last = binding.epoch;
        let mut kept = self.lock();
        if kept.bindings.len() == self.keep_max
            && let Some(oldest) = kept.bindings.pop_front()
        {
            kept.rulings.retain(|ruling| ruling.epoch > oldest.epoch);
        }
        kept.bindings.push_back(binding);
    }

    fn durable(&mut self) -> Epoch {
        self.last
    }

    fn rule(&mut self, ruling: Ruling) -> u64 {
        self.ruled += 1;
        self.lock().rulings.push(ruling);
        self.ruled
    }

    fn rulings_durable(&mut self) -> u64 {
        self.ruled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(watermark: i64, state: PartState) -> Part {
        let (source, watermark) = (String::new(), EventTime(watermark));
        Part { source, partition: 0, from: None, next: 0, watermark, state }
    }

    #[test]
    fn time_is_the_least_of_the_active_partitions_and_the_largest_where_none_is() {
        use PartState::{Active, Ended, Idle};
        let time = |parts: &[(i64, PartState)]| {
            let parts: Vec<_> = parts.iter().map(|(at, state)| part(*at, *state)).collect();
            global_watermark(&parts)
        };
        assert_eq!(time(&[]), EventTime::MIN);
        assert_eq!(time(&[(5, Active), (3, Active), (1, Idle), (2, Ended)]), EventTime(3));
        assert_eq!(time(&[(5, Idle), (3, Idle), (9, Ended)]), EventTime(9));
        assert_eq!(time(&[(5, Idle), (i64::MIN, Active)]), EventTime::MIN);
    }
}
