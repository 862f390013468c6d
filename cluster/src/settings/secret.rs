//! Which options are secrets, and where their values are kept.

use std::ffi::OsString;

/// What stands for a secret wherever it would be printed.
pub(crate) const HIDDEN: &str = "***";

const NAMES: [&str; 10] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "private_key",
    "key.pem",
    "key_pem",
    "jaas",
    "oauthbearer.config",
];

/// Whether a text of this name is a secret even without a marker.
pub(crate) fn by_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

/// Where a secret is kept when its value is a reference: `env:NAME` or `file:PATH`.
pub(crate) fn reference(value: &str) -> Option<Reference<'_>> {
    if let Some(name) = value.strip_prefix("env:") {
        return Some(Reference::Variable(name));
    }
    value.strip_prefix("file:").map(Reference::File)
}

/// A place that holds a secret.
pub(crate) enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
}

impl Reference<'_> {
    /// The secret itself. One line end at the end of a file is not part of it.
    pub(crate) fn read(&self, env: &[(OsString, OsString)]) -> Result<String, String> {
        let text = match self {
            Reference::Variable(name) => {
                let found = env.iter().find(|(key, _)| key == name);
                let (_, value) = found.ok_or(format!("variable `{name}` is not set"))?;
                let value = value.to_str();
                value.ok_or(format!("variable `{name}` is not UTF-8"))?.to_owned()
            }
            Reference::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| format!("file `{path}` cannot be read: {e}"))?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                line.strip_suffix('\r').unwrap_or(line).to_owned()
            }
        };
        match (text.is_empty(), self) {
            (false, _) => Ok(text),
            (true, Reference::Variable(name)) => Err(format!("variable `{name}` is empty")),
            (true, Reference::File(path)) => Err(format!("file `{path}` is empty")),
        }
    }
}
