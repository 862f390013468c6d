//! Tideflow's vocabulary: epochs and their bindings, keys, rejected records, metrics; and [`Flow`] and
//! [`Stream`], the thin layer over timely dataflow that sources, operators and sinks are written on.
//!
//! The one idea: an epoch is a cut of the input. See [`Binding`].

mod backtest;
mod binder;
mod binding;
mod choice;
mod crash;
mod date;
mod durability;
mod entries;
mod epoch;
mod error;
mod flow;
pub mod form;
mod groups;
pub mod kafka;
mod kept;
mod key;
mod metrics;
mod operator;
mod pace;
mod plan;
mod reject;
mod resume;
mod rows;
mod ruling;
mod run;
mod secret;
mod sink;
mod slots;
mod snapshot;
mod source;
mod stateful;
mod stop;
mod update;

pub use backtest::{Backtest, Compare, Compared, RecordedOutput};
pub use binding::{Binding, BindingLog, Bound, Ending, Part, PartState, RecentBindings};
pub use choice::{Choice, Chosen, Opening};
pub use crash::crash_point;
pub use date::InvalidTime;
pub use durability::{Durability, LogOnly, Recovered};
pub use entries::{Entries, KeyedState, Row};
pub use epoch::{Epoch, Event, EventTime, millis, minutes, seconds};
pub use error::{BuildError, ErrorKind, OptionProblem};
pub use flow::{EpochSettings, Flow, Job, Mode, Stream};
pub use groups::{GroupState, Groups, Segment};
pub use kept::{DeadLetters, RejectsRequest, Show, StateForm, StateRequest};
pub use key::{DeviceId, InvalidDeviceId, KEY_GROUPS, Key, KeyGroup};
pub use metrics::Metrics;
pub use operator::{OperatorName, current_operator};
pub use plan::{Check, CheckFailure, Edge, Inputs, Node, Plan};
pub use reject::{DecodeError, Origin, Reason, Rejected};
pub use resume::{Cuts, Resume, ResumePart, Standing};
pub use rows::{FeatureRow, FeatureRows, TakenRows, WantedRows};
pub use ruling::Ruling;
pub use run::{RunError, execute, plan, plan_of};
pub use secret::Secret;
pub use sink::{Outlet, Sink, SinkSpec, SinkStart};
pub use slots::Slots;
pub use snapshot::{RestoreFrom, Restored, SnapshotPart, Snapshots};
pub use source::{Batch, Source, SourceSpec, SourceStart, Sourced};
pub use stateful::{Emit, Outputs, Stateful};
pub use stop::{Failure, Stop};
pub use update::{Update, Upsert};
pub use {differential_dataflow, prometheus, timely};
