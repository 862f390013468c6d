//! Models that score rows of features inside a dataflow.
//!
//! A [`Model`] turns a batch of rows into a batch of scores; the trait says what every
//! implementation promises. Beside a model's files lies a [`Manifest`]: which features it takes, in
//! which order, and where they enter and leave. [`load`] opens what is at a path:
//!
//! ```no_run
//! let model = tideflow_models::load(".tideflow/models/health")?;
//! model.signature().expect_features(&["temperature.mean", "vibration.max"])?;
//! # Ok::<(), tideflow_models::ModelLoadError>(())
//! ```
//!
//! [`LinearModel`] needs no files and no native library: use it in tests. TensorFlow SavedModels
//! need the feature `tensorflow`, the only place in Tideflow that knows TensorFlow, and at run time
//! its native library, which is opened with the first model. It is looked for in the folder that
//! `TENSORFLOW_DIR` names, those of `LD_LIBRARY_PATH`, `/usr/local/lib`, `lib` beside the program,
//! and where `make setup` puts it in the checkout that the program, or the package that cargo runs,
//! lies in.
//!
//! This crate knows nothing of dataflows, Kafka or time.

mod cache;
mod error;
mod folder;
#[cfg(any(feature = "tensorflow", feature = "http"))]
mod golden;
#[cfg(feature = "http")]
mod http;
mod linear;
mod load;
mod manifest;
#[cfg(feature = "http")]
mod mlflow;
mod model;
#[cfg(feature = "tensorflow")]
mod native;
mod reference;
mod rows;
mod runtime;
#[cfg(feature = "tensorflow")]
mod saved_model;
#[cfg(feature = "http")]
mod serving;
mod shelf;
#[cfg(feature = "tensorflow")]
mod tensors;
mod uri;
mod version;

pub use error::{ErrorKind, ModelLoadError, ScoreError};
pub use folder::digest;
#[cfg(feature = "http")]
pub use http::{HttpAccess, HttpError};
pub use linear::LinearModel;
pub use load::load;
pub use manifest::{AlarmThresholds, Distribution, InputTensor, Manifest, OutputTensor};
#[cfg(feature = "http")]
pub use mlflow::Mlflow;
pub use model::{DType, Feature, Model, Signature};
pub use reference::ModelRef;
pub use rows::{Rows, Writer};
pub use runtime::Runtime;
#[cfg(feature = "tensorflow")]
pub use saved_model::TensorFlowModel;
#[cfg(feature = "http")]
pub use serving::{ServingAccess, ServingModel};
pub use shelf::{Accept, Shelf};
pub use uri::{ModelUri, NoModelUri, WhichVersion};
pub use version::{NoVersion, VersionId, Versions};
