//! A start that does not take over.

use std::fmt;

use tideflow_core::kafka::KafkaError;
use tideflow_core::{BuildError, Epoch, ErrorKind};
use tideflow_sinks::files::FolderError;
use tideflow_sinks::kafka::shard::{ReadProgressError, ShardError};
use tideflow_state::{
    LogTopicError, Manifest, ReadBindingsError, SnapshotError, Store, StoreError, Superseded,
};

/// Why a job cannot go on, here and now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no state of a job that has run before.
    #[error(
        "state store `{state}`: expected what a job has left there that has run before (it has written \
         topic `{topic}`), found nothing: is it mounted, and is the program started in the right folder?"
    )]
    StoreAway {
        /// The store as configured.
        state: String,
        /// The topic that is there.
        topic: String,
    },
    /// A topic of a job that has run before is gone.
    #[error(
        "topic `{topic}` is gone, and state store `{state}` says that the job has run before: is it the \
         same cluster?"
    )]
    TopicAway {
        /// The store as configured.
        state: String,
        /// The topic that is not there.
        topic: String,
    },
    /// A topic of a job that has run before holds nothing.
    #[error(
        "topic `{topic}` partition {partition} holds nothing, and state store `{state}` says that the job has \
         written it: were its records deleted, or was the topic made anew?"
    )]
    TopicEmpty {
        /// The store as configured.
        state: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The store is of a job on another cluster.
    #[error(
        "state store `{state}` is of a job on the cluster `{expected}`, found the cluster `{found}`: offsets \
         are of one cluster only"
    )]
    OtherCluster {
        /// The store as configured.
        state: String,
        /// The id of the cluster that the job has run on.
        expected: String,
        /// That of this one.
        found: String,
    },
    /// A source reads another topic than the one that its positions are of.
    #[error(
        "source `{name}` goes on at the offsets of topic `{expected}`, and is to read topic `{found}`: begin \
         another job, or this one anew, or give the source another name in the graph"
    )]
    OtherInput {
        /// The source.
        name: String,
        /// What it has read.
        expected: String,
        /// What it is to read.
        found: String,
    },
    /// An operator takes its state for something else than it is.
    #[error(
        "operator `{operator}` has kept {expected}, and is to keep {found}: begin another job, or this one \
         anew, or give the operator another name in the graph"
    )]
    OtherMeaning {
        /// The operator.
        operator: String,
        /// What its state is.
        expected: String,
        /// What it takes it for.
        found: String,
    },
    /// A worker sees another number of partitions than worker 0.
    #[error(
        "topic `{topic}`: worker 0 has found {expected} partitions, and another worker {found}: were some \
         added a moment ago? Start again"
    )]
    Outputs {
        /// The topic.
        topic: String,
        /// As worker 0 sees it.
        expected: usize,
        /// As this worker does.
        found: usize,
    },
    /// Worker 0 has not started, for a reason that it tells.
    #[error("worker 0 of the job has not started")]
    Alone,
    /// A snapshot.
    #[error("{source}{beside}")]
    Snapshot {
        /// What is missing or damaged.
        source: Box<SnapshotError>,
        /// The others that a start can go on from, in words.
        beside: String,
    },
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// One of the job's own topics.
    #[error(transparent)]
    Topic(#[from] LogTopicError),
    /// A shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The progress of a shard.
    #[error(transparent)]
    Progress(#[from] ReadProgressError),
    /// The log of bindings.
    #[error(transparent)]
    Bindings(Box<ReadBindingsError>),
    /// A folder that files are published in.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A later start has taken over.
    #[error(transparent)]
    Superseded(#[from] Superseded),
    /// What is published does not fit what is recorded: the store and the topics are not of one job, or of
    /// different times.
    #[error(
        "shard {shard} has published up to epoch {published}, expected {least} to {most}: the state store \
         and the job's topics do not belong together, or one of them was set back"
    )]
    Published {
        /// The shard.
        shard: usize,
        /// What it has published.
        published: Epoch,
        /// What it had when the snapshot was taken.
        least: Epoch,
        /// The last epoch recorded.
        most: Epoch,
    },
    /// The job has another number of shards.
    #[error(
        "the job has {found} shards, expected {expected} as configured: they cannot be changed"
    )]
    Shards {
        /// As configured.
        expected: u32,
        /// In its snapshot.
        found: usize,
    },
    /// The graph has no use for state that the job has.
    #[error(
        "the state of {} is kept after epoch {epoch}, and this graph has no such source or operator: it \
         would be dropped. Name it in `job.drop_state` to go on without it", quoted(.operators)
    )]
    WouldDrop {
        /// The operators.
        operators: Vec<String>,
        /// That of the snapshot.
        epoch: Epoch,
    },
    /// The graph is older than the state.
    #[error(
        "the state of operator `{operator}` is in the form of version {found}, and this graph knows it up \
         to {known}: it is older than the job"
    )]
    Newer {
        /// The operator.
        operator: String,
        /// In the snapshot.
        found: u32,
        /// What it can read.
        known: u32,
    },
    /// There is nothing to look at.
    #[error("job `{job}` has never started here")]
    NeverStarted {
        /// The job.
        job: String,
    },
    /// There is no snapshot.
    #[error("the job has no snapshot yet: its next start begins with no state")]
    NoSnapshot,
    /// There is none of the name that was given.
    #[error("no snapshot `{asked}`: expected one of {known}")]
    NoSuchSnapshot {
        /// The name.
        asked: String,
        /// Those that are there.
        known: String,
    },
    /// A job that runs has removed what was being read.
    #[error(
        "the job has removed snapshot `{name}` meanwhile: make a savepoint of one, and read that"
    )]
    SnapshotGone {
        /// The name.
        name: String,
    },
    /// A savepoint has this name.
    #[error("a savepoint `{name}` is there already: expected a new name")]
    SavepointIsThere {
        /// The name.
        name: String,
    },
    /// Some snapshots cannot be gone on from.
    #[error("{bad} of {of} snapshots cannot be gone on from")]
    Unusable {
        /// So many.
        bad: usize,
        /// Of so many.
        of: usize,
    },
    /// A savepoint cannot have this name.
    #[error(
        "expected a savepoint's name of 1 to 64 of `a-z A-Z 0-9 . _ -`, a letter in front, found `{found}`"
    )]
    SavepointName {
        /// The name.
        found: String,
    },
    /// No operator of the graph keeps state under this name.
    #[error("no operator `{found}` keeps state: expected one of {known}")]
    NoOperator {
        /// The name.
        found: String,
        /// Those that do.
        known: String,
    },
    /// No operator has state of a key.
    #[error("nothing is kept of `{key}`: it was never seen, or its state is over")]
    NoKey {
        /// The key.
        key: String,
    },
    /// A key group's state is in a form that the operator does not read.
    #[error("key group {group} of operator `{operator}`: {reason}")]
    Unreadable {
        /// The operator.
        operator: String,
        /// The key group.
        group: u8,
        /// Expected and found.
        reason: String,
    },
    /// Another job has this name.
    #[error("a job `{job}` is there already, or something of it: expected a new name")]
    JobIsThere {
        /// The name.
        job: String,
    },
    /// A job was made and is not whole.
    #[error("job `{job}` is half made and must not be started, use another name: {reason}")]
    HalfForked {
        /// The new job.
        job: String,
        /// What to do about it.
        kind: ErrorKind,
        /// What failed.
        reason: String,
    },
    /// An answer could not be written.
    #[error("writing the answer: {0}")]
    Answer(#[from] std::io::Error),
}

