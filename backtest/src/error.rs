//! A comparison that cannot be made.

use std::io;
use std::path::Path;

use tideflow_core::kafka::KafkaError;
use tideflow_core::{BuildError, ErrorKind};

/// Why what was written cannot be compared with what was published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// What was published cannot be read.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The file system.
    #[error("{doing} `{path}`: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A line of what was written is none of the output's records.
    #[error("`{path}`, line {line}: expected a record of the output, found `{found}`: {reason}")]
    Line {
        /// The file.
        path: String,
        /// Its number, from 1.
        line: usize,
        /// The line, or its beginning.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CompareError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| CompareError::Io { doing, path, source }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CompareError::Kafka(error) => error.kind(),
            CompareError::Io { .. } | CompareError::Line { .. } => ErrorKind::Fatal,
        }
    }

    /// The error of comparing an output.
    pub(crate) fn of(self, topic: &str) -> BuildError {
        BuildError { operator: topic.to_string(), kind: self.kind(), source: Box::new(self) }
    }
}
