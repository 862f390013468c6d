//! The options that exist: read from the files of defaults.

use config::ValueKind;
use toml_edit::{DocumentMut, Item, RawString, Table};

use super::doc::{Doc, Rule, one_of};
use super::kind::{Kind, plain, text, toml};
use super::secret;

/// One option: its name, meaning, default and what it accepts.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its full name, such as `epochs.interval_ms`.
    pub path: String,
    /// The comment above it in the file of defaults.
    pub doc: Doc,
    /// What kind of value it takes.
    pub kind: Kind,
    /// Its value when nobody sets it.
    pub default: ValueKind,
    /// Whether it is printed as `***`.
    pub secret: bool,
    pub(crate) rule: Rule,
}

impl Key {
    /// The default as TOML, and nothing for a table.
    pub fn default_toml(&self) -> Option<String> {
        (self.kind != Kind::Map).then(|| toml(&self.default))
    }

    /// The default as a variable or flag would give it, and nothing for a table.
    pub fn default_text(&self) -> Option<String> {
        (self.kind != Kind::Map).then(|| text(&self.default))
    }

    /// The values it is limited to; empty means any.
    pub fn choices(&self) -> &[String] {
        &self.rule.choices
    }

    /// What the markers say, for the manual: limits, whether processes may differ in it, and how a secret can be
    /// given.
    pub fn notes(&self) -> Vec<String> {
        let limits = self.rule.limits().map(|limits| format!("Allowed: {limits}."));
        let choices = (!self.rule.choices.is_empty())
            .then(|| format!("Allowed: {}.", one_of(self.rule.choices.iter().map(String::as_str))));
        let secret = "Secret: best given as `env:NAME` or `file:PATH`. It prints as `***`.";
        let secret = self.secret.then(|| secret.to_owned());
        let own = self.rule.own.then(|| "Each process of a job may have its own.".to_owned());
        limits.into_iter().chain(choices).chain(own).chain(secret).collect()
    }

    /// The comment to print above it, each line with its `# `.
    pub(crate) fn comment(&self) -> String {
        let notes = self.notes().into_iter().map(|note| format!("# {note}\n"));
        self.doc.comment() + &notes.collect::<String>()
    }

    /// The last part of its name.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

/// A group of options: a table of a file of defaults.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its full name, such as `epochs`.
    pub path: String,
    /// The comment above its header.
    pub doc: Doc,
    /// Its options, in the order of the file.
    pub keys: Vec<Key>,
}

/// Every option of a graph binary.
///
/// Read from files of defaults: TOML, in which each option stands with its default and a comment
/// that is its manual. An empty table takes keys of any name. A comment line can hold a marker:
/// `@secret`, `@own` (each process of a job may have its own), `@choices a | b`, `@min N`, `@max N`.
#[derive(Clone, Debug)]
pub struct Schema {
    sections: Vec<Section>,
}

/// A file of defaults that the program's author must mend.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// No TOML.
    #[error("a file of defaults is not TOML: {0}")]
    Toml(String),
    /// An option without a manual.
    #[error("`{0}` has no comment in the file of defaults")]
    Undocumented(String),
    /// An option in two places.
    #[error("`{0}` has two defaults")]
    Twice(String),
    /// A name that would not survive as a variable or flag.
    #[error("`{0}` is not a name made of a-z, 0-9 and _")]
    Name(String),
    /// A default of no kind we take.
    #[error("the default of `{0}` is not a boolean, number, text, list of those, or empty table")]
    Default(String),
    /// A marker that does not exist, or does not fit.
    #[error("`{key}` has the marker `{marker}`, expected @secret, @own, @choices, @min or @max")]
    Marker {
        /// The option.
        key: String,
        /// The comment line.
        marker: String,
    },
    /// A default that the option's own markers refuse.
    #[error("the default of `{key}` is {found}, expected {expected}")]
    Refused {
        /// The option.
        key: String,
        /// The default.
        found: String,
        /// What the markers ask.
        expected: String,
    },
}

/// What stands at a name.
pub(crate) enum Lookup<'a> {
    /// An option, or a key inside a free-form table (then with its name in there).
    Key(&'a Key, Option<&'a str>),
    /// A table of options.
    Section,
    Nothing,
}

impl Schema {
    /// Reads files of defaults, in this order.
    ///
    /// # Errors
    /// When a file is not TOML, or an option is undocumented, doubled or of no known kind.
    pub fn read(files: &[&str]) -> Result<Schema, SchemaError> {
        let mut schema = Schema { sections: Vec::new() };
        for text in files {
            let document: DocumentMut =
                text.parse().map_err(|e: toml_edit::TomlError| SchemaError::Toml(e.to_string()))?;
            schema.table(document.as_table(), "")?;
        }
        Ok(schema)
    }

