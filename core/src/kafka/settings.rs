//! The librdkafka settings of each kind of client, and the keys a user may not set raw.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as RdError;

use super::config::{KafkaConfig, KafkaConfigError, LogLevel, SaslMechanism, Security};

/// What a client is for; decides which settings it gets.
#[derive(Clone, Copy, Debug)]
pub enum Role<'a> {
    /// Reads assigned partitions. Offsets are never committed by itself and never reset.
    Consumer {
        /// The group under which lag tools see us. We never join it: partitions are assigned.
        group: &'a str,
        /// Most kilobytes fetched ahead, all partitions of the client together; one fetch may
        /// overshoot it. Higher keeps a slow broker from stalling a fast reader.
        queue_kb_max: u32,
    },
    /// Writes idempotently, and retries for ever.
    Producer {
        /// How long a record may wait for company, in milliseconds. A flush overrides it.
        linger_ms: u32,
        /// Most kilobytes waiting to be sent; beyond it a produce call waits.
        queue_kb_max: u32,
    },
    /// Writes a log record by record, idempotently, and is told the offset of each. Retries for
    /// ever; where a record cannot be written, none behind it is.
    Journal {
        /// Most kilobytes waiting to be sent; beyond it a produce call fails.
        queue_kb_max: u32,
    },
    /// Writes a record that may be there twice, and is told its offset. Without the half second
    /// that an idempotent producer takes to start.
    Signal {
        /// How long the record is tried, in milliseconds.
        timeout_ms: u64,
    },
    /// Writes in transactions: a reader of committed records sees all of one or nothing.
    Transactional {
        /// The transactional id: of two producers that share one, the later fences the earlier.
        id: &'a str,
        /// How long a transaction may be open, in milliseconds, before the brokers abort it; a record
        /// not delivered by then fails too. Longer than the brokers' `transaction.max.timeout.ms`
        /// is refused when the id is initialised.
        timeout_ms: u32,
        /// How long a record may wait for company, in milliseconds. A flush overrides it.
        linger_ms: u32,
        /// Most kilobytes waiting to be sent; beyond it a produce call waits.
        queue_kb_max: u32,
    },
    /// Asks about and creates topics.
    Admin,
}

/// Kilobytes a client holds in its queue unless told otherwise.
pub(super) const QUEUE_KB: u32 = 65_536;

const FIXED_OFFSETS: &str = "fixed, since offsets live in the bindings of epochs";
const FIXED_FETCH: &str = "fixed, since sources are tuned with it";
const FIXED_DELIVERY: &str = "fixed, since sinks rely on ordered delivery without gaps";
const FIXED_PRODUCE: &str = "fixed, since sinks are tuned with it";

/// What every client gets.
const EVERYONE: &[(&str, &str, &str)] = &[
    // The default of 10 s would keep a job waiting long after a lost broker is back.
    ("reconnect.backoff.max.ms", "1000", "fixed, so that a broker that is back is found at once"),
];

/// What a consumer gets: key, value, why it is not free.
const CONSUMER: &[(&str, &str, &str)] = &[
    ("enable.auto.commit", "false", FIXED_OFFSETS),
    ("enable.auto.offset.store", "false", FIXED_OFFSETS),
    ("auto.offset.reset", "error", "fixed, since a silent reset would hide lost records"),
    ("enable.partition.eof", "true", "fixed, since idle partitions are found by it"),
    ("isolation.level", "read_committed", "fixed, since inputs may be other jobs' transactions"),
    // The default of 1,000 ms delays a partition for up to a second after the queue was full.
    ("fetch.queue.backoff.ms", "2", FIXED_FETCH),
    ("fetch.wait.max.ms", "20", FIXED_FETCH),
    ("queued.min.messages", "100000", FIXED_FETCH),
];

