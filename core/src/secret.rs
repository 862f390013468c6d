//! Passwords and tokens that never reach a log, a page or a file of ours.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MASK: &str = "***";

/// A password or token. `Debug`, `Display` and `Serialize` give `***`; [`Secret::reveal`] gives
/// the text.
///
/// In a configuration it is text (`sasl_password = "…"`), or says where the text is kept:
/// `env:NAME` or `file:PATH`. The settings of a graph's binary look there; what is read here is the
/// text itself.
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
        deserializer.deserialize_any(Text)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the secret's text")
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
    fn a_secret_is_read_from_text_or_digits() {
        for (json, text) in [("\"hunter2\"", "hunter2"), ("1234", "1234")] {
            let secret: Secret = serde_json::from_str(json).unwrap();
            assert_eq!(secret.reveal(), text);
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_without_showing_it() {
        let error = serde_json::from_str::<Secret>("12.5").unwrap_err().to_string();
        assert!(error.contains("must be written in quotes") && !error.contains("12.5"), "{error}");
        let error = serde_json::from_str::<Secret>(r#"{"file": "hunter2"}"#).unwrap_err();
        let error = error.to_string();
        let expected = "invalid type: map, expected the secret's text";
        assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
    }
}
