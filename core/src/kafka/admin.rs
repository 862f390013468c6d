//! Questions to a cluster, and making topics.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{NewPartitions, NewTopic as RdNewTopic, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::client_log::UNTRUSTED;
use super::clients::Clients;
use super::config::KafkaConfig;
use super::error::{KafkaError, away};
use crate::ErrorKind;

/// How long the first question may take before the reasons for its silence are looked at; each
/// further one may take twice as long.
const QUESTION: Duration = Duration::from_millis(500);
/// Between two questions.
const AGAIN: Duration = Duration::from_millis(20);

impl KafkaConfig {
    /// How long a start waits for the cluster: `connect_timeout_ms`.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Waits until a broker answers, at most `connect_timeout_ms`.
    ///
    /// # Errors
    /// [`KafkaError::Authentication`] at once when a broker refuses the login,
    /// [`KafkaError::Unreachable`] after the time.
    pub fn reachable(&self) -> Result<(), KafkaError> {
        Question::answered(self).map(drop)
    }

    /// The number of partitions of a topic; waits for a broker at most `connect_timeout_ms`.
    ///
    /// # Errors
    /// [`KafkaError::TopicMissing`], [`KafkaError::Authorization`], and those of
    /// [`KafkaConfig::reachable`].
    pub fn partitions(&self, topic: &str) -> Result<usize, KafkaError> {
        let metadata = Question::new(self)?.metadata(Some(topic))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map_or(0, |found| found.partitions().len()))
    }

    /// How many brokers there are. Waits as [`KafkaConfig::partitions`] does.
    ///
    /// # Errors
    /// Those of [`KafkaConfig::reachable`].
    pub fn brokers_there(&self) -> Result<usize, KafkaError> {
        Ok(Question::new(self)?.metadata(None)?.brokers().len())
    }

    /// The cluster's own id; empty where its brokers have none. Waits as [`KafkaConfig::partitions`] does.
    ///
    /// # Errors
    /// Those of [`KafkaConfig::reachable`].
    pub fn cluster_id(&self) -> Result<String, KafkaError> {
        let question = Question::new(self)?;
        question.metadata(None)?;
        let found = question.clients.asks.client().fetch_cluster_id(question.left());
        Ok(found.unwrap_or_default())
    }
}

/// Asks again for so long while the cluster is not ready for it: of a topic that was just made, a broker may not know
/// yet that it leads a partition.
///
/// # Errors
/// The last answer's.
pub fn while_away<T>(
    within: Duration,
    mut ask: impl FnMut(Duration) -> Result<T, RdError>,
) -> Result<T, RdError> {
    let since = Instant::now();
    loop {
        let left = within.saturating_sub(since.elapsed());
        match ask(left) {
            Err(error) if !left.is_zero() && error.rdkafka_error_code().is_some_and(away) => {
                std::thread::park_timeout(AGAIN.min(left));
            }
            answer => return answer,
        }
    }
}

/// A question or an order, with a deadline for the answer.
pub(super) struct Question<'a> {
    config: &'a KafkaConfig,
    pub(super) clients: Arc<Clients>,
    since: Instant,
}

impl<'a> Question<'a> {
    pub(super) fn new(config: &'a KafkaConfig) -> Result<Self, KafkaError> {
        let clients = Clients::of(config)?;
        // What went wrong at an earlier question may be well by now; if not, it is told again.
        clients.asks.context().forget();
        Ok(Question { config, clients, since: Instant::now() })
    }

    /// Of a cluster that has answered one: an order's own errors do not tell why it does not.
    pub(super) fn answered(config: &'a KafkaConfig) -> Result<Self, KafkaError> {
        let question = Question::new(config)?;
        question.metadata(None)?;
        Ok(question)
    }

    fn left(&self) -> Duration {
        self.config.connect_timeout().saturating_sub(self.since.elapsed())
    }

