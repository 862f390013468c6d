//! The options of a job; `default.toml` is their manual.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tideflow_core::kafka::KafkaConfig;
use tideflow_core::{Durability, LogOnly, OptionProblem, RecentBindings};
use tideflow_sinks::kafka::shard::TRANSACTION_TIMEOUT_MS;
use tideflow_state::{Copies, Store};

use crate::ExactlyOnce;

/// The defaults and manual of [`JobConfig`].
pub const JOB_DEFAULTS: &str = include_str!("default.toml");

/// What of a job survives; `default.toml` is the manual.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JobConfig {
    /// The job's name; empty for the graph's.
    pub name: String,
    /// How often a result is published.
    pub delivery: Delivery,
    /// The folder of the job's state.
    pub state: String,
    /// Epochs from one snapshot to the next.
    pub snapshot_every: u64,
    /// The manifest to go on from; empty for the newest.
    pub snapshot: String,
    /// Operators that are not in the graph any more, whose state may be dropped.
    pub drop_state: Vec<String>,
    /// Transactions at once.
    pub shards: u32,
    /// How long a transaction may be open, in milliseconds.
    pub transaction_timeout_ms: u32,
    /// Copies of the job's own topics.
    pub replication: usize,
    /// Copies that must have a record before it counts.
    pub insync_min: usize,
}

/// How often a result is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Once, for those who read what is committed.
    ExactlyOnce,
    /// Once or, after a start that reads its input again, more often.
    AtLeastOnce,
}

/// Bindings kept in memory where nothing survives: a minute of epochs at the default interval.
const BINDINGS_KEPT: usize = 1200;

impl JobConfig {
    /// A job that publishes exactly once, with the defaults of all else.
    pub fn exactly_once(name: impl Into<String>, state: impl Into<String>) -> Self {
        JobConfig {
            name: name.into(),
            delivery: Delivery::ExactlyOnce,
            state: state.into(),
            snapshot_every: 200,
            snapshot: String::new(),
            drop_state: Vec::new(),
            shards: 1,
            transaction_timeout_ms: TRANSACTION_TIMEOUT_MS,
            replication: 1,
            insync_min: 1,
        }
    }

    /// What is wrong with these options, which are those of `section`.
    pub fn problems(&self, section: &str) -> Vec<OptionProblem> {
        let (replication, insync) = (self.replication, self.insync_min);
        let mut problems = Vec::new();
        if !self.name.is_empty()
            && let Err(error) = Store::check_job(&self.state, &self.name)
        {
            problems.push(OptionProblem::new(format!("{section}.name"), error.to_string()));
        }
        if insync > replication {
            let why = format!("{insync} of `{section}.replication`, {replication}, can never be");
            problems.push(OptionProblem::new(format!("{section}.insync_min"), why));
        }
        problems
    }

    /// What makes a graph of this name durable, as the options say.
    pub fn durability(&self, graph: &str, kafka: &KafkaConfig) -> Arc<dyn Durability> {
        let name = self.name_in(graph);
        match self.delivery {
            Delivery::ExactlyOnce => Arc::new(ExactlyOnce::new(name, self, kafka)),
            Delivery::AtLeastOnce => Arc::new(LogOnly::new(RecentBindings::new(BINDINGS_KEPT))),
        }
    }

    fn name_in<'a>(&'a self, graph: &'a str) -> &'a str {
        if self.name.is_empty() { graph } else { &self.name }
    }

    /// The topics that the first start of a graph of this name makes for itself.
    pub fn own_topics(&self, graph: &str, kafka: &KafkaConfig) -> Vec<String> {
        match self.delivery {
            Delivery::ExactlyOnce => {
                ExactlyOnce::new(self.name_in(graph), self, kafka).own_topics()
            }
            Delivery::AtLeastOnce => Vec::new(),
        }
    }

    pub(crate) fn copies(&self) -> Copies {
        Copies { replication: self.replication, insync_min: self.insync_min }
    }
}
