//! What can go wrong with a model, and what to do about it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::VersionId;
pub use tideflow_core::ErrorKind;

/// What a native library said. Its own error type stays behind the feature that links it.
pub(crate) type NativeError = Box<dyn std::error::Error + Send + Sync>;

/// A model could not be loaded, or is not the model that is wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelLoadError {
    /// Nothing is at the path.
    #[error("loading model `{}`: expected a folder, found nothing{}", path.display(), below(path))]
    FolderMissing {
        /// The path that was given.
        path: PathBuf,
    },
    /// Something other than a folder is at the path.
    #[error("loading model `{}`: expected a folder, found a file", path.display())]
    NotAFolder {
        /// The path that was given.
        path: PathBuf,
    },
    /// A file or folder that every model has is missing.
    #[error(
        "loading model `{}`: expected `{file}` in it, found {}", folder.display(), list(found)
    )]
    FileMissing {
        /// The model's folder.
        folder: PathBuf,
        /// What was looked for, relative to the folder.
        file: &'static str,
        /// What is in the folder.
        found: Vec<String>,
    },
    /// A file or folder is there and could not be read.
    #[error("reading `{}` of a model: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The manifest is not JSON, or lacks a field, or a field has another type.
    #[error("reading manifest `{}`: {source}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Names the field and the place.
        source: serde_json::Error,
    },
    /// A field of the manifest has a value that cannot be.
    #[error("reading manifest `{}`: `{field}`: expected {expected}, found {found}", path.display())]
    ManifestValue {
        /// The manifest.
        path: PathBuf,
        /// The field, with dots between levels.
        field: &'static str,
        /// What may be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The model has no signature of the name that its manifest gives.
    #[error(
        "loading model `{}`: expected signature `{expected}`, found {}",
        folder.display(), list(found)
    )]
    SignatureMissing {
        /// The model's folder.
        folder: PathBuf,
        /// The name in the manifest.
        expected: String,
        /// The names in the model.
        found: Vec<String>,
    },
    /// The signature's inputs are not exactly those that the manifest names.
    #[error(
        "loading model `{}`: signature `{signature}`: expected the inputs {}, found {}",
        folder.display(), list(expected), list(found)
    )]
    Inputs {
        /// The model's folder.
        folder: PathBuf,
        /// The signature.
        signature: String,
        /// The names in the manifest.
        expected: Vec<String>,
        /// The names in the model.
        found: Vec<String>,
    },
    /// The signature has no output of the name that the manifest gives.
    #[error(
        "loading model `{}`: signature `{signature}`: expected output `{expected}`, found {}",
        folder.display(), list(found)
    )]
    OutputMissing {
        /// The model's folder.
        folder: PathBuf,
        /// The signature.
        signature: String,
        /// The name in the manifest.
        expected: String,
        /// The names in the model.
        found: Vec<String>,
    },
    /// An input or output has another element type than the manifest says.
    #[error(
        "loading model `{}`: tensor `{tensor}`: expected type {expected}, found {found}",
        folder.display()
    )]
    ElementType {
        /// The model's folder.
        folder: PathBuf,
        /// The input or output, as the signature names it.
        tensor: String,
        /// The type in the manifest.
        expected: &'static str,
        /// The type in the model.
        found: String,
    },
    /// An input or output has another shape than the manifest says.
    #[error(
        "loading model `{}`: tensor `{tensor}`: expected shape {expected} by the manifest, found \
         {found}",
        folder.display()
    )]
    Shape {
        /// The model's folder.
        folder: PathBuf,
        /// The input or output, as the signature names it.
        tensor: String,
        /// Rows by columns; `?` is any number.
        expected: String,
        /// The shape in the model.
        found: String,
    },
    /// A graph computes other features than the model takes, or in another order.
    #[error(
        "model `{model}` takes other features, first at position {position}: expected {}, found \
         {}; expected {} features: {}; found {}: {}",
        item(expected, *position), item(found, *position),
        expected.len(), list(expected), found.len(), list(found)
    )]
    Features {
        /// The model's name.
        model: String,
        /// The first difference, counted from 0.
        position: usize,
        /// The features in the manifest, in order.
        expected: Vec<String>,
        /// The features of the graph, in order.
        found: Vec<String>,
    },
    /// A version that has scored is not where it was.
    #[error(
        "opening version `{}` of model `{}` with the digest `{}`: it is not at `{at}` any more, nor in the \
         cache",
        wanted.version, wanted.name, wanted.digest
    )]
    VersionGone {
        /// The version.
        wanted: VersionId,
        /// Where it should be.
        at: String,
    },
    /// The registry did not give what was asked.
    #[cfg(feature = "http")]
    #[error(transparent)]
    Http(#[from] crate::HttpError),
    /// The registry does not hand out the files of a version itself, or not as files in folders.
    #[error(
        "downloading model `{name}`: its files are at `{uri}`, expected them at the registry itself: \
         `mlflow-artifacts:/…`, as with `mlflow server --serve-artifacts`"
    )]
    Artifacts {
        /// The model's name.
        name: String,
        /// Where they are.
        uri: String,
    },
    /// The files of a model are others than they should be.
    #[error("expected a model with the digest `{expected}`, found `{found}`")]
    Digest {
        /// What was recorded of it.
        expected: String,
        /// That of the files.
        found: String,
    },
    /// A version that could be opened does not score.
    #[error("trying version `{version}`: {source}")]
    Warm {
        /// The version.
        version: String,
        /// What went wrong.
        source: Box<ScoreError>,
    },
    /// A golden row has another score than where the model was exported.
    #[error(
        "trying model `{}`: row {row} of `golden.json`: expected `{output}` to be {expected}, found {found}",
        folder.display()
    )]
    Golden {
        /// The model's folder.
        folder: PathBuf,
        /// The row, counted from 0.
        row: usize,
        /// The output.
        output: String,
        /// What was recorded.
        expected: f64,
        /// What the model gives here.
        found: f64,
    },
    /// Golden rows could not be scored.
    #[error("trying `{}`: {source}", path.display())]
    Score {
        /// The rows.
        path: PathBuf,
        /// What went wrong.
        source: Box<ScoreError>,
    },
    /// This program cannot run this kind of model.
    #[error(
        "loading model `{}`: it is a {format}, expected a program built with feature `{feature}`, \
         found one without",
        folder.display()
    )]
    BackendMissing {
        /// The model's folder.
        folder: PathBuf,
        /// What is in it.
        format: &'static str,
        /// The feature of this crate that runs it.
        feature: &'static str,
    },
    /// The native library is not on this machine.
    #[error(
        "loading model `{}`: expected `{library}`, found none in {}; run `make setup`, or name its \
         folder in `{variable}`",
        folder.display(), paths(looked_in)
    )]
    LibraryMissing {
        /// The model's folder.
        folder: PathBuf,
        /// The file.
        library: &'static str,
        /// The folders, beside those of the system, where it was looked for.
        looked_in: Vec<PathBuf>,
        /// The environment variable that names its folder.
        variable: &'static str,
    },
    /// The native library refused the model.
    #[error("loading model `{}` with {library}: {source}", folder.display())]
    Native {
        /// The model's folder.
        folder: PathBuf,
        /// The library.
        library: &'static str,
        /// What it said.
        source: NativeError,
    },
}

