//! The HTTP pages of a graph binary: metrics, health and readiness.
//!
//! Written over the standard library: it needs three pages, a bound on everything and no bodies,
//! and the small servers at hand bound neither their threads nor the time of a request.

mod address;
mod request;
mod server;

pub use address::{HttpError, address};
pub use server::{HttpServer, Pages};
