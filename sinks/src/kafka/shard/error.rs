//! What can go wrong with a shard.

use tideflow_core::ErrorKind;
use tideflow_core::kafka::KafkaError;

/// A failed act on a shard. After any of them the shard is of no more use: the process ends, and its
/// successor continues from what the shard's progress says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The cluster, or a topic, or the configuration.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The brokers do not let us use the transactional id.
    #[error("transactional id `{id}`: not allowed by the brokers: {reason}")]
    Authorization {
        /// The transactional id.
        id: String,
        /// The broker's words.
        reason: String,
    },
    /// Transactions may not be open that long.
    #[error(
        "transactional id `{id}`: a timeout of {timeout_ms} ms is longer than the brokers' `transaction.max.timeout.ms`"
    )]
    TimeoutTooLong {
        /// The transactional id.
        id: String,
        /// The timeout asked for.
        timeout_ms: u32,
    },
    /// The transactional id has another owner now. What was open and not being committed is aborted;
    /// what a commit that was under way came to stands in the progress.
    #[error("transactional id `{id}` was taken over by another process{}", expired(*.open_ms, *.timeout_ms))]
    Superseded {
        /// The transactional id.
        id: String,
        /// How long the transaction had been open; 0 without one.
        open_ms: u64,
        /// How long it may be. The brokers end a longer one, which looks the same from here.
        timeout_ms: u32,
    },
    /// The transaction was not committed: nothing of it will ever be visible.
    #[error("a transaction of `{id}` was not committed: {reason}")]
    Aborted {
        /// The transactional id.
        id: String,
        /// Why.
        reason: String,
    },
    /// Nobody knows whether the transaction was committed, unless he reads the shard's progress.
    #[error(
        "no answer whether a transaction of `{id}` was committed, after {after_ms} ms: {reason}"
    )]
    Unknown {
        /// The transactional id.
        id: String,
        /// How long was waited.
        after_ms: u64,
        /// The last that was heard.
        reason: String,
    },
    /// It was told to give up before there was a transaction.
    #[error("taking over `{id}` was given up, as told")]
    GivenUp {
        /// The transactional id.
        id: String,
    },
}

fn expired(open_ms: u64, timeout_ms: u32) -> String {
    if open_ms < u64::from(timeout_ms) {
        return String::new();
    }
    format!(", or its transaction ended by the brokers: open for {open_ms} ms of {timeout_ms} ms")
}

impl ShardError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ShardError::Kafka(error) => error.kind(),
            ShardError::Authorization { .. } | ShardError::TimeoutTooLong { .. } => {
                ErrorKind::Invalid
            }
            _ => ErrorKind::Fatal,
        }
    }
}

/// Why a shard's progress could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadProgressError {
    /// The cluster, or the topic, or the configuration.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A later generation has written before our own sentinel: it is at work, or was.
    #[error(
        "topic `{topic}` partition {partition}: generation {found} has written before the sentinel of generation {own}"
    )]
    Superseded {
        /// The topic.
        topic: String,
        /// The partition: the shard.
        partition: u32,
        /// Our own generation.
        own: u64,
        /// The later one.
        found: u64,
    },
    /// Another start had the number of this one.
    #[error(
        "topic `{topic}` partition {partition}: another start was generation {own} too: what the job has in \
         its state store was set back. Each start made since then is told once; then one has a number of its own"
    )]
    Reused {
        /// The topic.
        topic: String,
        /// The partition: the shard.
        partition: u32,
        /// The generation.
        own: u64,
    },
    /// A record that none of us can have written.
    #[error("topic `{topic}` partition {partition} offset {offset}: {reason}")]
    Malformed {
        /// The topic.
        topic: String,
        /// The partition: the shard.
        partition: u32,
        /// Where.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// The sentinel did not come in time.
    #[error(
        "topic `{topic}` partition {partition}: no sentinel of generation {own} within {after_ms} ms: {last}"
    )]
    NoSentinel {
        /// The topic.
        topic: String,
        /// The partition: the shard.
        partition: u32,
        /// The generation looked for.
        own: u64,
        /// How long was waited.
        after_ms: u64,
        /// The last thing that went wrong, in librdkafka's words.
        last: String,
    },
    /// It was told to give up.
    #[error("reading topic `{topic}` partition {partition} was given up, as told")]
    GivenUp {
        /// The topic.
        topic: String,
        /// The partition: the shard.
        partition: u32,
    },
}

impl ReadProgressError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ReadProgressError::Kafka(error) => error.kind(),
            ReadProgressError::NoSentinel { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Fatal,
        }
    }
}