impl ModelLoadError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Unavailable,
            Self::Warm { source, .. } | Self::Score { source, .. } => source.kind(),
            #[cfg(feature = "http")]
            Self::Http(error) => error.kind,
            _ => ErrorKind::Invalid,
        }
    }
}

/// A batch could not be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreError {
    /// The batch has not the size that it says.
    #[error(
        "scoring {count} rows with model `{model}`: expected {expected} values ({count} rows of \
         {width} features), found {found}"
    )]
    Rows {
        /// The model's name.
        model: String,
        /// Rows that the call announced.
        count: usize,
        /// Features a row.
        width: usize,
        /// Values that should have come.
        expected: usize,
        /// Values that came.
        found: usize,
    },
    /// The model returned another number of scores than its signature says.
    #[error(
        "scoring {count} rows with model `{model}`: expected {expected} scores back, found {found}"
    )]
    Scores {
        /// The model's name.
        model: String,
        /// Rows in the batch.
        count: usize,
        /// Scores that should have come back.
        expected: usize,
        /// Scores that came back.
        found: usize,
    },
    /// Equal rows of one batch got scores with different bits.
    #[error(
        "trying model `{model}` with batches of {count} rows: expected the same score for a row at \
         every place, found {first} at row 0 and {other} at row {row}; choose another batch size, a \
         multiple of 64"
    )]
    Placement {
        /// The model's name.
        model: String,
        /// Rows in the batch.
        count: usize,
        /// The first row whose score differs from row 0.
        row: usize,
        /// The score of row 0.
        first: f64,
        /// The score of that row.
        other: f64,
    },
    /// A batch took longer than it may.
    #[error(
        "scoring {count} rows with model `{model}`: expected an answer within {timeout_ms} ms, found none"
    )]
    Slow {
        /// The model's name.
        model: String,
        /// Rows in the batch.
        count: usize,
        /// How long it may take.
        timeout_ms: u64,
    },
    /// The native library failed.
    #[error("scoring {count} rows with model `{model}` by {library}: {source}")]
    Native {
        /// The model's name.
        model: String,
        /// Rows in the batch.
        count: usize,
        /// The library.
        library: &'static str,
        /// What it said.
        source: NativeError,
    },
}

impl ScoreError {
    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Rows { .. } | Self::Placement { .. } => ErrorKind::Invalid,
            Self::Slow { .. } | Self::Scores { .. } | Self::Native { .. } => ErrorKind::Fatal,
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_string();
    }
    names.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| quoted(path.display())).collect::<Vec<_>>().join(", ")
}

fn item(names: &[String], position: usize) -> String {
    names.get(position).map_or_else(|| "nothing more".to_string(), quoted)
}

fn quoted(name: impl Display) -> String {
    format!("`{name}`")
}

/// Where a relative path begins: often the program was started elsewhere.
fn below(path: &Path) -> String {
    match std::env::current_dir() {
        Ok(current) if path.is_relative() => format!(" below `{}`", current.display()),
        _ => String::new(),
    }
}
