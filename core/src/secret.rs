//! Passwords and tokens that never reach a log, a page or a file of ours.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MASK: &str = "***";

/// A password or token. `Debug`, `Display` and `Serialize` give `***`; [`Secret::reveal`] gives the text.
///
/// In a configuration it is either the text itself (`sasl_password = "…"`, or the option's
/// environment variable) or a file that holds it: `sasl_password = { file = "/run/secrets/kafka" }`.
/// The file is read when the configuration is; one line end after the text is dropped.
///
/// ```
/// let secret = tideflow_core::Secret::new("hunter2");
/// assert_eq!(format!("{secret} {secret:?}"), "*** ***");
/// assert_eq!(secret.reveal(), "hunter2");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself: for the library that needs it, never for a message.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True where none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrFile)
    }
}

struct TextOrFile;

impl<'de> Visitor<'de> for TextOrFile {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret's text or { file = \"path\" }")
    }

    // Serde's own "invalid type" message quotes the value, so a password of digits only
    // (`sasl_password = 1234`) is taken as text instead of being shown.
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Secret, E> {
        Ok(Secret(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Secret, E> {
        Ok(Secret(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
        Err(E::custom("a secret that looks like a number must be written in quotes"))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Secret, E> {
        Ok(Secret(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        let mut file: Option<PathBuf> = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "file" => file = Some(map.next_value()?),
                other => return Err(de::Error::unknown_field(other, &["file"])),
            }
        }
        let path = file.ok_or_else(|| de::Error::missing_field("file"))?;
        let text = std::fs::read_to_string(&path).map_err(|error| {
            de::Error::custom(format!("reading the secret file `{}`: {error}", path.display()))
        })?;
        let line =
            text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
        Ok(Secret(line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_text() {
        let secret = Secret::new("hunter2");
        let all = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(all, "*** *** \"***\"");
    }

    #[test]
    fn a_secret_is_read_from_text_digits_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "from file\r\n").unwrap();
        let by_file = format!("{{\"file\": {path:?}}}");
        for (json, text) in
            [("\"hunter2\"", "hunter2"), ("1234", "1234"), (by_file.as_str(), "from file")]
        {
            let secret: Secret = serde_json::from_str(json).unwrap();
            assert_eq!(secret.reveal(), text);
        }
    }

    #[test]
    fn a_missing_secret_file_is_named_and_an_unknown_key_refused() {
        let error = serde_json::from_str::<Secret>(r#"{"file": "/no/such"}"#).unwrap_err();
        assert!(error.to_string().contains("`/no/such`"), "{error}");
        let error = serde_json::from_str::<Secret>(r#"{"path": "/no/such"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `path`"), "{error}");
    }
}
