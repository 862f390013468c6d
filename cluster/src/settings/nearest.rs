//! The valid name that a wrong one was meant to be.

use super::doc::one_of;
use super::schema::Schema;

/// Below this likeness (1 is equal) a suggestion would puzzle more than help.
const LIKE_MIN: f64 = 0.6;

/// The end of an error about an unknown name: the nearest valid one, or those that exist there.
/// `write` spells a name as the place does: in a file, as a variable, as a flag.
pub(crate) fn hint(schema: &Schema, wrong: &str, write: impl Fn(&str) -> String) -> String {
    match nearest(schema, wrong) {
        Some(name) => format!(", did you mean `{}`?", write(name)),
        None => format!(", expected {}", one_of(neighbours(schema, wrong).iter().copied())),
    }
}

/// The valid section that a wrong one was meant to be, as the end of an error.
pub(crate) fn section_hint(schema: &Schema, wrong: &str) -> String {
    let names = schema.sections().iter().map(|s| s.path.as_str());
    match best(wrong, names.map(|n| (n, like(wrong, n)))) {
        Some(name) => format!(", did you mean `{name}`?"),
        None => format!(", expected {}", one_of(top(schema).iter().copied())),
    }
}

fn nearest<'a>(schema: &'a Schema, wrong: &str) -> Option<&'a str> {
    let last = wrong.rsplit('.').next().unwrap_or(wrong);
    let scored = schema.keys().map(|key| {
        // A right name in the wrong section is as good as a near miss in the right one.
        let score = like(wrong, &key.path).max(0.9 * like(last, key.name()));
        (key.path.as_str(), score)
    });
    best(wrong, scored)
}

fn best<'a>(wrong: &str, scored: impl Iterator<Item = (&'a str, f64)>) -> Option<&'a str> {
    let mut found: Option<(&str, f64)> = None;
    for (name, score) in scored.filter(|(name, score)| *score >= LIKE_MIN && *name != wrong) {
        if found.is_none_or(|(_, best)| score > best) {
            found = Some((name, score));
        }
    }
    found.map(|(name, _)| name)
}

fn like(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b)
}

/// The options of the section that the wrong name is in, or else the sections.
fn neighbours<'a>(schema: &'a Schema, wrong: &str) -> Vec<&'a str> {
    let section = wrong.rsplit_once('.').map_or("", |(section, _)| section);
    match schema.sections().iter().find(|s| s.path == section) {
        Some(found) => found.keys.iter().map(|k| k.path.as_str()).collect(),
        None => top(schema),
    }
}

fn top(schema: &Schema) -> Vec<&str> {
    schema.sections().iter().map(|s| s.path.as_str()).filter(|p| !p.contains('.')).collect()
}