/// What a producer gets: key, value, why it is not free.
const PRODUCER: &[(&str, &str, &str)] = &[
    ("enable.idempotence", "true", FIXED_DELIVERY),
    ("acks", "all", FIXED_DELIVERY),
    // Reports of success cost an event a record, and the C flush would wait for them to be read.
    ("delivery.report.only.error", "true", FIXED_DELIVERY),
    // Retry for ever: a broker that is away is waited for.
    ("message.timeout.ms", "0", FIXED_DELIVERY),
    ("queue.buffering.max.messages", "2000000", FIXED_PRODUCE),
    // One request a partition and epoch.
    ("batch.num.messages", "100000", FIXED_PRODUCE),
    ("batch.size", "1000000", FIXED_PRODUCE),
];

/// What a journal's producer gets: key, value, why it is not free.
const JOURNAL: &[(&str, &str, &str)] = &[
    ("enable.idempotence", "true", FIXED_DELIVERY),
    // Without it librdkafka would go on behind a record that is refused, and leave a hole.
    ("enable.gapless.guarantee", "true", FIXED_DELIVERY),
    ("acks", "all", FIXED_DELIVERY),
    ("message.timeout.ms", "0", FIXED_DELIVERY),
    ("linger.ms", "0", FIXED_PRODUCE),
];

/// Further keys that are not free: set through an option of ours, other names of those above, or
/// without meaning here.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `brokers`"),
    ("metadata.broker.list", "set `brokers`"),
    ("security.protocol", "set `security`"),
    ("sasl.mechanism", "set `sasl_mechanism`"),
    ("sasl.mechanisms", "set `sasl_mechanism`"),
    ("sasl.username", "set `sasl_username`"),
    ("sasl.password", "set `sasl_password`"),
    ("ssl.ca.location", "set `tls_ca_file`"),
    ("ssl.certificate.location", "set `tls_cert_file`"),
    ("ssl.key.location", "set `tls_key_file`"),
    ("ssl.key.password", "set `tls_key_password`"),
    ("client.id", "set `client_id`"),
    ("log_level", "set `log_level`"),
    ("group.id", "set `group` of the source"),
    ("queued.max.messages.kbytes", "set `queue_kb` of the source"),
    ("linger.ms", FIXED_PRODUCE),
    ("queue.buffering.max.ms", FIXED_PRODUCE),
    ("queue.buffering.max.kbytes", FIXED_PRODUCE),
    ("auto.commit.enable", FIXED_OFFSETS),
    ("request.required.acks", FIXED_DELIVERY),
    ("delivery.timeout.ms", FIXED_DELIVERY),
    ("message.send.max.retries", FIXED_DELIVERY),
    ("retries", FIXED_DELIVERY),
    ("transactional.id", "it follows from the name of the job and the shard"),
    ("transaction.timeout.ms", "it is set for all shards of a job"),
    ("partitioner", "fixed: keys go to partitions as with the Java client (murmur2)"),
    ("log.queue", "fixed, since librdkafka's lines go to our log"),
    ("test.mock.num.brokers", "use the embedded broker"),
];

/// What a producer must be able to send, in bytes.
const MESSAGE_MIN: u64 = 1_000_000;

fn fixed() -> impl Iterator<Item = (&'static str, &'static str)> {
    [EVERYONE, CONSUMER, PRODUCER, JOURNAL]
        .into_iter()
        .flatten()
        .map(|(key, _, because)| (*key, *because))
}

pub(super) fn check_options(options: &BTreeMap<String, String>) -> Result<(), KafkaConfigError> {
    let reserved = || fixed().chain(RESERVED.iter().copied());
    for (key, value) in options {
        // librdkafka takes a `topic.` prefix for topic-level keys: the same key by another name.
        let name = key.strip_prefix("topic.").unwrap_or(key);
        if let Some((_, because)) = reserved().find(|(reserved, _)| *reserved == name) {
            return Err(KafkaConfigError::Reserved { key: key.clone(), because });
        }
        let less = |value: &String| value.parse::<u64>().is_ok_and(|bytes| bytes < MESSAGE_MIN);
        if name == "message.max.bytes" && less(value) {
            let reason =
                format!("expected {MESSAGE_MIN} or more, which dead letters are cut to fit in");
            return Err(KafkaConfigError::Rejected { key: key.clone(), reason });
        }
    }
    Ok(())
}

