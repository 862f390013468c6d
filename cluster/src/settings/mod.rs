//! Settings: files of defaults, a file, environment variables and flags, in one tree.
//!
//! Later ones win: the defaults, the file given by `--config`, variables `TIDEFLOW__SECTION__KEY`,
//! flags `--section.key VALUE`. The options that exist are those of the files of defaults
//! ([`Schema`]); anything else is refused, all of it in one message.

mod check;
mod doc;
mod file;
mod kind;
mod layer;
mod load;
mod nearest;
mod print;
mod problem;
mod schema;
mod secret;
mod section;
mod texts;

pub use doc::Doc;
pub use kind::Kind;
pub use load::{Inputs, Settings};
pub use problem::{Problem, Refused};
pub use schema::{Key, Schema, SchemaError, Section};
pub use texts::{ENV_PREFIX, variable};
