//! A folder that a sink cannot write in.

use std::io;
use std::path::Path;

use tideflow_core::{BuildError, Epoch, ErrorKind};

/// Why a folder cannot be written in, or not by this job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is nothing.
    #[error("folder `{folder}`: expected a folder, found nothing")]
    Missing {
        /// As configured.
        folder: String,
    },
    /// There is something else.
    #[error("folder `{folder}`: expected a folder, found a file")]
    NotAFolder {
        /// As configured.
        folder: String,
    },
    /// Another sink of the graph writes there.
    #[error("folder `{folder}`: expected one of the sink's own, found that of sink `{other}`")]
    Taken {
        /// The folder.
        folder: String,
        /// The other sink's name.
        other: String,
    },
    /// Another job writes there.
    #[error("folder `{folder}`: expected that of job `{expected}`, found that of job `{found}`")]
    OtherJob {
        /// The folder.
        folder: String,
        /// The job that starts.
        expected: String,
        /// The job that has written there.
        found: String,
    },
    /// There are files that this job cannot have written.
    #[error(
        "folder `{folder}`: expected files of epochs up to {through}, which is what the job has published, \
         found `{found}`: it is another's, or the job was set back"
    )]
    Ahead {
        /// The folder.
        folder: String,
        /// The epoch of the last snapshot that counts.
        through: Epoch,
        /// A file of a later one.
        found: String,
    },
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
}

impl FolderError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| FolderError::Io { doing, path, source }
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            FolderError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Invalid,
                _ => ErrorKind::Unavailable,
            },
            _ => ErrorKind::Invalid,
        }
    }

    pub(super) fn of(self, operator: &str) -> BuildError {
        BuildError { operator: operator.to_string(), kind: self.kind(), source: Box::new(self) }
    }
}