    /// Where a partition begins and ends.
    pub(super) fn bounds(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        let doing = || format!("asking for the ends of topic `{topic}` partition {partition}");
        let asked = while_away(self.config.connect_timeout(), |left| {
            self.clients.asks.fetch_watermarks(topic, partition, left)
        });
        asked.map_err(|error| KafkaError::client(doing(), &error))
    }

    /// Metadata of the one topic, or of all.
    pub(super) fn metadata(&self, topic: Option<&str>) -> Result<Metadata, KafkaError> {
        let mut patience = QUESTION;
        loop {
            let left = self.left();
            let answer = self.clients.asks.fetch_metadata(topic, left.min(patience));
            patience *= 2;
            // Serves librdkafka's lines and errors to the context.
            while self.clients.asks.poll(Duration::ZERO).is_some() {}
            if let Some(reason) = self.clients.asks.context().refused_login() {
                let brokers = self.config.brokers.clone();
                return Err(KafkaError::Authentication { brokers, reason });
            }
            let unclear = match answer {
                Ok(metadata) => match self.usable(&metadata, topic)? {
                    None => return Ok(metadata),
                    Some(code) => code.to_string(),
                },
                Err(error) if error.rdkafka_error_code().is_some_and(away) => error.to_string(),
                Err(error) => return Err(KafkaError::client("asking for metadata", &error)),
            };
            if left.is_zero() {
                let last = self.clients.asks.context().last_error().unwrap_or(unclear);
                return Err(self.unreachable(last));
            }
            std::thread::park_timeout(AGAIN.min(left));
        }
    }

    /// What the last thing that went wrong says about brokers that did not answer.
    fn unreachable(&self, last: String) -> KafkaError {
        let brokers = self.config.brokers.clone();
        if last.contains(UNTRUSTED) {
            return KafkaError::Untrusted { brokers, reason: last };
        }
        // A broker that expects something else hangs up on the first request, or the first bytes.
        let mistaken = ["APIVERSION_QUERY", "SSL handshake failed", "SSL_HANDSHAKE"];
        let hint = match mistaken.iter().any(|words| last.contains(words)) {
            true => "; is `security` what the broker expects?",
            false => "",
        };
        let after_ms = self.config.connect_timeout_ms;
        KafkaError::Unreachable { brokers, after_ms, last: last + hint }
    }

    /// `None`: the answer is good. A code: it is not yet.
    fn usable(
        &self,
        metadata: &Metadata,
        topic: Option<&str>,
    ) -> Result<Option<RDKafkaErrorCode>, KafkaError> {
        let Some(topic) = topic else { return Ok(None) };
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let missing = || KafkaError::TopicMissing {
            topic: topic.to_owned(),
            brokers: self.config.brokers.clone(),
        };
        let found = found.ok_or_else(missing)?;
        use RDKafkaErrorCode::{
            InvalidTopic, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition,
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None if found.partitions().is_empty() => Err(missing()),
            None => Ok(None),
            Some(UnknownTopicOrPartition | UnknownTopic | InvalidTopic) => Err(missing()),
            Some(TopicAuthorizationFailed) => Err(KafkaError::Authorization {
                topic: topic.to_owned(),
                reason: TopicAuthorizationFailed.to_string(),
            }),
            Some(code) => Ok(Some(code)),
        }
    }
}

/// A topic to make.
#[derive(Clone, Debug)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions.
    pub partitions: usize,
    /// How many copies of each; at most as many as there are brokers.
    pub replication: usize,
    /// Topic settings by Kafka's names, such as `("retention.ms", "-1")`.
    pub config: &'a [(&'a str, &'a str)],
}

impl<'a> NewTopic<'a> {
    /// A topic with one copy of each partition and the cluster's settings.
    pub fn new(name: &'a str, partitions: usize) -> Self {
        NewTopic { name, partitions, replication: 1, config: &[] }
    }
}

