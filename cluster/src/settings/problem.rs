//! What is wrong with a configuration. Never holds a secret's value.

use std::fmt;

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that cannot be read.
    #[error("{place}: cannot be read: {reason}")]
    Unreadable {
        /// The file.
        place: String,
        /// The operating system's words.
        reason: String,
    },
    /// A file that is not TOML.
    #[error("{place}: not TOML: {reason}")]
    Syntax {
        /// File, line and column.
        place: String,
        /// The parser's words.
        reason: String,
    },
    /// An option that does not exist.
    #[error("{place}: unknown {what} `{key}`{hint}")]
    Unknown {
        /// File and line, variable or flag.
        place: String,
        /// `key` or `section`.
        what: &'static str,
        /// As it was written.
        key: String,
        /// `, did you mean …?` or `, expected …`.
        hint: String,
    },
    /// The same option twice in one place.
    #[error("{place}: `{key}` is set twice")]
    Twice {
        /// File and line.
        place: String,
        /// The option.
        key: String,
    },
    /// A value of the wrong kind, or outside what is allowed.
    #[error("{place}: `{key}` is {found}, expected {expected}")]
    Value {
        /// File and line, variable, flag or `default`.
        place: String,
        /// The option.
        key: String,
        /// What stands there; `***` for a secret.
        found: String,
        /// What could stand there.
        expected: String,
    },
    /// A value that the part it is for refuses, or a reference that leads nowhere.
    #[error("{place}: `{key}`: {reason}")]
    Refused {
        /// File and line, variable, flag or `default`.
        place: String,
        /// The option.
        key: String,
        /// That part's words.
        reason: String,
    },
    /// A flag without its value.
    #[error("{place}: needs a value")]
    NoValue {
        /// The flag.
        place: String,
    },
}

/// A configuration that is refused, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Vec<Problem>);

impl Refused {
    /// The problems, or nothing where there are none.
    pub fn if_any(problems: Vec<Problem>) -> Result<(), Refused> {
        if problems.is_empty() { Ok(()) } else { Err(Refused(problems)) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "configuration refused: {one}"),
            many => {
                write!(f, "configuration refused, {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Refused {}
