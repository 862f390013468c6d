//! Logs on standard error, as text or JSON.

use std::io::IsTerminal;

use tideflow_core::ErrorKind;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::framework::{LogConfig, LogFormat};

/// Logs that cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A directive of the filter that is none.
    #[error(
        "found `{directive}`, expected a level (`error`, `warn`, `info`, `debug`, `trace` or \
             `off`) or `part=level`"
    )]
    Directive {
        /// What stands between two commas.
        directive: String,
    },
    /// Something in this process has installed its own.
    #[error("logs are installed already")]
    Installed,
}

impl LogError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            LogError::Directive { .. } => ErrorKind::Invalid,
            LogError::Installed => ErrorKind::Fatal,
        }
    }
}

/// The filter of a level text such as `info,tideflow_sources=debug`.
///
/// # Errors
/// When a directive is not a level or `part=level`.
pub fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let directives: Vec<_> = level.split(',').map(str::trim).collect();
    for directive in &directives {
        // A word that is no level would be taken as the name of a part to show in full.
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        let is_word = level.starts_with(|c: char| c.is_alphabetic());
        if !is_word || level.parse::<LevelFilter>().is_err() {
            return Err(LogError::Directive { directive: (*directive).into() });
        }
    }
    let refused = |_| LogError::Directive { directive: level.into() };
    EnvFilter::builder().parse(directives.join(",")).map_err(refused)
}

/// Sends this process's logs to standard error. Once a process.
///
/// # Errors
/// When the level is not a filter, or logs are installed already.
pub fn install(config: &LogConfig) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_thread_names(true)
        // It would report a closed standard error there, and panic over it.
        .log_internal_errors(false);
    let installed = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|_| LogError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_alone_or_for_parts() {
        for good in ["info", "warn,tideflow_core=debug", "off", "info, timely=error"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for (bad, named) in
            [("inof", "inof"), ("info,tideflow", "tideflow"), ("a=b", "a=b"), ("", "")]
        {
            let error = filter(bad).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(
                error.starts_with(&format!("found `{named}`, expected a level")),
                "{bad}: {error}"
            );
        }
    }
}