fn quoted(names: &[impl fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl StartError {
    /// Why a start cannot go on from the snapshot of this name, and from what it can: of the others that count, and of
    /// savepoints, those that are whole. All of them is read: snapshots share objects.
    pub(crate) fn of_snapshot(
        error: SnapshotError,
        name: &str,
        counted: &[String],
        store: &Store,
    ) -> Self {
        // A store that does not answer says nothing of the others.
        if error.kind() == ErrorKind::Unavailable {
            return error.into();
        }
        let is_whole =
            |of: Result<Manifest, SnapshotError>| of.and_then(|m| store.check(&m)).is_ok();
        let others: Vec<_> = counted.iter().filter(|other| *other != name).collect();
        let mut whole = others.clone();
        whole.retain(|other| is_whole(store.manifest(other)));
        let mut savepoints = store.savepoints().unwrap_or_default();
        savepoints.retain(|name| is_whole(store.savepoint(name)));
        let mut beside = match (whole.is_empty(), others.is_empty()) {
            (false, _) => format!("; `job.snapshot` can go on from {}", quoted(&whole)),
            (true, true) => "; no other snapshot counts".to_string(),
            (true, false) => "; no other that counts is whole either".to_string(),
        };
        if whole.is_empty() && savepoints.is_empty() {
            beside += ": put it back from a copy of the store";
        }
        if !savepoints.is_empty() {
            let savepoints = quoted(&savepoints);
            beside += &format!("; `state fork JOB --snapshot NAME` can go on from {savepoints}");
        }
        StartError::Snapshot { source: Box::new(error), beside }
    }

    /// Of those that may be named.
    pub(crate) fn no_snapshot(asked: &str, known: &[String]) -> Self {
        let known = if known.is_empty() { "none".to_string() } else { quoted(known) };
        StartError::NoSuchSnapshot { asked: asked.to_string(), known }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            StartError::Store(error) => error.kind(),
            StartError::Snapshot { source, .. } => source.kind(),
            StartError::Kafka(error) => error.kind(),
            StartError::Topic(error) => error.kind(),
            StartError::Shard(error) => error.kind(),
            StartError::Progress(error) => error.kind(),
            StartError::Bindings(error) => error.kind(),
            StartError::Folder(error) => error.kind(),
            StartError::Superseded(_) => ErrorKind::Superseded,
            StartError::Outputs { .. } | StartError::Alone | StartError::SnapshotGone { .. } => {
                ErrorKind::Unavailable
            }
            StartError::HalfForked { kind, .. } => *kind,
            StartError::Unusable { .. } | StartError::Unreadable { .. } | StartError::Answer(_) => {
                ErrorKind::Fatal
            }
            _ => ErrorKind::Invalid,
        }
    }
}

// Boxed: they hold more text than the others.
impl From<SnapshotError> for StartError {
    fn from(error: SnapshotError) -> Self {
        StartError::Snapshot { source: Box::new(error), beside: String::new() }
    }
}

impl From<ReadBindingsError> for StartError {
    fn from(error: ReadBindingsError) -> Self {
        StartError::Bindings(Box::new(error))
    }
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> BuildError {
        let (operator, kind) = ("job".to_string(), error.kind());
        BuildError { operator, kind, source: Box::new(error) }
    }
}
