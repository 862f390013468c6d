//! Tideflow: graphs on timely dataflow that read Kafka, keep state for every device, call TensorFlow and
//! publish results exactly once. This crate has all that a graph is written with: [`prelude`] what most
//! need, and a module for each part. The README begins with a whole graph; `ARCHITECTURE.md` tells how the
//! parts work together.

pub use tideflow_backtest as backtest;
pub use tideflow_cluster as cluster;
pub use tideflow_core as core;
pub use tideflow_job as job;
pub use tideflow_models as models;
pub use tideflow_operators as operators;
pub use tideflow_sinks as sinks;
pub use tideflow_sources as sources;

pub use tideflow_cluster::{Graph, main};

/// What most graphs need: `use tideflow::prelude::*`.
pub mod prelude {
    pub use tideflow_cluster::Graph;
    pub use tideflow_core::kafka::KafkaConfig;
    pub use tideflow_core::{
        BuildError, DecodeError, DeviceId, Event, EventTime, Flow, Key, Reason, Rejected, Stream,
        minutes, seconds,
    };
    pub use tideflow_models::ModelRef;
    pub use tideflow_operators::{
        Aggregate, Alarm, AlarmState, Alarms, Candidate, Compared, Features, Hysteresis, Infer,
        InferOptions, KeyBy, LastRows, Late, Map, ModelConfig, Scan, Scored, Stats, Summary, Total,
        Tumbling, Window,
    };
    pub use tideflow_sinks::VecSink;
    pub use tideflow_sinks::files::FileSink;
    pub use tideflow_sinks::kafka::{KafkaSink, KeyedRecord};
    pub use tideflow_sources::kafka::{KafkaSource, KafkaSourceConfig};
    pub use tideflow_sources::{VecSource, flat_record};
}

/// Compiles what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
