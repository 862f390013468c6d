//! Tideflow's vocabulary: epochs and their bindings, keys, rejected records, metrics; and [`Flow`] and
//! [`Stream`], the thin layer over timely dataflow that sources, operators and sinks are written on.
//!
//! The one idea: an epoch is a cut of the input. See [`Binding`].

mod binding;
mod epoch;
mod error;
mod flow;
pub mod kafka;
mod key;
mod metrics;
mod operator;
mod pace;
mod plan;
mod reject;
mod run;
mod secret;
mod sink;
mod source;
mod stateful;
mod stop;

pub use binding::{Binding, BindingLog, Bound, Ending, Part, PartState, RecentBindings};
pub use epoch::{Epoch, Event, EventTime, millis, minutes, seconds};
pub use error::{BuildError, ErrorKind};
pub use flow::{EpochSettings, Flow, Job, Mode, Stream};
pub use key::{DeviceId, InvalidDeviceId, KEY_GROUPS, Key, KeyGroup};
pub use metrics::Metrics;
pub use operator::{OperatorName, current_operator};
pub use plan::{Check, CheckFailure, Edge, Node, Plan};
pub use reject::{DecodeError, Origin, Reason, Rejected};
pub use run::{RunError, execute, plan};
pub use secret::Secret;
pub use sink::{Sink, SinkSpec, SinkStart};
pub use source::{Batch, Source, SourceSpec, SourceStart, Sourced};
pub use stateful::{Emit, Outputs, Route, Stateful};
pub use stop::{Failure, Stop};
pub use {prometheus, timely};
