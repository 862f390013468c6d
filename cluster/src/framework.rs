//! The options that every graph binary has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tideflow_core::{Ending, EpochSettings, Secret};

use crate::hostfile::hosts_of;
use crate::http;
use crate::logs;
use crate::mesh::TlsFiles;
use crate::settings::{Problem, Refused, Settings};

/// The defaults and manual of [`FrameworkConfig`].
pub const FRAMEWORK_DEFAULTS: &str = include_str!("default.toml");

/// The options that every graph binary has; `default.toml` is their manual.
#[derive(Clone, Debug, Deserialize)]
pub struct FrameworkConfig {
    /// How the work is spread over threads and processes.
    pub workers: WorkersConfig,
    /// How input is cut into epochs.
    pub epochs: EpochsConfig,
    /// How a run ends.
    pub run: RunConfig,
    /// The HTTP pages.
    pub http: HttpConfig,
    /// What the process says about itself.
    pub log: LogConfig,
}

/// How the work is spread over threads and processes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersConfig {
    /// Worker threads in this process, 1 to 256.
    pub threads: usize,
    /// This process's index in the host file.
    pub process: usize,
    /// The host file; empty for a single process.
    pub hostfile: PathBuf,
    /// Certificates of the authorities that the processes trust; empty for plain text.
    pub ca_file: PathBuf,
    /// This process's certificate.
    pub certificate_file: PathBuf,
    /// The key of that.
    pub key_file: PathBuf,
    /// What proves that a process belongs to the job.
    pub token: Secret,
    /// Longest wait for the other processes, in milliseconds.
    pub join_timeout_ms: u64,
    /// How long another process may say nothing, in milliseconds.
    pub lost_after_ms: u64,
    /// How long a worker may be at one thing, in milliseconds.
    pub step_timeout_ms: u64,
}

/// How input is cut into epochs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochsConfig {
    /// Time between two epochs, in milliseconds.
    pub interval_ms: u64,
    /// Epochs that may be under way at once.
    pub inflight_max: u64,
    /// Bytes read that ask for an early epoch.
    pub bytes_max: usize,
    /// Epochs since the last snapshot, beyond which none is begun before the next.
    pub replay_max: u64,
}

/// How a run ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What a first signal does with open windows.
    pub on_stop: OnStop,
    /// Longest time from a signal to the end, in milliseconds.
    pub stop_timeout_ms: u64,
}

/// What a first signal does with open windows.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// They stay open.
    Suspend,
    /// They close.
    Drain,
}

/// The HTTP pages.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port; empty for no pages.
    pub bind: String,
    /// The bearer token that requests must carry, if any.
    pub token: Secret,
}

/// What the process says about itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Least level shown, with exceptions for parts.
    pub level: String,
    /// For people or for log collectors.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FrameworkConfig {
    /// Reads the options and checks those that only make sense as a whole. It touches nothing.
    ///
    /// # Errors
    /// With every value that is refused.
    pub fn read(settings: &Settings) -> Result<FrameworkConfig, Refused> {
        let config: FrameworkConfig = settings.all()?;
        let mut problems = Vec::new();
        if let Err(reason) = logs::filter(&config.log.level) {
            problems.push(settings.refuse("log.level", reason));
        }
        if let Err(reason) = http::address(&config.http) {
            problems.push(settings.refuse("http.bind", reason));
        }
        problems.extend(config.workers.half_encrypted().map(|key| {
            let reason = "expected a file, as one of `workers.ca_file`, `workers.certificate_file` and \
                          `workers.key_file` is set";
            settings.refuse(key, reason)
        }));
        if config.hostfile().is_none() && config.workers.process != 0 {
            problems.push(Problem::Value {
                place: settings.place("workers.process"),
                key: "workers.process".into(),
                found: format!("`{}`", config.workers.process),
                expected: "0 without a `workers.hostfile`".into(),
            });
        }
        Refused::if_any(problems)?;
        Ok(config)
    }

    /// The addresses of the job's processes; empty for a single process.
    ///
    /// # Errors
    /// When the host file cannot be used, or has no line for this process.
    pub fn hosts(&self, settings: &Settings) -> Result<Vec<String>, Refused> {
        let Some(path) = self.hostfile() else { return Ok(Vec::new()) };
        hosts_of(path, self.workers.process)
            .map_err(|e| Refused(vec![settings.refuse("workers.hostfile", e)]))
    }

    fn hostfile(&self) -> Option<&Path> {
        Some(self.workers.hostfile.as_path()).filter(|p| !p.as_os_str().is_empty())
    }
}

impl WorkersConfig {
    /// What encrypts between processes, where anything does.
    pub fn tls(&self) -> Option<TlsFiles> {
        let set = !self.ca_file.as_os_str().is_empty();
        set.then(|| TlsFiles {
            ca: self.ca_file.clone(),
            certificate: self.certificate_file.clone(),
            key: self.key_file.clone(),
        })
    }

    /// A file that is missing beside others.
    fn half_encrypted(&self) -> Option<&'static str> {
        let files = [
            ("workers.ca_file", &self.ca_file),
            ("workers.certificate_file", &self.certificate_file),
            ("workers.key_file", &self.key_file),
        ];
        let missing = files.iter().filter(|(_, path)| path.as_os_str().is_empty());
        let missing: Vec<_> = missing.map(|(key, _)| *key).collect();
        missing.first().copied().filter(|_| missing.len() < files.len())
    }
}

impl RunConfig {
    /// Longest time from a signal to the end.
    pub fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.stop_timeout_ms)
    }
}

impl From<&EpochsConfig> for EpochSettings {
    fn from(config: &EpochsConfig) -> EpochSettings {
        EpochSettings {
            interval: Duration::from_millis(config.interval_ms),
            inflight_max: config.inflight_max,
            bytes_max: config.bytes_max,
            replay_max: config.replay_max,
        }
    }
}

impl From<OnStop> for Ending {
    fn from(on_stop: OnStop) -> Ending {
        match on_stop {
            OnStop::Suspend => Ending::Suspend,
            OnStop::Drain => Ending::Drain,
        }
    }
}
