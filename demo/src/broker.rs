//! Where the demo's topics live: a broker inside this process, or a cluster that the user names.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tideflow::core::kafka::{
    EmbeddedBroker, KafkaConfig, KafkaError, NewTopic, create_topics, delete_topics,
};

/// Topics of this demo alone, gone with this value.
pub struct Broker {
    kafka: KafkaConfig,
    prefix: String,
    topics: Vec<String>,
    embedded: Option<EmbeddedBroker>,
}

impl Broker {
    /// A broker in this process.
    ///
    /// # Errors
    /// When librdkafka cannot start it.
    pub fn embedded(topics: &[(&str, usize)]) -> anyhow::Result<Broker> {
        let embedded = EmbeddedBroker::start(topics)?;
        let kafka = KafkaConfig::plaintext(embedded.brokers());
        let (prefix, topics) = (String::new(), Vec::new());
        Ok(Broker { kafka, prefix, topics, embedded: Some(embedded) })
    }

    /// Makes topics on a cluster, under names that nobody else has.
    ///
    /// # Errors
    /// When the cluster is not reachable or refuses a topic.
    pub fn at(kafka: KafkaConfig, topics: &[(&str, usize)]) -> anyhow::Result<Broker> {
        let prefix = unique_prefix();
        let names: Vec<_> = topics.iter().map(|(name, _)| format!("{prefix}{name}")).collect();
        // Simulated time lies in the past: retention by time would remove records at once.
        let config = &[("retention.ms", "-1")];
        let with_name = |(name, (_, partitions)): (_, &(&str, usize))| NewTopic {
            config,
            ..NewTopic::new(name, *partitions)
        };
        let new: Vec<_> = names.iter().map(String::as_str).zip(topics).map(with_name).collect();
        // Made first, so that topics are removed again where only some could be made.
        let made = Broker { kafka, prefix, topics: names.clone(), embedded: None };
        create_topics(&made.kafka, &new).context("making the demo's topics")?;
        Ok(made)
    }

    /// How it is reached.
    pub fn kafka(&self) -> &KafkaConfig {
        &self.kafka
    }

    /// The name of one of the topics there.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What a person should know of it, a line each.
    pub fn about(&self) -> Vec<String> {
        let brokers = &self.kafka.brokers;
        if self.embedded.is_some() {
            vec![
                format!(
                    "broker      embedded in this process: librdkafka's mock cluster, {brokers}"
                ),
                "            in memory only, and it keeps the last 5 MiB or 100,000 batches of a \
                 partition:"
                    .to_string(),
                "            a reader that falls behind that far loses records, which would be \
                 told here."
                    .to_string(),
                "            BROKERS=host:port uses a real Kafka instead.".to_string(),
            ]
        } else {
            vec![
                format!("broker      Kafka at {brokers}"),
                format!("            topics {}*, removed at the end", self.prefix),
            ]
        }
    }

    /// Removes the topics from a cluster.
    ///
    /// # Errors
    /// When it refuses: then they are left there.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> anyhow::Result<()> {
        let topics = std::mem::take(&mut self.topics);
        if topics.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = topics.iter().map(String::as_str).collect();
        delete_topics(&self.kafka, &names).context("removing the demo's topics")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // After a failure that is told already.
        let _ = self.remove();
    }
}

/// What to make of an error that says that records are gone, which in a demo have only one reason.
pub fn dropped(error: &(dyn Error + 'static)) -> &'static str {
    match error.downcast_ref::<KafkaError>() {
        Some(KafkaError::OffsetOutOfRange { .. }) => {
            "; the broker has dropped records before they were read: this machine is too slow for so \
             many readings a second"
        }
        _ => "",
    }
}

#[expect(clippy::disallowed_methods, reason = "a name, not a result, depends on the clock")]
fn unique_prefix() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("tideflow-demo-{}-{}.", since.as_millis(), std::process::id())
}
