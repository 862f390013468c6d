//! Names of models in a registry.

use std::fmt;
use std::str::FromStr;

/// A model in a registry: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
///
/// ```
/// use tideflow_models::{ModelUri, WhichVersion};
/// let uri: ModelUri = "models:/health@champion".parse().unwrap();
/// assert_eq!((uri.name.as_str(), uri.which), ("health", WhichVersion::Alias("champion".to_string())));
/// assert!("models:/health".parse::<ModelUri>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUri {
    /// The registered model.
    pub name: String,
    /// Which of its versions.
    pub which: WhichVersion,
}

/// A version of a registered model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichVersion {
    /// That which this alias names: it may move.
    Alias(String),
    /// This one.
    Version(String),
}

/// A text that names no model in a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `models:/NAME@ALIAS` or `models:/NAME/VERSION`, found `{0}`")]
pub struct NoModelUri(String);

impl ModelUri {
    /// Whether a text is meant to be one.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// What a person means who says which model: `NAME/VERSION` is a version in the registry, unless there is
    /// such a folder. All else is as it is.
    ///
    /// ```
    /// use tideflow_models::ModelUri;
    /// assert_eq!(ModelUri::meant_by("health/8"), "models:/health/8");
    /// assert_eq!(ModelUri::meant_by("/srv/health"), "/srv/health");
    /// ```
    pub fn meant_by(text: &str) -> String {
        let uri = format!("{SCHEME}/{text}");
        let is_version = |uri: &ModelUri| match &uri.which {
            WhichVersion::Alias(_) => false,
            WhichVersion::Version(version) => is_number(version),
        };
        match uri.parse().ok().filter(is_version) {
            Some(_) if !std::path::Path::new(text).exists() => uri,
            _ => text.to_string(),
        }
    }
}

const SCHEME: &str = "models:";

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

impl FromStr for ModelUri {
    type Err = NoModelUri;

    fn from_str(text: &str) -> Result<Self, NoModelUri> {
        let parse = || {
            let rest = text.strip_prefix(SCHEME)?.strip_prefix('/')?;
            let plain = |part: &str| !part.is_empty() && !part.contains(['/', '@', ':']);
            let uri = |(name, which): (&str, &str), of: fn(String) -> WhichVersion| {
                let well = plain(name) && plain(which);
                well.then(|| ModelUri { name: name.to_string(), which: of(which.to_string()) })
            };
            match (rest.split_once('@'), rest.split_once('/')) {
                (Some(parts), None) => uri(parts, WhichVersion::Alias),
                (None, Some(parts)) => uri(parts, WhichVersion::Version),
                _ => None,
            }
        };
        parse().ok_or_else(|| NoModelUri(text.to_string()))
    }
}

impl fmt::Display for ModelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            WhichVersion::Alias(alias) => write!(f, "models:/{}@{alias}", self.name),
            WhichVersion::Version(version) => write!(f, "models:/{}/{version}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["models:/health@champion", "models:/pump anomalies/12"] {
            assert_eq!(text.parse::<ModelUri>().expect("it is one").to_string(), text);
        }
    }

    #[test]
    fn fault_what_names_no_version_or_alias_is_refused() {
        for text in [
            "models:/",
            "models:/a",
            "models:/a@",
            "models:/a/",
            "models:/@b",
            "models:/a/b/c",
            "models:/a@b/c",
            "models:a@b",
            "models://a@b",
        ] {
            let told = text.parse::<ModelUri>().expect_err("it names none").to_string();
            assert!(told.ends_with(&format!("found `{text}`")), "{told}");
        }
    }
}