/// Whether librdkafka knows every key and takes its value.
pub(super) fn accepted(client: &ClientConfig) -> Result<(), KafkaConfigError> {
    match client.create_native_config() {
        Ok(_) => Ok(()),
        Err(RdError::ClientConfig(_, reason, key, value)) => {
            let reason = if value.is_empty() { reason } else { reason.replace(&value, "…") };
            Err(KafkaConfigError::Rejected { key, reason })
        }
        Err(other) => {
            Err(KafkaConfigError::Rejected { key: "options".into(), reason: other.to_string() })
        }
    }
}

impl KafkaConfig {
    /// The librdkafka configuration of a client in this role.
    ///
    /// # Errors
    /// A key in `options` that is not free. [`KafkaConfig::validate`] finds the rest.
    pub fn client(&self, role: Role<'_>) -> Result<ClientConfig, KafkaConfigError> {
        check_options(&self.options)?;
        let mut client = ClientConfig::new();
        for (key, value) in &self.options {
            client.set(key, value);
        }
        self.connection(&mut client);
        let all = |client: &mut ClientConfig, settings: &[(&str, &str, &str)]| {
            for (key, value, _) in settings {
                client.set(*key, *value);
            }
        };
        all(&mut client, EVERYONE);
        match role {
            Role::Consumer { group, queue_kb_max } => {
                all(&mut client, CONSUMER);
                client.set("group.id", group);
                client.set("queued.max.messages.kbytes", queue_kb_max.to_string());
            }
            Role::Producer { linger_ms, queue_kb_max } => {
                all(&mut client, PRODUCER);
                client.set("linger.ms", linger_ms.to_string());
                client.set("queue.buffering.max.kbytes", queue_kb_max.to_string());
            }
            Role::Journal { queue_kb_max } => {
                all(&mut client, JOURNAL);
                client.set("queue.buffering.max.kbytes", queue_kb_max.to_string());
            }
            Role::Signal { timeout_ms } => {
                client.set("acks", "all").set("linger.ms", "0");
                client.set("message.timeout.ms", timeout_ms.to_string());
            }
            Role::Transactional { id, timeout_ms, linger_ms, queue_kb_max } => {
                all(&mut client, PRODUCER);
                client.set("transactional.id", id);
                client.set("transaction.timeout.ms", timeout_ms.to_string());
                // Its transaction is gone by then; librdkafka refuses a longer wait.
                client.set("message.timeout.ms", timeout_ms.to_string());
                client.set("linger.ms", linger_ms.to_string());
                client.set("queue.buffering.max.kbytes", queue_kb_max.to_string());
            }
            Role::Admin => {}
        }
        client.set_log_level(match self.log_level {
            LogLevel::Error => RDKafkaLogLevel::Error,
            LogLevel::Warning => RDKafkaLogLevel::Warning,
            LogLevel::Info => RDKafkaLogLevel::Info,
            LogLevel::Debug => RDKafkaLogLevel::Debug,
        });
        Ok(client)
    }

