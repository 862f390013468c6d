//! A real Apache Kafka for tests, run by `scripts/kafka.sh`. Behind the feature `testing`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::admin::{NewTopic, create_topics, delete_topics};
use super::config::{KafkaConfig, SaslMechanism, Security};
use crate::Secret;

/// Brokers to use instead of starting one: what `make test` sets.
const BROKERS: &str = "TIDEFLOW_TEST_BROKERS";

/// A broker on loopback. A test without one fails with the command to run; it is never skipped.
pub struct TestBroker {
    brokers: String,
    /// None: somebody else's broker.
    folder: Option<PathBuf>,
}

impl TestBroker {
    /// The broker that all tests of this process share: the one in `TIDEFLOW_TEST_BROKERS`, or one
    /// started by the first call and stopped when the process ends. Topics need names of their
    /// own: [`TestBroker::topic`] or [`unique_name`].
    pub fn shared() -> &'static TestBroker {
        static SHARED: OnceLock<TestBroker> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var(BROKERS) {
            Ok(brokers) if !brokers.is_empty() => TestBroker { brokers, folder: None },
            _ => TestBroker::start(),
        })
    }

    /// A broker of this test's own, which it may stop and start; stopped and removed on drop.
    pub fn start() -> TestBroker {
        let mut broker = TestBroker::stopped();
        broker.start_again();
        broker
    }

    /// One that is reached at this address of the machine, not on loopback.
    pub fn start_at(address: &str) -> TestBroker {
        let mut broker = TestBroker::stopped();
        let output = broker.run(&["--host", address]);
        broker.brokers = self::address(&output, "BROKERS");
        broker
    }

    fn stopped() -> TestBroker {
        let folder = std::env::temp_dir().join(unique_name("tideflow-kafka"));
        TestBroker { brokers: String::new(), folder: Some(folder) }
    }

    /// Its address.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// A configuration that reaches it.
    pub fn config(&self) -> KafkaConfig {
        KafkaConfig::plaintext(&self.brokers)
    }

    /// Makes a topic under a new name that begins with `prefix`.
    pub fn topic(&self, prefix: &str, partitions: usize) -> String {
        self.topic_with(prefix, partitions, &[])
    }

    /// Makes a topic under a new name that begins with `prefix`, with settings by Kafka's names.
    pub fn topic_with(&self, prefix: &str, partitions: usize, config: &[(&str, &str)]) -> String {
        let name = unique_name(prefix);
        let topic = NewTopic { config, ..NewTopic::new(&name, partitions) };
        create_topics(&self.config(), &[topic]).unwrap_or_else(|error| panic!("{error}"));
        name
    }

    /// Removes a topic and its records.
    pub fn delete_topic(&self, name: &str) {
        delete_topics(&self.config(), &[name]).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The offset that a consumer group has committed, if any.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let asking: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", group)
            .create()
            .unwrap_or_else(|error| panic!("{error}"));
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let found = asking.committed_offsets(list, Duration::from_secs(60));
        let found = found.unwrap_or_else(|error| panic!("{group}: {error}"));
        found.find_partition(topic, partition)?.offset().to_raw().filter(|offset| *offset >= 0)
    }

    /// Stops it in good order; [`TestBroker::start_again`] brings it back with its data.
    pub fn stop(&self) {
        self.script("stop", &[]);
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        self.script("stop", &["--kill"]);
    }

    /// Has it do nothing, with its connections open, until [`TestBroker::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Has a frozen broker go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let folder = self.folder.as_ref().expect("a shared broker is not ours to stop");
        let id = std::fs::read_to_string(folder.join("pid")).expect("`kafka.sh` writes it");
        let sent = Command::new("kill").args(["-s", name, id.trim()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {id}");
    }

    /// Starts a stopped broker at the same address.
    pub fn start_again(&mut self) {
        let output = self.run(&[]);
        self.brokers = address(&output, "BROKERS");
    }

    fn run(&self, options: &[&str]) -> String {
        let process = std::process::id().to_string();
        self.script("start", &[&["--while", &process, "--remove"], options].concat())
    }

    fn script(&self, command: &str, options: &[&str]) -> String {
        let folder = self.folder.as_ref().expect("a shared broker is not ours to stop");
        let script = find_script();
        let mut call = Command::new(&script);
        call.arg(command).arg("--dir").arg(folder).args(options);
        let output = call.output().unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        let say = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "no Kafka for this test: {}\nrun `{} start` to see it, or set {BROKERS}=host:port",
            say(&output.stderr),
            script.display(),
        );
        say(&output.stdout)
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // A failed start has nothing to stop, and panicking in a drop would hide why.
            let _ =
                Command::new(find_script()).args(["stop", "--kill", "--dir"]).arg(folder).output();
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A broker of a test's own that also listens on encrypted ports.
pub struct SecureBroker {
    /// The broker itself, reached without encryption.
    pub broker: TestBroker,
    ca_file: PathBuf,
    tls: String,
    sasl: String,
}

impl SecureBroker {
    /// Starts it; stopped and removed on drop.
    pub fn start() -> SecureBroker {
        let mut broker = TestBroker::stopped();
        let output = broker.run(&["--secure"]);
        broker.brokers = address(&output, "BROKERS");
        let (tls, sasl) = (address(&output, "TLS"), address(&output, "SASL"));
        let ca_file = broker.folder.as_ref().expect("it has a folder").join("ca.pem");
        SecureBroker { broker, ca_file, tls, sasl }
    }

    /// A configuration that reaches it encrypted, without a login.
    pub fn tls(&self) -> KafkaConfig {
        KafkaConfig {
            security: Security::Tls,
            tls_ca_file: self.ca_file.clone(),
            ..KafkaConfig::plaintext(&self.tls)
        }
    }

    /// A configuration that reaches it encrypted and with its one login.
    pub fn sasl(&self, mechanism: SaslMechanism) -> KafkaConfig {
        KafkaConfig {
            brokers: self.sasl.clone(),
            security: Security::SaslTls,
            sasl_mechanism: mechanism,
            sasl_username: "tideflow".into(),
            sasl_password: Secret::new("secret"),
            ..self.tls()
        }
    }
}

fn address(output: &str, name: &str) -> String {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("kafka.sh start prints {name}=")).to_owned()
}

/// `prefix` with something behind it that no other test, process or run has.
#[expect(clippy::disallowed_methods, reason = "a name, which no result depends on")]
pub fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{prefix}-{:x}-{process}-{next}", now.as_micros())
}

/// Cargo tells a test where its package is; the script is above it.
fn find_script() -> PathBuf {
    let start = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let start = start.or_else(|| std::env::current_dir().ok()).unwrap_or_default();
    let script = start.ancestors().map(|folder| folder.join("scripts/kafka.sh"));
    script.into_iter().find(|path: &PathBuf| Path::exists(path)).unwrap_or_else(|| {
        panic!("no scripts/kafka.sh above `{}`: set {BROKERS}=host:port", start.display())
    })
}
