//! How to reach a Kafka cluster: the options a user writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use super::settings::{self, Role};
use crate::{ErrorKind, OptionProblem, Secret};

/// The connection to one Kafka cluster. Unknown keys are errors; empty text means "not set".
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Brokers to start from, `host:port`, several separated by commas. One that answers is
    /// enough, the others are learnt from it; name two or three so that a start does not hang on
    /// one machine.
    pub brokers: String,
    /// How the connection is protected: `plaintext` (nothing), `tls` (encrypted), `sasl_plaintext`
    /// (a login, readable on the wire) or `sasl_tls` (a login, encrypted).
    pub security: Security,
    /// How the login is proven: `PLAIN` (sends the password, so only over TLS), `SCRAM-SHA-256` or
    /// `SCRAM-SHA-512` (do not send it). Used with `security = "sasl_…"`.
    pub sasl_mechanism: SaslMechanism,
    /// The login's name. Needed with `security = "sasl_…"`, refused without.
    pub sasl_username: String,
    /// The login's password. Needed with `security = "sasl_…"`, refused without.
    pub sasl_password: Secret,
    /// PEM file with the certificates of the authorities that may sign a broker's certificate.
    /// Empty: those the operating system trusts. Only with TLS.
    pub tls_ca_file: PathBuf,
    /// PEM file with our own certificate, where brokers ask clients for one. Only with TLS, and
    /// together with `tls_key_file`.
    pub tls_cert_file: PathBuf,
    /// PEM file with the private key of `tls_cert_file`.
    pub tls_key_file: PathBuf,
    /// The password of `tls_key_file`, where it has one.
    pub tls_key_password: Secret,
    /// How long a start waits for a first broker, in milliseconds, before it gives up with a
    /// message. Higher bears with brokers that start at the same time; lower tells sooner about a
    /// wrong address. A broker lost later is waited for without end.
    pub connect_timeout_ms: u64,
    /// Our name in the brokers' logs, quotas and metrics.
    pub client_id: String,
    /// The least important of librdkafka's own lines to log: `error`, `warning`, `info` or
    /// `debug`. `debug` also needs topics in `options.debug`, such as `"broker,fetch"`.
    pub log_level: LogLevel,
    /// Further librdkafka options by their own names, handed on unread: see its
    /// [CONFIGURATION.md](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md).
    /// A key that is set through an option above, or that must keep the value we give it, is
    /// refused with the reason.
    #[serde(serialize_with = "masked")]
    pub options: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: String::new(),
            security: Security::Plaintext,
            sasl_mechanism: SaslMechanism::ScramSha512,
            sasl_username: String::new(),
            sasl_password: Secret::default(),
            tls_ca_file: PathBuf::new(),
            tls_cert_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            tls_key_password: Secret::default(),
            connect_timeout_ms: 10_000,
            client_id: "tideflow".into(),
            log_level: LogLevel::Info,
            options: BTreeMap::new(),
        }
    }
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// No encryption, no login.
    Plaintext,
    /// Encrypted; our certificate may be our login.
    Tls,
    /// A login over an open connection.
    SaslPlaintext,
    /// A login over an encrypted connection.
    SaslTls,
}

impl Security {
    fn sasl(self) -> bool {
        matches!(self, Security::SaslPlaintext | Security::SaslTls)
    }

    fn tls(self) -> bool {
        matches!(self, Security::Tls | Security::SaslTls)
    }

    fn name(self) -> &'static str {
        match self {
            Security::Plaintext => "plaintext",
            Security::Tls => "tls",
            Security::SaslPlaintext => "sasl_plaintext",
            Security::SaslTls => "sasl_tls",
        }
    }
}

/// How a login is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum SaslMechanism {
    /// Name and password as they are.
    #[serde(rename = "PLAIN")]
    Plain,
    /// A challenge over SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// A challenge over SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The least important of librdkafka's lines to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what is doubtful.
    Warning,
    /// And what is worth knowing.
    Info,
    /// And the topics named in `options.debug`.
    Debug,
}

/// A Kafka configuration that cannot be used. All are [`ErrorKind::Invalid`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaConfigError {
    /// An option is needed because of another one.
    #[error("`{option}` is not set, expected {expected}")]
    Missing {
        /// The option of ours.
        option: &'static str,
        /// What to set it to, and why.
        expected: String,
    },
    /// An option is set that would have no effect.
    #[error("`{option}` is set but `security` is `{security}`, expected {expected}")]
    Unused {
        /// The option of ours.
        option: &'static str,
        /// The value of `security`.
        security: &'static str,
        /// The values of `security` it goes with.
        expected: &'static str,
    },
    /// A file cannot be read.
    #[error("`{option}`: reading `{}`: {source}", path.display())]
    File {
        /// The option of ours.
        option: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// `options` holds a key that is not free.
    #[error("`options` must not set `{key}`: {because}")]
    Reserved {
        /// The librdkafka key.
        key: String,
        /// The option of ours that sets it, or why it is fixed.
        because: &'static str,
    },
    /// librdkafka does not know an option or its value.
    #[error("librdkafka refuses `{key}`: {reason}")]
    Rejected {
        /// The librdkafka key.
        key: String,
        /// librdkafka's message, without the value.
        reason: String,
    },
}

