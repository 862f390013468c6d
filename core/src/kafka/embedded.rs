//! A Kafka broker inside the process, for demos and quick tests.

use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::types::RDKafkaType;

use super::client_log::ClientLog;
use super::error::KafkaError;

/// librdkafka's mock cluster: one broker on a loopback port that ordinary clients can use, gone
/// with this value.
///
/// Its limits, none of which it reports:
/// - each partition keeps the last 5 MiB or 100,000 batches and silently drops what is older: a
///   reader that falls behind gets [`KafkaError::OffsetOutOfRange`];
/// - everything is in memory, nothing survives the process;
/// - topics are made here, not by [`create_topics`](super::create_topics) (it has no such request);
/// - it cannot look up offsets by time, checks no login, and reads uncommitted records: an aborted
///   transaction is visible.
///
/// ```
/// use tideflow_core::kafka::{EmbeddedBroker, KafkaConfig};
///
/// let broker = EmbeddedBroker::start(&[("readings", 4)])?;
/// assert_eq!(KafkaConfig::plaintext(broker.brokers()).partitions("readings")?, 4);
/// # Ok::<(), tideflow_core::kafka::KafkaError>(())
/// ```
pub struct EmbeddedBroker {
    brokers: String,
    // The cluster lives inside this client and ends with it.
    _client: Client<ClientLog>,
}

impl EmbeddedBroker {
    /// Starts a broker that has these topics, each with a number of partitions.
    pub fn start(topics: &[(&str, usize)]) -> Result<Self, KafkaError> {
        let failed = |error| KafkaError::client("starting the embedded broker", &error);
        let mut config = ClientConfig::new();
        config.set("test.mock.num.brokers", "1");
        // Nobody polls this client, so what it had to say would only pile up.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let native = config.create_native_config().map_err(failed)?;
        let log = ClientLog::new("embedded broker");
        let client =
            Client::new(&config, native, RDKafkaType::RD_KAFKA_PRODUCER, log).map_err(failed)?;
        let cluster = client.mock_cluster().expect("`test.mock.num.brokers` makes a cluster");
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions as i32, 1).map_err(failed)?;
        }
        let brokers = cluster.bootstrap_servers();
        drop(cluster);
        Ok(EmbeddedBroker { brokers, _client: client })
    }

    /// Its address, for [`KafkaConfig::plaintext`](super::KafkaConfig::plaintext).
    pub fn brokers(&self) -> &str {
        &self.brokers
    }
}
