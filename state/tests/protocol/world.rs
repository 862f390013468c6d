//! What survives a crash: the store's generations and manifests, the bindings log, the output topics.

use crate::rules::Rules;

pub type Generation = u8;
pub type Epoch = u8;

pub const SHARDS: usize = 2;

/// Who cut each epoch, from the first on. A cut is unique by (generation, epoch), and the result of an
/// epoch rests on all cuts up to it: two results are the same if their histories are.
pub type History = Vec<Generation>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    Marker(Generation),
    Binding { generation: Generation, epoch: Epoch },
}

/// A snapshot of all state after an epoch, with what recovery needs to go on from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Manifest {
    pub generation: Generation,
    pub epoch: Epoch,
    pub state: History,
    pub progress: [Epoch; SHARDS],
    /// Where the binding of `epoch` lies in the log, and the generation of that record.
    pub offset: usize,
    pub binding: Generation,
}

/// One shard of the output with its progress partition: written by one transactional id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shard {
    /// The generation that initialised the transactional id last: all others are fenced.
    pub owner: Generation,
    /// The results on the topic, in order of commit.
    pub results: Vec<(Epoch, History)>,
    pub progress: Epoch,
    /// The manifest that was committed last (shard 0 only).
    pub manifest: Option<(Generation, Epoch)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The highest generation taken.
    pub generation: Generation,
    pub log: Vec<Entry>,
    /// Records before this offset are deleted.
    pub log_start: usize,
    pub shards: [Shard; SHARDS],
    pub manifests: Vec<Manifest>,
    /// The highest generation that has initialised all transactional ids.
    pub fenced_by: Generation,
    /// Who committed although such a one had come after it.
    pub fenced_commit: Option<Generation>,
    /// What a reader of the topics would call wrong, or a recovery cannot go on from.
    pub violation: Option<&'static str>,
}

impl World {
    pub fn violate(&mut self, what: &'static str) {
        self.violation.get_or_insert(what);
    }

    /// A transaction of a shard with the results of these epochs: false where the producer is fenced.
    pub fn commit(
        &mut self,
        shard: usize,
        by: Generation,
        epochs: std::ops::RangeInclusive<Epoch>,
        history: &History,
        rules: &Rules,
    ) -> bool {
        if self.shards[shard].owner != by {
            return false;
        }
        if by < self.fenced_by {
            self.fenced_commit.get_or_insert(by);
        }
        let last = *epochs.end();
        for epoch in epochs.filter(|e| rules.has_output(shard, *e)) {
            self.publish(shard, epoch, history[..usize::from(epoch)].to_vec(), rules);
        }
        self.shards[shard].progress = self.shards[shard].progress.max(last);
        true
    }

    fn publish(&mut self, shard: usize, epoch: Epoch, history: History, rules: &Rules) {
        let results = &self.shards[shard].results;
        let expected = (1..epoch).filter(|e| rules.has_output(shard, *e)).count();
        let lost = results.iter().filter(|(e, _)| *e < epoch).count() < expected;
        let same = |other: &History| {
            let common = other.len().min(history.len());
            other[..common] == history[..common]
        };
        let mut others = self.shards.iter().flat_map(|s| &s.results).map(|(_, other)| other);
        if results.iter().any(|(e, _)| *e == epoch) {
            self.violate("duplicated");
        } else if lost {
            self.violate("lost");
        } else if !others.all(same) {
            self.violate("wrong: results of two different cuts");
        }
        self.shards[shard].results.push((epoch, history));
    }

    /// Whether every result of the first `epochs` epochs is out.
    pub fn complete(&self, rules: &Rules) -> bool {
        (0..SHARDS).all(|shard| {
            let expected = (1..=rules.epochs).filter(|e| rules.has_output(shard, *e)).count();
            self.shards[shard].results.len() == expected
        })
    }

    /// Who cut each epoch, as the log says: by the bindings that no marker before them makes void. None: an
    /// epoch has two of them, or is left out.
    pub fn bindings(&self) -> Option<History> {
        let (mut least, mut cuts) = (0, History::new());
        for entry in &self.log {
            match *entry {
                Entry::Marker(by) => least = least.max(by),
                Entry::Binding { generation, .. } if generation < least => {}
                Entry::Binding { generation, epoch } => {
                    if usize::from(epoch) != cuts.len() + 1 {
                        return None;
                    }
                    cuts.push(generation);
                }
            }
        }
        Some(cuts)
    }

    /// The manifest that counts.
    pub fn counts(&self) -> Option<&Manifest> {
        let named = self.shards[0].manifest?;
        self.manifests.iter().find(|m| (m.generation, m.epoch) == named)
    }

    pub fn append(&mut self, entry: Entry) -> usize {
        self.log.push(entry);
        self.log.len() - 1
    }
}