/// Makes topics and waits until they can be used. For tests, demos and tools: a job makes no topic
/// but those for its own progress.
///
/// # Errors
/// [`KafkaError::TopicExists`] for the first that was there already (the others are made), and
/// whatever else the brokers refuse.
pub fn create_topics(config: &KafkaConfig, topics: &[NewTopic<'_>]) -> Result<(), KafkaError> {
    let question = Question::answered(config)?;
    let (admin, options) = question.clients.orders(config)?;
    let wanted: Vec<RdNewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let copies = TopicReplication::Fixed(topic.replication as i32);
            let new = RdNewTopic::new(topic.name, topic.partitions as i32, copies);
            topic.config.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    let results = block_on(admin.create_topics(&wanted, &options))
        .map_err(|error| KafkaError::client("creating topics", &error))?;
    for result in results {
        result.map_err(|(topic, code)| match code {
            RDKafkaErrorCode::TopicAlreadyExists => KafkaError::TopicExists { topic },
            code => {
                KafkaError::client(format!("creating topic `{topic}`"), &RdError::AdminOp(code))
            }
        })?;
    }
    topics.iter().try_for_each(|topic| wait_for(config, topic))
}

/// Adds partitions to a topic, so that it has `partitions`, and waits until they can be used. For
/// tests and tools. Keys then go to other partitions than before.
///
/// # Errors
/// When the brokers refuse: the topic is missing, or has as many partitions or more.
pub fn add_partitions(
    config: &KafkaConfig,
    topic: &str,
    partitions: usize,
) -> Result<(), KafkaError> {
    let question = Question::answered(config)?;
    let (admin, options) = question.clients.orders(config)?;
    let doing = || format!("adding partitions to topic `{topic}`");
    let wanted = NewPartitions::new(topic, partitions);
    let results = block_on(admin.create_partitions([&wanted], &options))
        .map_err(|error| KafkaError::client(doing(), &error))?;
    for result in results {
        result.map_err(|(_, code)| KafkaError::client(doing(), &RdError::AdminOp(code)))?;
    }
    wait_for(config, &NewTopic::new(topic, partitions))
}

/// Removes topics and their records. For tests, demos and tools.
///
/// # Errors
/// When the brokers refuse the first of them; the others are removed.
pub fn delete_topics(config: &KafkaConfig, topics: &[&str]) -> Result<(), KafkaError> {
    let question = Question::answered(config)?;
    let (admin, options) = question.clients.orders(config)?;
    let results = block_on(admin.delete_topics(topics, &options))
        .map_err(|error| KafkaError::client("deleting topics", &error))?;
    for result in results {
        result.map_err(|(topic, code)| {
            KafkaError::client(format!("deleting topic `{topic}`"), &RdError::AdminOp(code))
        })?;
    }
    Ok(())
}

/// Brokers answer before every one of them knows the topic and its leaders.
fn wait_for(config: &KafkaConfig, topic: &NewTopic<'_>) -> Result<(), KafkaError> {
    let question = Question::new(config)?;
    loop {
        match question.metadata(Some(topic.name)) {
            Ok(metadata) if ready(&metadata, topic) => return Ok(()),
            Ok(_) | Err(KafkaError::TopicMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        if question.left().is_zero() {
            return Err(KafkaError::Client {
                doing: format!("waiting for leaders of topic `{}`", topic.name),
                reason: format!("none after {} ms", config.connect_timeout_ms),
                kind: ErrorKind::Unavailable,
            });
        }
        std::thread::park_timeout(AGAIN);
    }
}

fn ready(metadata: &Metadata, topic: &NewTopic<'_>) -> bool {
    let found = metadata.topics().iter().find(|t| t.name() == topic.name);
    found.is_some_and(|found| {
        found.partitions().len() == topic.partitions
            && found.partitions().iter().all(|p| p.leader() >= 0 && p.error().is_none())
    })
}

/// Runs a future of rdkafka's admin client on this thread: its own thread wakes us.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
