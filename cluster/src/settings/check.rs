//! Whether an option takes a value.

use config::ValueKind;

use super::kind::{Kind, found, quoted};
use super::layer::{Entry, scalar};
use super::problem::Problem;
use super::schema::Key;
use super::secret::{self, HIDDEN};

/// The value as the option takes it, or why it does not.
pub(crate) fn accepted(key: &Key, value: ValueKind, place: &str) -> Result<ValueKind, Problem> {
    let shown = if key.secret { HIDDEN.into() } else { found(&value) };
    let Some(value) = key.kind.take(value) else {
        return Err(wrong(key, place, shown, expected(key)));
    };
    match key.rule.refuses(&value) {
        Some(expected) => Err(wrong(key, place, shown, expected)),
        None => Ok(value),
    }
}

/// The value that a variable's or flag's text stands for, or why the option does not take it.
pub(crate) fn parsed(key: &Key, text: &str, place: &str) -> Result<ValueKind, Problem> {
    let shown = || if key.secret { HIDDEN.into() } else { quoted(text) };
    let Some(value) = key.kind.parse(text) else {
        return Err(wrong(key, place, shown(), expected(key)));
    };
    match key.rule.refuses(&value) {
        Some(expected) => Err(wrong(key, place, shown(), expected)),
        None => Ok(value),
    }
}

/// The entry of a free-form table, or why it cannot be one.
pub(crate) fn free(entry: Entry) -> Result<Entry, Problem> {
    let name = entry.name();
    let is_secret = entry.inside.as_deref().is_some_and(secret::by_name);
    let text = matches!(entry.value, ValueKind::String(_));
    if scalar(&entry.value) && (text || !is_secret) {
        return Ok(entry);
    }
    let found = if is_secret { HIDDEN.into() } else { found(&entry.value) };
    let expected = if is_secret { SECRET.into() } else { "a text, number or boolean".into() };
    Err(Problem::Value { place: entry.place, key: name, found, expected })
}

const SECRET: &str = "a text, `env:NAME` or `file:PATH`";

fn expected(key: &Key) -> String {
    if key.secret && key.kind == Kind::Text { SECRET.into() } else { key.kind.expected() }
}

fn wrong(key: &Key, place: &str, found: String, expected: String) -> Problem {
    Problem::Value { place: place.into(), key: key.path.clone(), found, expected }
}
