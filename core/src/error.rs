//! What a failure asks the person to do, and the error of building a graph.

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Fix the configuration or the call; trying again will not help.
    Invalid,
    /// Something outside is not there; try again later.
    Unavailable,
    /// The process cannot go on; start it again.
    Fatal,
    /// Another start of the job goes on in place of this one; do not start this one again.
    Superseded,
}

/// A graph that cannot be built, or a part of it that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("`{operator}`: {source}")]
pub struct BuildError {
    /// The name of the source, operator or sink.
    pub operator: String,
    /// What to do about it.
    pub kind: ErrorKind,
    /// What is wrong.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl BuildError {
    /// An error of the named part that the configuration or the graph's code must mend.
    pub fn invalid(
        operator: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        BuildError { operator: operator.into(), kind: ErrorKind::Invalid, source: source.into() }
    }
}

/// An option that cannot be used, or not together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionProblem {
    /// The option with its section, as in `kafka.brokers`.
    pub key: String,
    /// Expected and found.
    pub reason: String,
}

impl OptionProblem {
    /// A problem with this option.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        OptionProblem { key: key.into(), reason: reason.into() }
    }
}