    /// The groups of options, in the order of the files.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Every option, in the order of the files.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.sections.iter().flat_map(|s| &s.keys)
    }

    /// The option of this name.
    pub fn key(&self, path: &str) -> Option<&Key> {
        self.keys().find(|k| k.path == path)
    }

    /// What stands at this name.
    pub(crate) fn lookup<'a>(&'a self, path: &'a str) -> Lookup<'a> {
        if let Some(key) = self.key(path) {
            return Lookup::Key(key, None);
        }
        let inside = |k: &&Key| k.kind == Kind::Map && within(&k.path, path).is_some();
        if let Some(map) = self.keys().find(inside) {
            return Lookup::Key(map, within(&map.path, path));
        }
        let holds = |s: &Section| s.path == path || within(path, &s.path).is_some();
        if self.sections.iter().any(holds) { Lookup::Section } else { Lookup::Nothing }
    }

    fn table(&mut self, table: &Table, path: &str) -> Result<(), SchemaError> {
        let mut at = None;
        for (name, item) in table.iter() {
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
                || name.is_empty()
                || name.contains("__")
            {
                return Err(SchemaError::Name(full));
            }
            match item {
                Item::Table(inner) if !inner.is_empty() => self.inner(inner, full)?,
                Item::Table(inner) => {
                    let free = ValueKind::Table(Default::default());
                    let key = key(full, inner.decor().prefix(), free)?;
                    self.add(key, path, &mut at)?;
                }
                Item::Value(value) => {
                    let decor = table.key(name).map(|k| k.leaf_decor());
                    let default = plain(value).ok_or_else(|| SchemaError::Default(full.clone()))?;
                    let key = key(full, decor.and_then(|d| d.prefix()), default)?;
                    self.add(key, path, &mut at)?;
                }
                _ => return Err(SchemaError::Default(full)),
            }
        }
        Ok(())
    }

    fn inner(&mut self, table: &Table, path: String) -> Result<(), SchemaError> {
        if self.sections.iter().any(|s| s.path == path) {
            return Err(SchemaError::Twice(path));
        }
        let doc = Doc::above(table.decor().prefix());
        self.sections.push(Section { path: path.clone(), doc, keys: Vec::new() });
        self.table(table, &path)
    }

    fn add(&mut self, key: Key, section: &str, at: &mut Option<usize>) -> Result<(), SchemaError> {
        if section.is_empty() {
            return Err(SchemaError::Default(key.path)); // an option belongs in a table
        }
        if self.key(&key.path).is_some() {
            return Err(SchemaError::Twice(key.path));
        }
        let position = || self.sections.iter().position(|s| s.path == section);
        let index = at.or_else(position).expect("a table is entered before its keys are added");
        *at = Some(index);
        self.sections[index].keys.push(key);
        Ok(())
    }
}

fn key(path: String, above: Option<&RawString>, default: ValueKind) -> Result<Key, SchemaError> {
    let mut doc = Doc::above(above);
    let rule = doc.take_markers(&path)?;
    if doc.is_empty() {
        return Err(SchemaError::Undocumented(path));
    }
    let Some(kind) = Kind::of(&default) else { return Err(SchemaError::Default(path)) };
    if let Some(expected) = rule.refuses(&default) {
        let found = toml(&default);
        return Err(SchemaError::Refused { key: path, found, expected });
    }
    let name = path.rsplit('.').next().unwrap_or(&path);
    let secret = rule.secret || (kind == Kind::Text && secret::by_name(name));
    Ok(Key { doc, kind, default, secret, rule, path })
}

/// The rest of `path` below `table`.
fn within<'a>(table: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(table)?.strip_prefix('.').filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(file: &str) -> String {
        Schema::read(&[file]).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_file_gives_sections_keys_and_their_comments_in_order() {
        let schema = Schema::read(&["\
            # About a.\n[a]\n# First thing.\n# More.\n#\n# Second paragraph.\nx = 1\n\n\
            # An aside.\n\n# Names a place.\n# @choices p | q\nplace = \"p\"\n\
            # Free.\n[a.free]\n[a.deep]\n# Deep.\nlist = [1.5]\n"])
        .unwrap();
        let paths: Vec<_> = schema.keys().map(|k| k.path.as_str()).collect();
        assert_eq!(paths, ["a.x", "a.place", "a.free", "a.deep.list"]);
        let x = schema.key("a.x").unwrap();
        assert_eq!(x.doc.paragraphs(), ["First thing. More.", "Second paragraph."]);
        assert_eq!(x.doc.summary(), "First thing.");
        assert_eq!(schema.key("a.place").unwrap().doc.paragraphs(), ["Names a place."]);
        assert_eq!(schema.key("a.place").unwrap().choices(), ["p", "q"]);
        assert_eq!(schema.key("a.deep.list").unwrap().kind, Kind::List(Box::new(Kind::Float)));
        assert!(matches!(schema.lookup("a.free.x.y"), Lookup::Key(_, Some("x.y"))));
        assert!(matches!(schema.lookup("a.deep"), Lookup::Section));
        assert!(matches!(schema.lookup("b"), Lookup::Nothing));
    }

    #[test]
    fn an_authors_mistakes_are_named() {
        assert_eq!(refused("[a]\nx = 1\n"), "`a.x` has no comment in the file of defaults");
        assert_eq!(
            Schema::read(&["[a]\n# X.\nx = 1\n", "[a]\n# X.\nx = 1\n"]).unwrap_err(),
            SchemaError::Twice("a".into())
        );
        assert_eq!(
            refused("[a]\n# X.\n\"x y\" = 1"),
            "`a.x y` is not a name made of a-z, 0-9 and _"
        );
        assert_eq!(
            refused("[a]\n# X.\n# @mim 1\nx = 1"),
            "`a.x` has the marker `@mim 1`, expected @secret, @own, @choices, @min or @max"
        );
        assert_eq!(
            refused("[a]\n# X.\n# @min 2\nx = 1"),
            "the default of `a.x` is 1, expected 2 or more"
        );
        assert!(refused("[a]\n# X.\nx = 1979-05-27").starts_with("the default of `a.x` is not"));
        assert!(refused("# X.\nx = 1").starts_with("the default of `x` is not"));
    }
}
