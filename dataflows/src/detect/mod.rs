//! Recordings in, a verdict for each of their rows out, strictly causal: nothing rests on a later row.
//!
//! Three formats, each a [`Method`]: features of a row and those before it, a model, and what is made of its
//! outputs. The features are written for training by the same operator that computes them here.

mod error;
mod files;
mod graph;
mod pump;
mod results;
mod run;
mod series;
mod training;
mod turbofan;

pub use error::DetectError;
pub use files::{Format, Recording, read};
pub use graph::{Item, Method, Outcome, Reading};
pub use pump::Pump;
pub use results::{expect_apart, write};
pub use run::{Detected, Label, detect, features, offline};
pub use series::Series;
pub use training::{package_digest, train};
pub use turbofan::Turbofan;
