//! What a job has kept, as people look at it: the form of each operator's state, dead letters, and what
//! they may ask of both.

use std::io::Write;

use crate::{BuildError, GroupState};

/// Takes a key and what is kept of it, both as JSON.
pub type Show<'a> = dyn FnMut(&str, &str) + 'a;

/// The form in which an operator's state lies in snapshots.
#[derive(Clone, Debug)]
pub struct StateForm {
    /// The operator's name.
    pub operator: String,
    /// The version of the form that it writes; it reads earlier ones too.
    pub version: u32,
    /// What the state means beside its form: [`crate::Stateful::meaning`].
    pub meaning: String,
    show: fn(u32, &[u8], &mut Show<'_>) -> Result<(), String>,
}

impl StateForm {
    /// That of an operator which keeps `S`.
    pub fn of<S: GroupState>(operator: &str) -> Self {
        let show = |version, bytes: &[u8], each: &mut Show<'_>| {
            S::decode(version, bytes)?.show(each);
            Ok(())
        };
        let (operator, meaning) = (operator.to_string(), String::new());
        StateForm { operator, version: S::VERSION, meaning, show }
    }

    /// The same form of a state with this meaning.
    #[must_use]
    pub fn meaning(self, meaning: String) -> Self {
        StateForm { meaning, ..self }
    }

    /// Reads a key group's state, stored in the form of `version`, and shows what is in it.
    ///
    /// # Errors
    /// What was expected of the bytes, and found.
    pub fn show(&self, version: u32, bytes: &[u8], each: &mut Show<'_>) -> Result<(), String> {
        (self.show)(version, bytes, each)
    }
}

/// What can be asked of the state that a job has kept. A snapshot is the one that the next start goes on
/// from, unless it is named: by its manifest, or as a savepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateRequest {
    /// Which snapshots there are.
    List,
    /// What a snapshot holds.
    Show {
        /// Which one.
        snapshot: Option<String>,
    },
    /// Whether all of a snapshot is there, undamaged, and can be read by this graph.
    Verify {
        /// Which one; none: all of them.
        snapshot: Option<String>,
    },
    /// What no snapshot needs, and to remove it.
    Collect {
        /// To remove nothing.
        dry_run: bool,
    },
    /// What is kept of each key, or of one, as JSON lines.
    Export {
        /// Which snapshot.
        snapshot: Option<String>,
        /// Of one operator.
        operator: Option<String>,
        /// Of one key.
        key: Option<String>,
    },
    /// To keep a snapshot under a name, until it is dropped.
    Savepoint {
        /// The name.
        name: String,
        /// Which snapshot.
        snapshot: Option<String>,
    },
    /// To keep a savepoint no longer.
    Drop {
        /// Its name.
        savepoint: String,
    },
    /// To make another job that goes on from a snapshot of this one.
    Fork {
        /// The other job's name.
        job: String,
        /// Which snapshot.
        snapshot: Option<String>,
    },
}

/// Where dead letters are kept.
pub trait DeadLetters {
    /// Does what was asked, and writes the answer as text.
    ///
    /// # Errors
    /// When it cannot be done.
    fn answer(&self, request: &RejectsRequest, out: &mut dyn Write) -> Result<(), BuildError>;
}

/// What can be asked of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectsRequest {
    /// Those that were not sent back yet, a JSON object each.
    List {
        /// With this error only: one of [`Reason`](crate::Reason)'s names.
        error: Option<String>,
        /// Those that were sent back too.
        all: bool,
    },
    /// To send those that were not sent back yet to where they came from, each once.
    Replay {
        /// Those that were sent back too.
        all: bool,
    },
}
