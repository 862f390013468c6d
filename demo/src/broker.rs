//! Where the demo's topics live: a broker inside this process, or a cluster that the user names.

use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tideflow::core::ErrorKind;
use tideflow::core::kafka::{
    EmbeddedBroker, KafkaConfig, KafkaError, NewTopic, create_topics, delete_topics,
};

/// What [`left_behind`] tells. Of the whole process, as the signals that end it are.
static STANDING: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn standing() -> MutexGuard<'static, Vec<String>> {
    STANDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The topics that this process has made on a cluster and not yet removed, for the last words of a
/// process that must end at once: `; left behind: …`, or nothing.
pub fn left_behind() -> String {
    match standing().join(", ") {
        topics if topics.is_empty() => topics,
        topics => format!("; left behind: {topics}"),
    }
}

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
        let mut made = Broker { kafka, prefix, topics: names.clone(), embedded: None };
        standing().push(made.all());
        if let Err(error) = create_topics(&made.kafka, &new) {
            // To ask a cluster that is not there for their removal would only take as long again.
            if error.kind() == ErrorKind::Unavailable {
                made.forget();
            }
            return Err(error).with_context(|| format!("making {}", made.all()));
        }
        Ok(made)
    }

    /// All its topics, in words.
    fn all(&self) -> String {
        format!("topics `{}*` at `{}`", self.prefix, self.kafka.brokers)
    }

    /// Leaves the topics, if there are any, where they are.
    fn forget(&mut self) {
        let all = self.all();
        standing().retain(|topics| *topics != all);
        self.topics.clear();
    }

    /// Removes these topics too in the end: the job makes them.
    pub fn remove_too(&mut self, topics: impl IntoIterator<Item = String>) {
        self.topics.extend(topics);
    }

    /// Whether it is in this process; it has no transactions.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
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
            about_embedded(&format!(", {brokers}"))
        } else {
            about_cluster(brokers, &self.prefix)
        }
    }

    /// The same where every part of a run has one of its own.
    pub fn about_each(brokers: Option<&str>) -> Vec<String> {
        match brokers {
            None => about_embedded(", a new one for each recording"),
            Some(brokers) => about_cluster(brokers, PREFIX),
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
        if self.topics.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.topics.iter().map(String::as_str).collect();
        let removed = delete_topics(&self.kafka, &names);
        self.forget();
        removed.with_context(|| format!("removing {}", self.all()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // After another failure, which is told as well.
        if let Err(error) = self.remove() {
            eprintln!("demo: {error:#}");
        }
    }
}

/// What the names of all topics begin with.
const PREFIX: &str = "tideflow-demo-";

fn about_embedded(more: &str) -> Vec<String> {
    vec![
        format!("broker      embedded in this process: librdkafka's mock cluster{more}"),
        "            in memory only, and it keeps the last 5 MiB or 100,000 batches of a \
         partition:"
            .to_string(),
        "            a reader that falls behind that far loses records, which would be told here."
            .to_string(),
        "            BROKERS=host:port uses a real Kafka instead.".to_string(),
    ]
}

fn about_cluster(brokers: &str, prefix: &str) -> Vec<String> {
    vec![
        format!("broker      Kafka at {brokers}"),
        format!("            topics {prefix}*, removed at the end"),
    ]
}

/// What a loss of records means, which in a demo have only one reason to be gone.
pub const DROPPED: &str = "; the broker has dropped records before they were read: this machine is too slow \
                           for so many readings a second";

/// [`DROPPED`], where an error says that.
pub fn dropped(error: &(dyn Error + 'static)) -> &'static str {
    match error.downcast_ref::<KafkaError>() {
        Some(KafkaError::OffsetOutOfRange { .. }) => DROPPED,
        _ => "",
    }
}

#[expect(clippy::disallowed_methods, reason = "a name, not a result, depends on the clock")]
fn unique_prefix() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{PREFIX}{}-{}.", since.as_millis(), std::process::id())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn fault_a_cluster_that_is_away_is_asked_for_one_timeout_only() {
        // Port 1 of loopback: nobody listens there.
        let kafka =
            KafkaConfig { connect_timeout_ms: 3_000, ..KafkaConfig::plaintext("127.0.0.1:1") };
        let began = Instant::now();
        let error = Broker::at(kafka, &[("a", 1)]).err().expect("nobody is there");
        assert!(began.elapsed() < Duration::from_millis(5_900), "{:?}", began.elapsed());
        let told = format!("{error:#}");
        assert!(told.starts_with("making topics `tideflow-demo-"), "{told}");
        assert!(told.contains("no broker of `127.0.0.1:1` answered within 3000 ms"), "{told}");
        assert!(!left_behind().contains("127.0.0.1:1"));
    }

    #[test]
    fn what_is_left_behind_names_topics_and_brokers() {
        let (prefix, kafka) = ("p-1.".to_string(), KafkaConfig::plaintext("k:9092"));
        let mut broker = Broker { kafka, prefix, topics: vec!["p-1.a".into()], embedded: None };
        standing().push(broker.all());
        let told = left_behind();
        assert!(told.starts_with("; left behind: "), "{told}");
        assert!(told.contains("topics `p-1.*` at `k:9092`"), "{told}");
        broker.forget();
        assert!(!left_behind().contains("p-1."));
    }
}
