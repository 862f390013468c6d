//! Settings as commented TOML, for a person to read or to start a file from.

use std::collections::BTreeMap;
use std::fmt::Write;

use config::{Value, ValueKind};

use super::kind::{Kind, toml};
use super::layer::at;
use super::load::Settings;
use super::schema::{Key, Schema, Section};
use super::secret::{self, HIDDEN};

impl Schema {
    /// Every option with its default, in TOML with comments: a file to start from.
    pub fn toml(&self) -> String {
        let lines = |key: &Key| match key.default_toml() {
            Some(default) => format!("{} = {default}\n", key.name()),
            None => String::new(),
        };
        document(self, lines)
    }
}

impl Settings {
    /// The effective settings in TOML with comments. What is not a default says where it comes
    /// from; secrets are `***`.
    pub fn toml(&self) -> String {
        document(&self.schema, |key| {
            if key.kind == Kind::Map {
                let entries = self.entries(key).into_iter();
                return entries.map(|(name, value)| self.line(key, Some(name), value)).collect();
            }
            let value = at(&self.root, key.path.split('.'));
            value.map_or_else(String::new, |value| self.line(key, None, value))
        })
    }

    /// The settings that all processes of a job must share, as text: of a secret only whether it is set.
    pub fn shared(&self) -> BTreeMap<String, String> {
        let mut shared = BTreeMap::new();
        for key in self.schema.keys().filter(|key| !key.rule.own) {
            if key.kind == Kind::Map {
                let entries = self.entries(key).into_iter();
                shared.extend(entries.map(|(name, value)| {
                    let shown = shown(secret::by_name(name), value);
                    (format!("{}.{name}", key.path), shown)
                }));
            } else if let Some(value) = at(&self.root, key.path.split('.')) {
                shared.insert(key.path.clone(), shown(key.secret, value));
            }
        }
        shared
    }

    fn line(&self, key: &Key, inside: Option<&str>, value: &Value) -> String {
        let full = inside.map_or_else(|| key.path.clone(), |i| format!("{}.{i}", key.path));
        let name = inside.map_or_else(|| key.name().into(), quoted_key);
        let hidden = inside.map_or(key.secret, secret::by_name);
        let shown = shown(hidden, value);
        let from = match (value.origin(), self.references.get(&full)) {
            (None | Some("default"), _) => String::new(),
            (Some(place), None) => format!("  # {place}"),
            (Some(place), Some(reference)) => format!("  # {place}, as {reference}"),
        };
        format!("{name} = {shown}{from}\n")
    }
}

/// A value as TOML; of a secret that is set, `"***"`.
fn shown(secret: bool, value: &Value) -> String {
    let set = !matches!(&value.kind, ValueKind::String(text) if text.is_empty());
    if secret && set { toml(&HIDDEN.into()) } else { toml(&value.kind) }
}

fn document(schema: &Schema, lines: impl Fn(&Key) -> String) -> String {
    let mut out = String::new();
    for section in schema.sections().iter().filter(|s| !s.keys.is_empty()) {
        write_section(&mut out, section, &lines);
    }
    out
}

fn write_section(out: &mut String, section: &Section, lines: &impl Fn(&Key) -> String) {
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{}[{}]", section.doc.comment(), section.path);
    for (i, key) in section.keys.iter().enumerate() {
        let blank = if i > 0 || key.kind == Kind::Map { "\n" } else { "" };
        let header = match key.kind {
            Kind::Map => format!("[{}]\n", key.path),
            _ => String::new(),
        };
        let _ = write!(out, "{blank}{}{header}{}", key.comment(), lines(key));
    }
}

/// A key as TOML writes it: bare where that is allowed.
fn quoted_key(name: &str) -> String {
    toml_edit::Key::new(name).default_repr().as_raw().as_str().unwrap_or(name).into()
}
