//! A configuration file as a layer of settings.

use std::collections::BTreeSet;
use std::path::Path;

use config::ValueKind;
use toml_edit::{Document, Item, Key as TomlKey, TableLike, Value as TomlValue};

use super::check::{accepted, free};
use super::kind::{found, plain};
use super::layer::{Entry, Layer};
use super::nearest;
use super::problem::Problem;
use super::schema::{Key, Lookup, Schema};

/// Reads a TOML file. What is wrong with it goes to `problems`, the rest into the layer.
pub(crate) fn read(schema: &Schema, path: &Path, problems: &mut Vec<Problem>) -> Layer {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => {
            problems.push(Problem::Unreadable { place: name, reason: e.to_string() });
            return Layer::default();
        }
    };
    let document = match Document::parse(text.as_str()) {
        Ok(document) => document,
        Err(e) => {
            // Its `Display` quotes the line, which may hold a secret.
            let (line, column) = position(&text, e.span().map_or(0, |s| s.start));
            let place = format!("{name}:{line}:{column}");
            problems.push(Problem::Syntax { place, reason: e.message().replace('\n', ", ") });
            return Layer::default();
        }
    };
    let mut reader = Reader { schema, name, text: &text, problems, layer: Layer::default() };
    reader.table(document.as_table(), "");
    reader.layer
}

struct Reader<'a> {
    schema: &'a Schema,
    name: String,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
    layer: Layer,
}

impl Reader<'_> {
    fn place(&self, key: &TomlKey) -> String {
        let (line, _) = position(self.text, key.span().map_or(0, |s| s.start));
        format!("{}:{line}", self.name)
    }

    fn table(&mut self, table: &dyn TableLike, path: &str) {
        for (name, item) in table.iter() {
            let Some((written, _)) = table.get_key_value(name) else { continue };
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match (self.schema.lookup(&full), item.as_table_like()) {
                (Lookup::Section, Some(inner)) => self.table(inner, &full),
                (Lookup::Section, None) => {
                    let (place, found) = (self.place(written), item_found(item));
                    let expected = "a table".into();
                    self.problems.push(Problem::Value { place, key: full, found, expected });
                }
                (Lookup::Key(key, None), Some(inner)) if key.kind == super::Kind::Map => {
                    self.free(key, inner, "", &mut BTreeSet::new());
                }
                (Lookup::Key(key, _), _) => self.value(key, written, item),
                (Lookup::Nothing, inner) => self.unknown(written, full, inner.is_some()),
            }
        }
    }

    fn value(&mut self, key: &Key, written: &TomlKey, item: &Item) {
        let place = self.place(written);
        match accepted(key, item_value(item), &place) {
            Ok(value) => {
                self.layer.0.push(Entry { key: key.path.clone(), inside: None, value, place });
            }
            Err(problem) => self.problems.push(problem),
        }
    }

    /// A free-form table. Dots in its names and tables in it are the same: TOML reads `a.b = 1` so.
    fn free(&mut self, key: &Key, table: &dyn TableLike, above: &str, seen: &mut BTreeSet<String>) {
        for (name, item) in table.iter() {
            let Some((written, _)) = table.get_key_value(name) else { continue };
            let inside = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
            if let Some(inner) = item.as_table_like() {
                self.free(key, inner, &inside, seen);
                continue;
            }
            let place = self.place(written);
            let value = item_value(item);
            let entry = Entry { key: key.path.clone(), inside: Some(inside.clone()), value, place };
            if !seen.insert(inside) {
                self.problems.push(Problem::Twice { key: entry.name(), place: entry.place });
            } else {
                match free(entry) {
                    Ok(entry) => self.layer.0.push(entry),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
    }

    fn unknown(&mut self, written: &TomlKey, key: String, table: bool) {
        let place = self.place(written);
        self.problems.push(if table {
            let hint = nearest::section_hint(self.schema, &key);
            Problem::Unknown { place, what: "section", key, hint }
        } else {
            let hint = nearest::hint(self.schema, &key, str::to_owned);
            Problem::Unknown { place, what: "key", key, hint }
        });
    }
}

/// A setting, with `Nil` for what is none: a date.
fn item_value(item: &Item) -> ValueKind {
    match item {
        Item::Value(TomlValue::InlineTable(_)) | Item::Table(_) => {
            ValueKind::Table(Default::default())
        }
        Item::Value(value) => plain(value).unwrap_or_default(),
        Item::ArrayOfTables(_) => ValueKind::Array(Vec::new()),
        Item::None => ValueKind::Nil,
    }
}

fn item_found(item: &Item) -> String {
    match item_value(item) {
        // Where a section is expected, a text may be a secret in the wrong place.
        ValueKind::String(_) => "a text".into(),
        ValueKind::Array(_) => "a list".into(),
        value => found(&value),
    }
}

/// Line and column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}
