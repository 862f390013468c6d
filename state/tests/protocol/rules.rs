//! The rules of the protocol, each of which can be left out, and the size of the world.

use crate::world::Epoch;

/// A rule, by what it says. Without it, results are lost, duplicated or wrong in some interleaving, or
/// a recovery stops that need not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The generation is read again once all transactional ids are initialised (D1).
    ReadGenerationAgain,
    /// The same for each owner of a shard that initialises it again, before its first commit.
    OwnersReadGenerationAgain,
    /// All transactional ids are initialised before progress is read.
    FenceFirst,
    /// Nothing is committed before its binding is durable.
    BindingBeforeCommit,
    /// A binding counts only if no marker of a higher generation lies before it (D2).
    MarkersVoidBindings,
    /// The log is read on from the generation of the snapshot's binding, not of its manifest (D3).
    StartFromBindingsGeneration,
    /// A shard's progress is only compared with what the manifest says of that shard (D4).
    IdleShardsMayLag,
    /// A shard drops what it has published already.
    DropPublished,
    /// A manifest is written once everything up to it is published.
    PublishedBeforeManifest,
    /// A manifest counts once shard 0 has committed its name (D9).
    ManifestCommitted,
    /// The log is trimmed behind a manifest only once that counts.
    TrimAfterManifestCounts,
}

impl Rule {
    pub const ALL: [Rule; 11] = [
        Rule::ReadGenerationAgain,
        Rule::OwnersReadGenerationAgain,
        Rule::FenceFirst,
        Rule::BindingBeforeCommit,
        Rule::MarkersVoidBindings,
        Rule::StartFromBindingsGeneration,
        Rule::IdleShardsMayLag,
        Rule::DropPublished,
        Rule::PublishedBeforeManifest,
        Rule::ManifestCommitted,
        Rule::TrimAfterManifestCounts,
    ];
}

/// What is checked: the size of the world, and which rule is left out.
#[derive(Clone, Debug)]
pub struct Rules {
    pub epochs: Epoch,
    pub generations: u8,
    /// For each shard, a bit an epoch (the first is bit 1): whether it has results.
    pub outputs: [u8; crate::world::SHARDS],
    /// The epochs after which a snapshot is taken, a bit each.
    pub snapshots: u8,
    /// Whether the shards' owners are processes beside the one that recovers.
    pub many_owners: bool,
    pub without: Option<Rule>,
}

impl Rules {
    pub fn hold(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    pub fn has_output(&self, shard: usize, epoch: Epoch) -> bool {
        self.outputs[shard] >> epoch & 1 == 1
    }

    pub fn snapshot_at(&self, epoch: Epoch) -> bool {
        self.snapshots >> epoch & 1 == 1
    }
}
