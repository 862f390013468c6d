//! What can go wrong between us and a Kafka cluster.

use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};

use super::config::KafkaConfigError;
use crate::ErrorKind;

/// A failed act on a Kafka cluster. What librdkafka mends by itself (lost connections, moved
/// leaders) is not one: it is logged, and the act goes on when the cluster is back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] KafkaConfigError),
    /// No broker answered in time.
    #[error("no broker of `{brokers}` answered within {after_ms} ms: {last}")]
    Unreachable {
        /// The brokers tried.
        brokers: String,
        /// How long.
        after_ms: u64,
        /// The last thing that went wrong, in librdkafka's words.
        last: String,
    },
    /// A broker refused our login.
    #[error("a broker of `{brokers}` refused the login: {reason}")]
    Authentication {
        /// The brokers tried.
        brokers: String,
        /// The broker's words.
        reason: String,
    },
    /// The certificates that we trust have not signed a broker's.
    #[error("the certificate of a broker of `{brokers}` is not trusted: {reason}")]
    Untrusted {
        /// The brokers tried.
        brokers: String,
        /// librdkafka's words.
        reason: String,
    },
    /// We may not use a topic.
    #[error("topic `{topic}`: not allowed by the brokers: {reason}")]
    Authorization {
        /// The topic.
        topic: String,
        /// The broker's words.
        reason: String,
    },
    /// A topic or partition does not exist, or no longer.
    #[error("topic `{topic}` does not exist on `{brokers}`")]
    TopicMissing {
        /// The topic.
        topic: String,
        /// The brokers asked.
        brokers: String,
    },
    /// A topic of that name is there already.
    #[error("topic `{topic}` exists already")]
    TopicExists {
        /// The topic.
        topic: String,
    },
    /// A position to read from is not in the partition: deleted by retention, or never written.
    #[error(
        "topic `{topic}` partition {partition}: offset {offset} is not there: deleted by retention, or the topic was made anew"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for.
        offset: i64,
    },
    /// Where a job must go on is not in the partition any more.
    #[error(
        "topic `{topic}` partition {partition}: the job goes on at offset {offset}, but there are \
         only offsets {first} to {end}: {}", lost(*offset, *end)
    )]
    OffsetsLost {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset to go on at.
        offset: i64,
        /// The first offset there is.
        first: i64,
        /// The offset behind the last.
        end: i64,
    },
    /// A topic has fewer partitions than a job has read of it.
    #[error(
        "topic `{topic}` has {found} partitions, and the job has read {known}: was it made anew?"
    )]
    PartitionsGone {
        /// The topic.
        topic: String,
        /// Partitions there are.
        found: usize,
        /// Partitions that the job knows of.
        known: usize,
    },
    /// Stored bytes that cannot be read; going on would skip records.
    #[error("topic `{topic}` partition {partition} offset {offset}: {reason}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the first record concerned.
        offset: i64,
        /// librdkafka's words.
        reason: String,
    },
    /// Anything else that librdkafka gave up.
    #[error("{doing}: {reason}")]
    Client {
        /// What was being done.
        doing: String,
        /// librdkafka's words.
        reason: String,
        /// What to do about it.
        kind: ErrorKind,
    },
}

/// How a partition that ends there came to lose this offset, and what can be done.
fn lost(offset: i64, end: i64) -> &'static str {
    match offset > end {
        true => "the topic was made anew, or the brokers have lost its end",
        false => "deleted by retention; with `lost = \"earliest\"` the source goes on without",
    }
}

impl KafkaError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            KafkaError::Unreachable { .. } => ErrorKind::Unavailable,
            KafkaError::Client { kind, .. } => *kind,
            KafkaError::Unreadable { .. } => ErrorKind::Fatal,
            _ => ErrorKind::Invalid,
        }
    }

    /// librdkafka's error of an act that has no better name, with the kind its code implies.
    pub fn client(doing: impl Into<String>, source: &RdError) -> Self {
        let code = match source {
            RdError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        let kind = match source {
            RdError::ClientConfig(..) | RdError::ClientCreation(_) => ErrorKind::Invalid,
            _ if code.is_some_and(away) => ErrorKind::Unavailable,
            _ if code.is_some_and(refused) => ErrorKind::Invalid,
            _ => ErrorKind::Fatal,
        };
        KafkaError::Client { doing: doing.into(), reason: source.to_string(), kind }
    }
}

/// Codes that say the login lacks a right.
fn refused(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        ClusterAuthorizationFailed
            | GroupAuthorizationFailed
            | TopicAuthorizationFailed
            | TransactionalIdAuthorizationFailed
    )
}

/// Codes that say the cluster is not there or not ready, and may be soon.
pub(super) fn away(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        AllBrokersDown
            | BrokerTransportFailure
            | Resolve
            | OperationTimedOut
            | RequestTimedOut
            | LeaderNotAvailable
            | NotLeaderForPartition
            | BrokerNotAvailable
            | ReplicaNotAvailable
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | NotCoordinator
            | WaitingForCoordinator
            | NetworkException
            | InvalidReplicationFactor
    )
}
