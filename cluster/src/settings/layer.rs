//! One layer of settings, as the `config` crate takes it.

use std::fmt;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::schema::Schema;

/// A value that one place sets.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The option's full name.
    pub key: String,
    /// The name inside the option's table, where that is free-form.
    pub inside: Option<String>,
    pub value: ValueKind,
    /// File and line, variable or flag.
    pub place: String,
}

impl Entry {
    /// The full name, free-form part included.
    pub(crate) fn name(&self) -> String {
        match &self.inside {
            Some(inside) => format!("{}.{inside}", self.key),
            None => self.key.clone(),
        }
    }
}

/// Everything that one place sets.
#[derive(Clone, Default)]
pub(crate) struct Layer(pub Vec<Entry>);

impl Layer {
    /// The defaults.
    pub(crate) fn defaults(schema: &Schema) -> Layer {
        let entries = schema.keys().map(|key| Entry {
            key: key.path.clone(),
            inside: None,
            value: key.default.clone(),
            place: "default".into(),
        });
        Layer(entries.collect())
    }
}

// Values may be secrets.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({} values)", self.0.len())
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut root = Map::new();
        for entry in &self.0 {
            let mut parts: Vec<&str> = entry.key.split('.').collect();
            parts.extend(entry.inside.as_deref());
            let value = Value::new(Some(&entry.place), entry.value.clone());
            put(&mut root, &parts, value);
        }
        Ok(root)
    }
}

fn put(table: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert((*name).into(), value);
        }
        [name, rest @ ..] => {
            let empty = || Value::new(None, ValueKind::Table(Map::new()));
            let inner = table.entry((*name).into()).or_insert_with(empty);
            if let ValueKind::Table(inner) = &mut inner.kind {
                put(inner, rest, value);
            }
        }
    }
}

/// The value at a path of a tree.
pub(crate) fn at<'a, 'p>(
    root: &'a Value,
    path: impl IntoIterator<Item = &'p str>,
) -> Option<&'a Value> {
    path.into_iter().try_fold(root, |value, name| match &value.kind {
        ValueKind::Table(table) => table.get(name),
        _ => None,
    })
}

/// The value at a path of a tree, to change it.
pub(crate) fn at_mut<'a, 'p>(
    root: &'a mut Value,
    path: impl IntoIterator<Item = &'p str>,
) -> Option<&'a mut Value> {
    path.into_iter().try_fold(root, |value, name| match &mut value.kind {
        ValueKind::Table(table) => table.get_mut(name),
        _ => None,
    })
}

/// Whether a value may stand in a free-form table.
pub(crate) fn scalar(value: &ValueKind) -> bool {
    use ValueKind::{Boolean, Float, I64, String};
    matches!(value, Boolean(_) | I64(_) | Float(_) | String(_))
}