    fn connection(&self, client: &mut ClientConfig) {
        client.set("bootstrap.servers", self.brokers.trim());
        client.set("client.id", &self.client_id);
        client.set(
            "security.protocol",
            match self.security {
                Security::Plaintext => "plaintext",
                Security::Tls => "ssl",
                Security::SaslPlaintext => "sasl_plaintext",
                Security::SaslTls => "sasl_ssl",
            },
        );
        if matches!(self.security, Security::SaslPlaintext | Security::SaslTls) {
            client.set(
                "sasl.mechanism",
                match self.sasl_mechanism {
                    SaslMechanism::Plain => "PLAIN",
                    SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
                    SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
                },
            );
            client.set("sasl.username", &self.sasl_username);
            client.set("sasl.password", self.sasl_password.reveal());
        }
        let files = [
            ("ssl.ca.location", &self.tls_ca_file),
            ("ssl.certificate.location", &self.tls_cert_file),
            ("ssl.key.location", &self.tls_key_file),
        ];
        for (key, path) in files {
            if !path.as_os_str().is_empty() {
                client.set(key, path.to_string_lossy());
            }
        }
        if !self.tls_key_password.is_empty() {
            client.set("ssl.key.password", self.tls_key_password.reveal());
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaConfRes;

    use super::*;

    fn roles() -> [Role<'static>; 6] {
        let (linger_ms, queue_kb_max) = (5, QUEUE_KB);
        let group = "g";
        [
            Role::Admin,
            Role::Consumer { group, queue_kb_max },
            Role::Producer { linger_ms, queue_kb_max },
            Role::Journal { queue_kb_max },
            Role::Signal { timeout_ms: 1_000 },
            Role::Transactional { id: "job-0", timeout_ms: 30_000, linger_ms, queue_kb_max },
        ]
    }

    #[test]
    fn every_key_we_set_is_refused_in_options() {
        let full = KafkaConfig {
            security: Security::SaslTls,
            sasl_username: "me".into(),
            sasl_password: crate::Secret::new("x"),
            tls_ca_file: "ca".into(),
            tls_cert_file: "cert".into(),
            tls_key_file: "key".into(),
            tls_key_password: crate::Secret::new("x"),
            ..KafkaConfig::plaintext("h:1")
        };
        for role in roles() {
            for key in full.client(role).unwrap().config_map().into_keys() {
                let options = BTreeMap::from([(key.to_string(), "1".to_string())]);
                let config = KafkaConfig { options, ..full.clone() };
                let error = config.client(role).unwrap_err().to_string();
                assert!(error.starts_with(&format!("`options` must not set `{key}`: ")), "{error}");
            }
        }
    }

    #[test]
    fn every_key_we_set_or_refuse_is_known_to_librdkafka() {
        for (key, _) in fixed().chain(RESERVED.iter().copied()) {
            let mut config = ClientConfig::new();
            config.set(key, "?");
            let unknown = matches!(
                config.create_native_config(),
                Err(RdError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..))
            );
            assert!(!unknown, "{key}");
        }
        for role in roles() {
            accepted(&KafkaConfig::plaintext("h:1").client(role).unwrap()).unwrap();
        }
    }

    #[test]
    fn a_record_of_a_transaction_is_not_tried_for_longer_than_that() {
        let (linger_ms, queue_kb_max) = (5, QUEUE_KB);
        let role = Role::Transactional { id: "job-0", timeout_ms: 7_000, linger_ms, queue_kb_max };
        let client = KafkaConfig::plaintext("h:1").client(role).unwrap();
        let map = client.config_map();
        for key in ["transaction.timeout.ms", "message.timeout.ms"] {
            assert_eq!(map.get(key), Some(&"7000"), "{key}");
        }
        assert_eq!(map.get("transactional.id"), Some(&"job-0"));
        // Else a flush through librdkafka waits for reports that nobody takes.
        assert_eq!(map.get("delivery.report.only.error"), Some(&"true"));
    }

    #[test]
    fn a_consumer_is_assigned_bounded_and_never_resets() {
        let role = Role::Consumer { group: "job.readings", queue_kb_max: 4096 };
        let client = KafkaConfig::plaintext("h:1").client(role).unwrap();
        let map = client.config_map();
        for (key, value) in [
            ("group.id", "job.readings"),
            ("queued.max.messages.kbytes", "4096"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
        ] {
            assert_eq!(map.get(key), Some(&value), "{key}");
        }
    }
}
