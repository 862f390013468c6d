//! What a graph does with a stream. One operator is one file and one extension trait.

mod alarm;
mod degradation;
mod infer;
mod key_by;
mod last_rows;
mod map;
mod scan;
mod view;
mod window;

pub use alarm::{Alarm, AlarmState, Alarms, Hysteresis};
pub use degradation::{
    Aspect, Degraded, Drift, DriftOptions, Judge, JudgeOptions, Judged, Label, Quality, Watched,
    psi,
};
pub use infer::{
    CANDIDATE_DEFAULTS, Candidate, CandidateConfig, Compared, Features, Infer, InferOptions,
    Inferred, MODEL_DEFAULTS, ModelConfig, OnFailure, Policy, Scored, Scorer, Slice,
};
pub use key_by::{KeyBy, Keyed};
pub use last_rows::LastRows;
pub use map::Map;
pub use scan::Scan;
pub use tideflow_core::Row;
pub use view::{Change, Fixed, Latest, Table, Upserts, View};
pub use window::{Aggregate, Late, Stats, Summary, Total, Tumbling, Window, Windowed};
