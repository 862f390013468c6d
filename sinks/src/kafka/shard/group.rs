//! Which epochs go into one transaction.

use std::collections::VecDeque;

use tideflow_core::Epoch;

/// The slowest that a cluster may take a shard's bytes, per millisecond: 4 MB/s.
const SLOWEST_BYTES_PER_MS: usize = 4_000;

/// Bytes of one transaction at most, so that even a slow cluster takes them within half of the
/// transaction's timeout; the other half is for its bindings and the commit. 60 MB at 30 s.
pub fn group_bytes_max(timeout_ms: u32) -> usize {
    timeout_ms as usize / 2 * SLOWEST_BYTES_PER_MS
}

/// What a shard's thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Produce the records of this epoch, into the open transaction or a new one.
    Produce(Epoch),
    /// Commit the open transaction: everything up to this epoch is in it or was published before.
    Commit(Epoch),
    /// Nothing, until an epoch closes or becomes durable.
    Wait,
}

/// The group commit of a shard.
///
/// The first epoch of a transaction is produced as soon as it is closed, while its binding is still
/// being made durable. Others join it only if that costs it nothing: they are durable already, and
/// there is room. So a shard that keeps up has an epoch a transaction, one that is behind has several.
#[derive(Debug)]
pub struct Group {
    bytes_max: usize,
    /// The transaction: its last epoch and its bytes.
    open: Option<(Epoch, usize)>,
    closed: VecDeque<(Epoch, usize)>,
    durable: Epoch,
}

impl Group {
    /// Transactions of at most so many bytes; an epoch that alone has more goes alone.
    pub fn new(bytes_max: usize) -> Self {
        Group { bytes_max, open: None, closed: VecDeque::new(), durable: 0 }
    }

    /// An epoch is complete and has records for this shard. Epochs close in order.
    pub fn close(&mut self, epoch: Epoch, bytes: usize) {
        self.closed.push_back((epoch, bytes));
    }

    /// The bindings of all epochs up to this one are durable.
    pub fn durable(&mut self, through: Epoch) {
        self.durable = self.durable.max(through);
    }

    /// What to do next; it counts as done. Ask again until it is [`Next::Wait`].
    pub fn act(&mut self) -> Next {
        if let Some(&(epoch, bytes)) = self.closed.front() {
            let joined = match self.open {
                None => Some(bytes),
                Some((_, open)) if epoch <= self.durable => open.checked_add(bytes),
                Some(_) => None,
            };
            let fits = |total: &usize| self.open.is_none() || *total <= self.bytes_max;
            if let Some(total) = joined.filter(fits) {
                self.closed.pop_front();
                self.open = Some((epoch, total));
                return Next::Produce(epoch);
            }
        }
        match self.open {
            Some((last, _)) if last <= self.durable => {
                self.open = None;
                Next::Commit(last)
            }
            _ => Next::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is to be done now.
    fn acts(group: &mut Group) -> Vec<Next> {
        std::iter::from_fn(|| Some(group.act()).filter(|next| *next != Next::Wait)).collect()
    }

    use Next::{Commit, Produce};

    #[test]
    fn the_first_epoch_is_produced_at_once_and_committed_when_durable() {
        let mut group = Group::new(100);
        group.close(3, 10);
        assert_eq!(acts(&mut group), [Produce(3)]);
        group.durable(2);
        assert_eq!(acts(&mut group), []);
        group.durable(3);
        assert_eq!(acts(&mut group), [Commit(3)]);
    }

    #[test]
    fn an_epoch_that_is_not_durable_keeps_no_other_waiting() {
        let mut group = Group::new(100);
        group.close(1, 10);
        group.close(2, 10);
        assert_eq!(acts(&mut group), [Produce(1)]);
        group.durable(1);
        assert_eq!(acts(&mut group), [Commit(1), Produce(2)]);
    }

    #[test]
    fn a_backlog_is_committed_in_groups_that_fit() {
        let mut group = Group::new(100);
        group.durable(9);
        for (epoch, bytes) in [(1, 40), (2, 40), (4, 20), (5, 1), (7, 500), (8, 100), (9, 1)] {
            group.close(epoch, bytes);
        }
        let alone = [Produce(7), Commit(7), Produce(8), Commit(8), Produce(9), Commit(9)];
        let first = [Produce(1), Produce(2), Produce(4), Commit(4), Produce(5), Commit(5)];
        assert_eq!(acts(&mut group), [first, alone].concat());
    }

    #[test]
    fn oracle_every_epoch_is_committed_once_in_order_when_durable_and_in_groups_that_fit() {
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..2_000 {
            let mut group = Group::new(100);
            let (mut closed, mut durable, mut sizes) = (0, 0, Vec::new());
            let (mut open, mut committed) = (Vec::new(), Vec::new());
            while committed.len() < 30 {
                match random(3) {
                    0 if sizes.len() < 30 => {
                        // Some epochs have nothing for this shard.
                        closed += 1 + random(2);
                        sizes.push((closed, random(130) as usize));
                        group.close(closed, sizes[sizes.len() - 1].1);
                    }
                    1 => {
                        durable = if sizes.len() == 30 { closed } else { durable + random(3) };
                        group.durable(durable);
                    }
                    _ => {}
                }
                for act in acts(&mut group) {
                    match act {
                        Produce(epoch) => {
                            let index = committed.len() + open.len();
                            assert_eq!(epoch, sizes[index].0);
                            open.push(sizes[index]);
                        }
                        Commit(epoch) => {
                            assert!(epoch <= durable && open.last().map(|o| o.0) == Some(epoch));
                            let bytes: usize = open.iter().map(|o| o.1).sum();
                            assert!(open.len() == 1 || bytes <= 100);
                            committed.append(&mut open);
                        }
                        Next::Wait => unreachable!("left out"),
                    }
                }
                // Nothing that could be committed is left waiting.
                let next = sizes.get(committed.len());
                assert!(next.is_none_or(|(epoch, _)| *epoch > durable));
            }
        }
    }

    #[test]
    fn a_transaction_of_30_s_holds_60_mb() {
        assert_eq!(group_bytes_max(30_000), 60_000_000);
        assert_eq!(group_bytes_max(u32::MAX), (u32::MAX as usize / 2) * 4_000);
    }
}
