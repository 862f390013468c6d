//! Views: what follows from tables, kept right as they change, retractions included.
//!
//! A [`Table`] has one row a key, kept by an operator with state ([`Upserts`], [`Keyed::latest`]). A
//! [`View`] hands tables to differential dataflow as collections, and brings back what changes of those
//! that follow from them.
//!
//! [`Keyed::latest`]: crate::Keyed::latest

mod fixed;
mod latest;
mod rows;
mod table;
mod upsert;
#[expect(clippy::module_inception, reason = "the type of this name is what the folder is about")]
mod view;

pub use fixed::Fixed;
pub use latest::Latest;
pub use table::{Change, Table};
pub use upsert::Upserts;
pub use view::View;
