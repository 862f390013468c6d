//! `device_health` and `fleet_view` as their users run them: the binary, a real Kafka, a real SavedModel.
//!
//! Families: `oracle_` recomputes results from scratch, in Python; `fault_` breaks something;
//! `golden_` holds what must not change. The broker is the one in `TIDEFLOW_TEST_BROKERS`, or one
//! that is started here; the model and the Python scripts need `make setup`.

mod batch;
mod candidate;
mod cluster;
mod crash;
mod degraded;
mod fleet;
mod fleet_view;
mod last_rows;
mod live;
mod lost;
mod measures;
mod options;
mod outages;
mod pages;
mod panics;
mod program;
mod python;
mod refused;
mod rejects;
mod replay;
mod running;
#[allow(dead_code, reason = "the tests of the models ask more of it")]
#[path = "../../../models/tests/shared/server.rs"]
mod server;
mod skew;
mod topics;
mod trained;
mod versions;