impl KafkaConfigError {
    /// Always [`ErrorKind::Invalid`]: the configuration has to change.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    /// The option to change.
    fn option(&self) -> String {
        match self {
            Self::Missing { option, .. } | Self::Unused { option, .. } => option.to_string(),
            Self::File { option, .. } => option.to_string(),
            Self::Reserved { key, .. } | Self::Rejected { key, .. } => format!("options.{key}"),
        }
    }
}

impl KafkaConfig {
    /// A plain connection to these brokers, everything else as by default.
    pub fn plaintext(brokers: impl Into<String>) -> Self {
        KafkaConfig { brokers: brokers.into(), ..KafkaConfig::default() }
    }

    /// What [`KafkaConfig::validate`] finds, for a graph that has this configuration as `section`.
    pub fn problem(&self, section: &str) -> Option<OptionProblem> {
        let error = self.validate().err()?;
        Some(OptionProblem::new(format!("{section}.{}", error.option()), error.to_string()))
    }

    /// Checks everything that can be checked without a connection: options that need or exclude
    /// each other, files, and every raw option by name and value.
    pub fn validate(&self) -> Result<(), KafkaConfigError> {
        if self.brokers.trim().is_empty() {
            return missing("brokers", "`host:port` of at least one broker");
        }
        if self.client_id.is_empty() {
            return missing("client_id", "a name");
        }
        self.validate_login()?;
        self.validate_tls()?;
        settings::check_options(&self.options)?;
        let roles = [
            Role::Admin,
            Role::Consumer { group: "check", queue_kb_max: settings::QUEUE_KB },
            Role::Producer { linger_ms: 0, queue_kb_max: settings::QUEUE_KB },
        ];
        for role in roles {
            settings::accepted(&self.client(role)?)?;
        }
        Ok(())
    }

    fn validate_login(&self) -> Result<(), KafkaConfigError> {
        let set = [
            ("sasl_username", !self.sasl_username.is_empty()),
            ("sasl_password", !self.sasl_password.is_empty()),
        ];
        for (option, set) in set {
            match (self.security.sasl(), set) {
                (true, false) => {
                    return missing(option, &format!("a value, since {}", self.because()));
                }
                (false, true) => return self.unused(option, "`sasl_plaintext` or `sasl_tls`"),
                _ => {}
            }
        }
        Ok(())
    }

    fn validate_tls(&self) -> Result<(), KafkaConfigError> {
        let files = [
            ("tls_ca_file", &self.tls_ca_file),
            ("tls_cert_file", &self.tls_cert_file),
            ("tls_key_file", &self.tls_key_file),
        ];
        for (option, path) in files {
            if path.as_os_str().is_empty() {
                continue;
            }
            if !self.security.tls() {
                return self.unused(option, "`tls` or `sasl_tls`");
            }
            readable(option, path)?;
        }
        let (cert, key) = (&self.tls_cert_file, &self.tls_key_file);
        match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
            (true, false) => missing("tls_cert_file", "the certificate of `tls_key_file`"),
            (false, true) => missing("tls_key_file", "the private key of `tls_cert_file`"),
            (true, true) if !self.tls_key_password.is_empty() => {
                missing("tls_key_file", "the file that `tls_key_password` opens")
            }
            _ => Ok(()),
        }
    }

    fn because(&self) -> String {
        format!("`security` is `{}`", self.security.name())
    }

    fn unused(&self, option: &'static str, expected: &'static str) -> Result<(), KafkaConfigError> {
        Err(KafkaConfigError::Unused { option, security: self.security.name(), expected })
    }
}

fn missing(option: &'static str, expected: &str) -> Result<(), KafkaConfigError> {
    Err(KafkaConfigError::Missing { option, expected: expected.to_owned() })
}

fn readable(option: &'static str, path: &Path) -> Result<(), KafkaConfigError> {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    let result = opened.and_then(|found| match found.is_file() {
        true => Ok(()),
        false => Err(std::io::Error::other("not a file")),
    });
    result.map_err(|source| KafkaConfigError::File { option, path: path.to_owned(), source })
}

/// Raw options may hold passwords under names we do not know: mask whatever sounds like one.
fn secret_like(key: &str) -> bool {
    ["password", "secret", "token", "jaas", "passphrase", "key.pem", "oauthbearer.config"]
        .iter()
        .any(|part| key.contains(part))
}

fn masked_options(options: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let shown = |(key, value)| (key, if secret_like(key) { "***" } else { value });
    options.iter().map(|(key, value)| shown((key.as_str(), value.as_str()))).collect()
}

fn masked<S: Serializer>(
    options: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    masked_options(options).serialize(serializer)
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("security", &self.security)
            .field("sasl_mechanism", &self.sasl_mechanism)
            .field("sasl_username", &self.sasl_username)
            .field("sasl_password", &self.sasl_password)
            .field("tls_ca_file", &self.tls_ca_file)
            .field("tls_cert_file", &self.tls_cert_file)
            .field("tls_key_file", &self.tls_key_file)
            .field("tls_key_password", &self.tls_key_password)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("client_id", &self.client_id)
            .field("log_level", &self.log_level)
            .field("options", &masked_options(&self.options))
            .finish()
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
