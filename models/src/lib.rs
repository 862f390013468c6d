//! Models that score rows of features inside a dataflow.
//!
//! A [`Model`] turns a batch of rows into a batch of scores; the trait says what every
//! implementation promises. Beside a model's files lies a [`Manifest`]: which features it takes, in
//! which order, and where they enter and leave. [`load`] opens what is at a path:
//!
//! ```no_run
//! let model = tideflow_models::load("models/health")?;
//! model.signature().expect_features(&["temperature_mean", "vibration_max"])?;
//! # Ok::<(), tideflow_models::ModelLoadError>(())
//! ```
//!
//! [`LinearModel`] needs no files and no native library: use it in tests. TensorFlow SavedModels
//! need the feature `tensorflow`, the only place in Tideflow that links TensorFlow.
//!
//! This crate knows nothing of dataflows, Kafka or time.

mod error;
mod folder;
mod linear;
mod load;
mod manifest;
mod model;
#[cfg(feature = "tensorflow")]
mod native_log;
mod reference;
#[cfg(feature = "tensorflow")]
mod saved_model;

pub use error::{ErrorKind, ModelLoadError, ScoreError};
pub use folder::digest;
pub use linear::LinearModel;
pub use load::load;
pub use manifest::{AlarmThresholds, Manifest, SignatureNames};
pub use model::{Feature, Model, Signature};
#[cfg(feature = "tensorflow")]
pub use native_log::quiet_native_log;
pub use reference::ModelRef;
#[cfg(feature = "tensorflow")]
pub use saved_model::TensorFlowModel;
