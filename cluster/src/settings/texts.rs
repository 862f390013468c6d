//! Environment variables and flags as layers of settings: their values are texts.

use std::ffi::OsString;

use config::ValueKind;

use super::check::{free, parsed};
use super::kind::Kind;
use super::layer::{Entry, Layer};
use super::nearest;
use super::problem::Problem;
use super::schema::{Lookup, Schema};

/// Variables that start so are settings; `__` parts the section from the option.
pub const ENV_PREFIX: &str = "TIDEFLOW__";

/// The name of an option's environment variable.
pub fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Reads the variables that are settings, in the order of their names.
pub(crate) fn variables(
    schema: &Schema,
    env: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut ours: Vec<_> = env
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?, value)))
        .filter_map(|(name, value)| Some((name, name.strip_prefix(ENV_PREFIX)?, value)))
        .collect();
    ours.sort();
    let mut layer = Layer::default();
    for (name, path, value) in ours {
        let place = format!("variable `{name}`");
        let key = path.to_lowercase().replace("__", ".");
        let Some(text) = value.to_str() else {
            problems.push(Problem::Refused { place, key, reason: "is not UTF-8".into() });
            continue;
        };
        match entry(schema, &key, text, place, variable) {
            Ok(entry) => layer.0.push(entry),
            Err(problem) => problems.push(problem),
        }
    }
    layer
}

/// Reads flags, given as names without `--` and values. The last of a name counts.
pub(crate) fn flags(
    schema: &Schema,
    flags: &[(String, String)],
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::default();
    for (name, text) in flags {
        let place = format!("flag `--{name}`");
        match entry(schema, name, text, place, |key| format!("--{key}")) {
            Ok(entry) => layer.0.push(entry),
            Err(problem) => problems.push(problem),
        }
    }
    layer
}

fn entry(
    schema: &Schema,
    name: &str,
    text: &str,
    place: String,
    write: impl Fn(&str) -> String,
) -> Result<Entry, Problem> {
    match schema.lookup(name) {
        Lookup::Key(key, Some(inside)) => {
            let value = ValueKind::String(text.into());
            free(Entry { key: key.path.clone(), inside: Some(inside.into()), value, place })
        }
        Lookup::Key(key, None) if key.kind == Kind::Map => {
            let expected = format!("a name after it, as in `{}`", write(&format!("{name}.NAME")));
            Err(Problem::Value { place, key: name.into(), found: "a table".into(), expected })
        }
        Lookup::Key(key, None) => {
            let value = parsed(key, text, &place)?;
            Ok(Entry { key: key.path.clone(), inside: None, value, place })
        }
        Lookup::Section => {
            let option = schema.keys().find(|key| key.path.starts_with(&format!("{name}.")));
            let option = option.map_or_else(String::new, |key| write(&key.path));
            let expected = format!("an option in it, such as `{option}`");
            Err(Problem::Value { place, key: name.into(), found: "a section".into(), expected })
        }
        Lookup::Nothing => {
            let hint = nearest::hint(schema, name, write);
            Err(Problem::Unknown { place, what: "key", key: name.into(), hint })
        }
    }
}
