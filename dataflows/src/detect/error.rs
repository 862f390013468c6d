//! What can be wrong with recordings, and with what is made of them.

use std::io;
use std::path::PathBuf;

use tideflow::cluster::FeatureFileError;
use tideflow::core::RunError;
use tideflow::models::ScoreError;

/// Recordings that cannot be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// A file or folder cannot be read or written.
    #[error("{doing} `{}`", path.display())]
    Io {
        /// What was being done to it.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no table.
    #[error("reading `{}`", file.display())]
    Table {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: csv::Error,
    },
    /// A file is not what its format says.
    #[error("reading `{}`: {wrong}", file.display())]
    Recording {
        /// The file.
        file: PathBuf,
        /// Expected and found, with the line.
        wrong: String,
    },
    /// There is nothing.
    #[error("no {what} `{}`", place.display())]
    Nothing {
        /// What was looked for, and how.
        what: &'static str,
        /// Where.
        place: PathBuf,
    },
    /// Results would be read as recordings.
    #[error("results in `{}` would lie among the recordings", folder.display())]
    Among {
        /// The folder for results.
        folder: PathBuf,
    },
    /// Nothing has features.
    #[error("no recording has rows enough for features")]
    TooShort,
    /// The training package is not here.
    #[error(
        "no checkout with a Python environment around this folder or the program: run `make setup`"
    )]
    NoCheckout,
    /// No model was made.
    #[error("training `{recipe}` failed: {said}")]
    Training {
        /// Of which recipe.
        recipe: &'static str,
        /// What the training package said.
        said: String,
    },
    /// The graph has failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The model has failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// Features cannot be written.
    #[error(transparent)]
    Features(#[from] FeatureFileError),
}

impl DetectError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| DetectError::Io { doing, path, source }
    }
}
