//! What the brokers know of a topic, and cutting off its old records.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::admin::ResourceSpecifier;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::admin::{Question, block_on};
use super::config::KafkaConfig;
use super::error::KafkaError;

/// How long a question for settings may take before it is asked again.
const QUESTION: Duration = Duration::from_secs(3);

/// A topic as the brokers have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTopic {
    /// How many partitions.
    pub partitions: usize,
    /// How many copies the partition has that has the fewest.
    pub replication: usize,
    /// Its settings by Kafka's names, those that it takes from the cluster included.
    pub settings: BTreeMap<String, String>,
}

/// Looks up a topic and its settings; waits for a broker at most `connect_timeout_ms`.
///
/// # Errors
/// [`KafkaError::TopicMissing`], [`KafkaError::Authorization`] (a login needs `Describe` and
/// `DescribeConfigs` of the topic), and those of [`KafkaConfig::reachable`].
pub fn describe_topic(config: &KafkaConfig, topic: &str) -> Result<FoundTopic, KafkaError> {
    let question = Question::new(config)?;
    let metadata = question.metadata(Some(topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let copies = found.map_or(&[][..], |found| found.partitions());
    let doing = || format!("reading the settings of topic `{topic}`");
    let asked = [ResourceSpecifier::Topic(topic)];
    let since = Instant::now();
    let (admin, options) = question.clients.orders(config)?;
    let options = options.request_timeout(Some(config.connect_timeout().min(QUESTION)));
    let answers = loop {
        match block_on(admin.describe_configs(&asked, &options)) {
            Ok(answers) => break answers,
            // A question may be lost with its connection: it is asked again.
            Err(RdError::AdminOp(RDKafkaErrorCode::OperationTimedOut))
                if since.elapsed() < config.connect_timeout() => {}
            Err(error) => return Err(KafkaError::client(doing(), &error)),
        }
    };
    let mut settings = BTreeMap::new();
    for answer in answers {
        let answer = answer.map_err(|code| match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                KafkaError::Authorization { topic: topic.to_owned(), reason: code.to_string() }
            }
            code => KafkaError::client(doing(), &RdError::AdminOp(code)),
        })?;
        let entries = answer.entries.into_iter();
        settings.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
    }
    Ok(FoundTopic {
        partitions: copies.len(),
        replication: copies.iter().map(|p| p.replicas().len()).min().unwrap_or(0),
        settings,
    })
}

/// Deletes the records of a topic before an offset in each of these partitions, and returns where
/// each one begins now. An offset that is gone already deletes nothing.
///
/// # Errors
/// When the brokers refuse one (the others are done): the offset lies behind the last record, or
/// the login may not `Delete` in the topic. Nothing is deleted from a compacted topic.
pub fn delete_records(
    config: &KafkaConfig,
    topic: &str,
    before: &[(i32, i64)],
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let failed = |error: &RdError| {
        KafkaError::client(format!("deleting old records of topic `{topic}`"), error)
    };
    let mut list = TopicPartitionList::new();
    for (partition, offset) in before {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
            .map_err(|error| failed(&error))?;
    }
    let question = Question::answered(config)?;
    let (admin, options) = question.clients.orders(config)?;
    let answer = block_on(admin.delete_records(&list, &options)).map_err(|error| failed(&error))?;
    let mut starts = Vec::new();
    for element in answer.elements_for_topic(topic) {
        element.error().map_err(|error| failed(&error))?;
        starts.push((element.partition(), element.offset().to_raw().unwrap_or(-1)));
    }
    Ok(starts)
}

/// The offset behind the last record of each partition of a topic, those of open transactions included;
/// waits for a broker at most `connect_timeout_ms`.
///
/// # Errors
/// Those of [`KafkaConfig::partitions`]; when a partition has no leader.
pub fn end_offsets(config: &KafkaConfig, topic: &str) -> Result<Vec<(i32, i64)>, KafkaError> {
    let bounds = offsets(config, topic)?.into_iter();
    Ok(bounds.map(|(partition, offsets)| (partition, offsets.end)).collect())
}

/// Which offsets each partition of a topic still has, those of open transactions included; waits for a broker
/// at most `connect_timeout_ms`.
///
/// # Errors
/// Those of [`KafkaConfig::partitions`]; when a partition has no leader.
pub fn offsets(config: &KafkaConfig, topic: &str) -> Result<Vec<(i32, Range<i64>)>, KafkaError> {
    let question = Question::new(config)?;
    let metadata = question.metadata(Some(topic))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partitions = found.map_or(&[][..], |found| found.partitions()).iter();
    let offsets = |partition: i32| {
        let (first, end) = question.bounds(topic, partition)?;
        Ok((partition, first..end))
    };
    partitions.map(|partition| offsets(partition.id())).collect()
}

/// The offset of the first record that a partition of a topic still has; waits for a broker at most
/// `connect_timeout_ms`.
///
/// # Errors
/// Those of [`end_offsets`].
pub fn first_offset(config: &KafkaConfig, topic: &str, partition: i32) -> Result<i64, KafkaError> {
    let question = Question::new(config)?;
    question.metadata(Some(topic))?;
    Ok(question.bounds(topic, partition)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::testing::{TestBroker, unique_name};

    #[test]
    fn a_topic_is_described_with_its_own_settings_and_those_of_the_cluster() {
        let broker = TestBroker::shared();
        let name = broker.topic_with("described", 2, &[("retention.ms", "60000")]);
        let found = describe_topic(&broker.config(), &name).unwrap();
        assert_eq!((found.partitions, found.replication), (2, 1));
        assert_eq!(found.settings["retention.ms"], "60000");
        assert_eq!(found.settings["cleanup.policy"], "delete");
        let error = describe_topic(&broker.config(), &unique_name("missing")).unwrap_err();
        assert!(matches!(error, KafkaError::TopicMissing { .. }), "{error}");
    }

    #[test]
    fn records_that_are_not_there_cannot_be_deleted() {
        let broker = TestBroker::shared();
        let name = broker.topic("cut", 1);
        assert_eq!(end_offsets(&broker.config(), &name).unwrap(), [(0, 0)]);
        assert_eq!(first_offset(&broker.config(), &name, 0).unwrap(), 0);
        let starts = delete_records(&broker.config(), &name, &[(0, 0)]).unwrap();
        assert_eq!(starts, [(0, 0)]);
        let error = delete_records(&broker.config(), &name, &[(0, 5)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("deleting old records of topic `{name}`: ")), "{error}");
    }
}
