//! Settings as the structs of the program.

use std::collections::BTreeSet;

use config::{ConfigError, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::layer::{at, at_mut};
use super::load::Settings;
use super::problem::{Problem, Refused};
use super::schema::Lookup;
use super::secret::HIDDEN;

impl Settings {
    /// A section as a struct, whose fields are named as the options.
    ///
    /// # Errors
    /// With every value that the struct refuses.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Refused> {
        self.part(name)
    }

    /// All sections as one struct, whose fields are named as the sections. It takes what it names.
    ///
    /// # Errors
    /// With every value that the struct refuses.
    pub fn all<T: DeserializeOwned>(&self) -> Result<T, Refused> {
        self.part("")
    }

    /// A struct stops at the first value that it refuses. To find the others, that value is put
    /// back to its default and the struct is read again.
    fn part<T: DeserializeOwned>(&self, section: &str) -> Result<T, Refused> {
        let mut root = self.root.clone();
        let mut refused = BTreeSet::new();
        let mut problems = Vec::new();
        loop {
            let path = section.split('.').filter(|p| !p.is_empty());
            let value = at(&root, path).cloned().unwrap_or_default();
            let error = match value.try_deserialize::<T>() {
                Ok(read) if problems.is_empty() => return Ok(read),
                Ok(_) => break,
                Err(error) => error,
            };
            let (path, what) = cause(error);
            let path = path.split('[').next().unwrap_or_default(); // the list, not its item
            let full =
                [section, path].iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>();
            let full = full.join(".");
            let first = refused.insert(full.clone());
            if first {
                problems.push(self.problem(&full, what));
            }
            if !first || !self.reset(&mut root, &full) {
                break;
            }
        }
        Err(self.in_order(problems))
    }

    fn problem(&self, full: &str, what: Cause) -> Problem {
        let (place, key) = (self.place(full), full.to_owned());
        match (what, self.is_secret(full)) {
            (Cause::Type { expected, .. }, true) => {
                Problem::Value { place, key, found: HIDDEN.into(), expected }
            }
            (Cause::Message(_), true) => {
                Problem::Refused { place, key, reason: format!("{HIDDEN} is refused") }
            }
            (Cause::Type { found, expected }, false) => {
                Problem::Value { place, key, found, expected }
            }
            (Cause::Message(reason), false) => Problem::Refused { place, key, reason },
        }
    }

    /// Takes a set value back. False where there is none at this name.
    fn reset(&self, root: &mut Value, full: &str) -> bool {
        let Lookup::Key(key, inside) = self.schema.lookup(full) else { return false };
        let Some(value) = at_mut(root, key.path.split('.')) else { return false };
        match (inside, &mut value.kind) {
            (None, kind) => *kind = key.default.clone(),
            (Some(inside), ValueKind::Table(table)) => drop(table.remove(inside)),
            (Some(_), _) => return false,
        }
        true
    }

    fn in_order(&self, mut problems: Vec<Problem>) -> Refused {
        problems.sort_by_key(|problem| match problem {
            Problem::Refused { key, .. } | Problem::Value { key, .. } => {
                let known = self.schema.keys().position(|known| key.starts_with(&known.path));
                (known, key.clone())
            }
            _ => (None, String::new()),
        });
        Refused(problems)
    }
}

/// Why a struct refuses a value.
enum Cause {
    Type { found: String, expected: String },
    Message(String),
}

/// The path that an error is about, and why, without the library's own wording of where.
fn cause(error: ConfigError) -> (String, Cause) {
    match error {
        ConfigError::Type { unexpected, expected, key, .. } => {
            let (found, expected) = (unexpected.to_string(), expected.to_owned());
            (key.unwrap_or_default(), Cause::Type { found, expected })
        }
        ConfigError::At { error, key, .. } => {
            let (inner, what) = cause(*error);
            (key.filter(|k| !k.is_empty()).unwrap_or(inner), what)
        }
        ConfigError::NotFound(key) => (key, Cause::Message("is in no file of defaults".into())),
        other => (String::new(), Cause::Message(other.to_string())),
    }
}
