//! Topics that keep every record: made when missing, refused when they could lose one.

use std::time::{Duration, Instant};

use tideflow_core::ErrorKind;
use tideflow_core::kafka::{
    FoundTopic, KafkaConfig, KafkaError, NewTopic, create_topics, describe_topic,
};

/// How many copies the brokers keep of a job's own records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Copies of each partition, at most as many as there are brokers. More survive the loss of more
    /// machines.
    pub replication: usize,
    /// Copies that must have a record before it is acknowledged (`min.insync.replicas`). Higher loses
    /// nothing when more machines die at once; as high as `replication`, the job stands still whenever
    /// one is away.
    pub insync_min: usize,
}

/// A topic that a job cannot keep its progress in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogTopicError {
    /// Kafka does not do it.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// No record could ever be acknowledged.
    #[error("expected 1 to {replication} copies in sync of {replication}, found {insync_min}")]
    Copies {
        /// [`Copies::replication`].
        replication: usize,
        /// [`Copies::insync_min`].
        insync_min: usize,
    },
    /// There are fewer brokers than copies.
    #[error(
        "topic `{topic}` is to have {replication} copies (`job.replication`), and there are {found} brokers"
    )]
    Brokers {
        /// The topic.
        topic: String,
        /// [`Copies::replication`].
        replication: usize,
        /// Brokers there are.
        found: usize,
    },
    /// The topic is there with another setting.
    #[error("topic `{topic}` has {setting} `{found}`, expected {expected}: {because}")]
    Setting {
        /// The topic.
        topic: String,
        /// What differs, by Kafka's name.
        setting: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
        /// Why it must.
        because: &'static str,
    },
}

impl LogTopicError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LogTopicError::Kafka(error) => error.kind(),
            LogTopicError::Brokers { .. } => ErrorKind::Unavailable,
            LogTopicError::Copies { .. } | LogTopicError::Setting { .. } => ErrorKind::Invalid,
        }
    }
}

const LOST: &str = "records that are still needed would be deleted";

/// Setting, value, why.
const SETTINGS: [(&str, &str, &str); 4] = [
    ("cleanup.policy", "delete", "compaction drops records that are still needed"),
    ("retention.ms", "-1", LOST),
    ("retention.bytes", "-1", LOST),
    ("unclean.leader.election.enable", "false", "records that were acknowledged could be lost"),
];
const INSYNC: &str = "min.insync.replicas";
const BYTES: &str = "max.message.bytes";
/// Kafka's default, above what a producer puts into one batch. A cluster may have a lower one.
const BYTES_MIN: usize = 1_048_588;
const FEWER: &str = "fewer machines must die to lose an acknowledged record";

/// Makes a topic that keeps every record until it is asked to delete it; one that is there is checked.
/// Waits for a broker at most `connect_timeout_ms`, and as long again for a topic that is being made.
///
/// # Errors
/// [`LogTopicError::Setting`] names the first setting of a topic that could lose records.
pub fn open_log_topic(
    kafka: &KafkaConfig,
    name: &str,
    partitions: usize,
    copies: Copies,
) -> Result<(), LogTopicError> {
    if check_log_topic(kafka, name, partitions, copies)? {
        return Ok(());
    }
    check_brokers(kafka, name, copies)?;
    let Copies { replication, insync_min } = copies;
    let (insync, bytes) = (insync_min.to_string(), BYTES_MIN.to_string());
    let mut config: Vec<_> = SETTINGS.iter().map(|(key, value, _)| (*key, *value)).collect();
    config.extend([(INSYNC, insync.as_str()), (BYTES, bytes.as_str())]);
    let topic = NewTopic { name, partitions, replication, config: &config };
    match create_topics(kafka, &[topic]) {
        // Somebody was faster; not all brokers may know it yet.
        Err(KafkaError::TopicExists { .. }) => {
            check(name, partitions, copies, &wait_for(kafka, name)?)
        }
        made => Ok(made?),
    }
}

