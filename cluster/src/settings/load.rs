//! Laying the defaults, the file, the variables and the flags over each other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use config::{Config, Value, ValueKind};

use super::file;
use super::kind::Kind;
use super::layer::{Entry, Layer, at};
use super::problem::{Problem, Refused};
use super::schema::{Key, Lookup, Schema};
use super::secret;
use super::texts;

/// Where settings come from, besides the defaults.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Environment variables: those that are settings, and those that `env:NAME` may name.
    pub env: Vec<(OsString, OsString)>,
    /// Flags, as names without `--` and values.
    pub flags: Vec<(String, String)>,
}

impl Inputs {
    /// This process's environment, without file and flags.
    pub fn of_process() -> Inputs {
        Inputs { env: std::env::vars_os().collect(), ..Inputs::default() }
    }
}

/// The effective settings of a process.
///
/// `Debug` shows no values: some are secrets. To print them there is [`Settings::toml`].
#[derive(Clone)]
pub struct Settings {
    pub(super) schema: Schema,
    /// The tree that sections are read from, secrets in the clear.
    pub(super) root: Value,
    /// Secrets given by reference: name, and where the value is kept.
    pub(super) references: BTreeMap<String, String>,
}

impl Settings {
    /// Reads all inputs. What is wrong comes back beside the settings, in which a wrong value is
    /// left out, so that later checks can add what they find.
    pub fn read(schema: Schema, inputs: &Inputs) -> (Settings, Vec<Problem>) {
        let mut problems = Vec::new();
        let file = inputs.file.as_deref().map(|path| file::read(&schema, path, &mut problems));
        let layers = [
            Layer::defaults(&schema),
            file.unwrap_or_default(),
            texts::variables(&schema, &inputs.env, &mut problems),
            texts::flags(&schema, &inputs.flags, &mut problems),
        ];
        let root = merged(layers.clone());
        let mut settings = Settings { schema, root, references: BTreeMap::new() };
        let resolved = settings.resolve(inputs, &mut problems);
        let [defaults, file, variables, flags] = layers;
        settings.root = merged([defaults, file, variables, flags, resolved]);
        (settings, problems)
    }

    /// Reads all inputs.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load(schema: Schema, inputs: &Inputs) -> Result<Settings, Refused> {
        let (settings, problems) = Settings::read(schema, inputs);
        Refused::if_any(problems)?;
        Ok(settings)
    }

    /// The options that exist.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where the value of an option comes from: `default`, a file and line, a variable or a flag.
    /// A section comes from `settings`.
    pub fn place(&self, key: &str) -> String {
        let value = match self.schema.lookup(key) {
            Lookup::Section | Lookup::Nothing => return "settings".into(),
            Lookup::Key(map, Some(inside)) => self.entries(map).get(inside).copied(),
            _ => at(&self.root, key.split('.')),
        };
        value.and_then(Value::origin).unwrap_or("default").into()
    }

    /// Whether the value of an option is printed as `***`.
    pub fn is_secret(&self, key: &str) -> bool {
        match self.schema.lookup(key) {
            Lookup::Key(_, Some(inside)) => secret::by_name(inside),
            Lookup::Key(key, None) => key.secret,
            _ => false,
        }
    }

    /// A problem with the value of an option, or with a section, found by the part that uses it.
    pub fn refuse(&self, key: &str, reason: impl fmt::Display) -> Problem {
        let (place, mut reason) = (self.place(key), reason.to_string());
        if place == "default" {
            reason += &format!(" (`--{key}`, or `{}`)", texts::variable(key));
        }
        Problem::Refused { place, key: key.into(), reason }
    }

    /// The values that were set, without the defaults: how many, for a log line.
    pub fn set_count(&self) -> usize {
        let set = |value: &Value| value.origin().is_some_and(|place| place != "default");
        let keys = self.schema.keys().filter_map(|key| at(&self.root, key.path.split('.')));
        keys.map(|value| match &value.kind {
            ValueKind::Table(table) => table.len(),
            _ => usize::from(set(value)),
        })
        .sum()
    }

    /// The entries of a free-form table, by name.
    pub(super) fn entries<'a>(&'a self, key: &Key) -> BTreeMap<&'a str, &'a Value> {
        match at(&self.root, key.path.split('.')).map(|v| &v.kind) {
            Some(ValueKind::Table(table)) => table.iter().map(|(k, v)| (k.as_str(), v)).collect(),
            _ => BTreeMap::new(),
        }
    }

    /// The secrets that are given by reference, with their values.
    fn resolve(&mut self, inputs: &Inputs, problems: &mut Vec<Problem>) -> Layer {
        let mut layer = Layer::default();
        let mut references = BTreeMap::new();
        for entry in self.secrets() {
            let ValueKind::String(text) = &entry.value else { continue };
            let Some(reference) = secret::reference(text) else { continue };
            match reference.read(&inputs.env) {
                Ok(value) => {
                    references.insert(entry.name(), text.clone());
                    layer.0.push(Entry { value: ValueKind::String(value), ..entry });
                }
                Err(reason) => {
                    let (place, key) = (entry.place.clone(), entry.name());
                    problems.push(Problem::Refused { place, key, reason });
                }
            }
        }
        self.references = references;
        layer
    }

    /// Every secret, as it is set.
    fn secrets(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        for key in self.schema.keys() {
            let entry = |inside: Option<&str>, value: &Value| Entry {
                key: key.path.clone(),
                inside: inside.map(str::to_owned),
                value: value.kind.clone(),
                place: value.origin().unwrap_or("default").into(),
            };
            if key.kind == Kind::Map {
                let secrets =
                    self.entries(key).into_iter().filter(|(name, _)| secret::by_name(name));
                found.extend(secrets.map(|(name, value)| entry(Some(name), value)));
            } else if key.secret {
                found.extend(at(&self.root, key.path.split('.')).map(|value| entry(None, value)));
            }
        }
        found
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({} set)", self.set_count())
    }
}

fn merged(layers: impl IntoIterator<Item = Layer>) -> Value {
    let builder = layers.into_iter().fold(Config::builder(), |b, layer| b.add_source(layer));
    builder.build().expect("layers of checked values have nothing left to refuse").cache
}