/// Whether the topic is there, and then that it keeps every record.
///
/// # Errors
/// [`LogTopicError::Setting`] names the first setting of a topic that could lose records.
pub fn check_log_topic(
    kafka: &KafkaConfig,
    name: &str,
    partitions: usize,
    copies: Copies,
) -> Result<bool, LogTopicError> {
    let Copies { replication, insync_min } = copies;
    if !(1..=replication).contains(&insync_min) {
        return Err(LogTopicError::Copies { replication, insync_min });
    }
    match describe_topic(kafka, name) {
        Ok(found) => check(name, partitions, copies, &found).map(|()| true),
        Err(KafkaError::TopicMissing { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// That there are brokers enough to make such a topic.
///
/// # Errors
/// [`LogTopicError::Brokers`] where there are not, or not now.
pub fn check_brokers(kafka: &KafkaConfig, name: &str, copies: Copies) -> Result<(), LogTopicError> {
    let (replication, found) = (copies.replication, kafka.brokers_there()?);
    if found < replication {
        return Err(LogTopicError::Brokers { topic: name.to_string(), replication, found });
    }
    Ok(())
}

fn wait_for(kafka: &KafkaConfig, name: &str) -> Result<FoundTopic, KafkaError> {
    let deadline = Instant::now() + kafka.connect_timeout();
    loop {
        match describe_topic(kafka, name) {
            Err(KafkaError::TopicMissing { .. }) if Instant::now() < deadline => {
                std::thread::park_timeout(Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

fn check(
    topic: &str,
    partitions: usize,
    copies: Copies,
    found: &FoundTopic,
) -> Result<(), LogTopicError> {
    let wrong = |setting, expected: String, found: &str, because| {
        let (topic, found) = (topic.to_owned(), found.to_owned());
        Err(LogTopicError::Setting { topic, setting, expected, found, because })
    };
    if found.partitions != partitions {
        let because = "one for each of the job's shards (`job.shards`), or a single log: what is in them \
                       would be read wrongly";
        return wrong(
            "partitions",
            format!("`{partitions}`"),
            &found.partitions.to_string(),
            because,
        );
    }
    let value = |setting| found.settings.get(setting).map_or("", String::as_str);
    for (setting, expected, because) in SETTINGS {
        if value(setting) != expected {
            return wrong(setting, format!("`{expected}`"), value(setting), because);
        }
    }
    let at_least = |least: usize| format!("`{least}` or more");
    if found.replication < copies.replication {
        let found = found.replication.to_string();
        return wrong("replication factor", at_least(copies.replication), &found, FEWER);
    }
    for (setting, least, because) in
        [(INSYNC, copies.insync_min, FEWER), (BYTES, BYTES_MIN, "a batch of records must fit")]
    {
        if value(setting).parse().unwrap_or(0) < least {
            return wrong(setting, at_least(least), value(setting), because);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_copies_than_asked_for_are_refused_and_more_are_not() {
        let kept = SETTINGS.iter().map(|(key, value, _)| (key.to_string(), value.to_string()));
        let check = |replication: usize, insync: &str| {
            let mut settings: std::collections::BTreeMap<_, _> = kept.clone().collect();
            settings.insert(INSYNC.to_string(), insync.to_string());
            settings.insert(BYTES.to_string(), BYTES_MIN.to_string());
            let found = FoundTopic { partitions: 1, replication, settings };
            let copies = Copies { replication: 3, insync_min: 2 };
            check("t", 1, copies, &found).map_err(|error| error.to_string())
        };
        let refused = |what: &str, found: usize, least: usize| {
            Err(format!("topic `t` has {what} `{found}`, expected `{least}` or more: {FEWER}"))
        };
        assert_eq!(check(3, "2"), Ok(()));
        assert_eq!(check(4, "3"), Ok(()));
        assert_eq!(check(2, "2"), refused("replication factor", 2, 3));
        assert_eq!(check(3, "1"), refused(INSYNC, 1, 2));
    }
}
