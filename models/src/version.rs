//! Which version of a model it is, and where versions come from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tideflow_core::Key;

use crate::{Model, ModelLoadError, Signature};

/// A version of a model: equal ones give equal scores.
///
/// ```
/// use tideflow_models::VersionId;
/// let text = "4f2a:256:health/7";
/// let id: VersionId = text.parse().unwrap();
/// assert_eq!((id.name.as_str(), id.version.as_str(), id.batch_rows), ("health", "7", 256));
/// assert_eq!(id.to_string(), text);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionId {
    /// The model's name.
    pub name: String,
    /// Its version: in a registry, the registry's.
    pub version: String,
    /// The digest of its files.
    pub digest: String,
    /// Rows that every call is padded to.
    pub batch_rows: usize,
}

impl VersionId {
    /// That of a model by itself.
    pub fn of(signature: &Signature) -> Self {
        VersionId {
            name: signature.name.clone(),
            version: signature.version.clone(),
            digest: signature.digest.clone(),
            batch_rows: signature.batch_rows,
        }
    }
}

/// By its text.
impl Key for VersionId {
    fn stable_hash(&self) -> u64 {
        self.to_string().stable_hash()
    }

    fn heap_bytes(&self) -> usize {
        self.name.capacity() + self.version.capacity() + self.digest.capacity()
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VersionId { name, version, digest, batch_rows } = self;
        write!(f, "{digest}:{batch_rows}:{name}/{version}")
    }
}

/// A text that names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a model version as DIGEST:ROWS:NAME/VERSION, found `{0}`")]
pub struct NoVersion(String);

impl FromStr for VersionId {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let parse = || {
            let (digest, rest) = text.split_once(':')?;
            let (rows, rest) = rest.split_once(':')?;
            let (name, version) = rest.rsplit_once('/')?;
            Some(VersionId {
                name: name.to_string(),
                version: version.to_string(),
                digest: digest.to_string(),
                batch_rows: rows.parse().ok().filter(|rows| *rows > 0)?,
            })
        };
        parse().ok_or_else(|| NoVersion(text.to_string()))
    }
}

/// Where the versions of a model come from. Every implementation promises:
/// 1. a version that was opened once can be opened again, after a restart too, as long as what holds it is
///    there: epochs that it has scored are replayed with it;
/// 2. what is opened is the version that was asked for, by its digest, or an error.
///
/// Both calls may take as long as a download: never on a worker.
pub trait Versions: Send + Sync + 'static {
    /// The version that is to score now.
    ///
    /// # Errors
    /// When nobody can say, or there is none.
    fn current(&self) -> Result<VersionId, ModelLoadError>;

    /// Opens a version.
    ///
    /// # Errors
    /// When it is not to be had, or is not what it should be.
    fn open(&self, id: &VersionId) -> Result<Arc<dyn Model>, ModelLoadError>;

    /// The version that was to score when somebody could still say, if it is at hand.
    fn remembered(&self) -> Option<VersionId> {
        None
    }

    /// Whether [`Versions::current`] may say something else later.
    fn may_change(&self) -> bool;
}

/// A model that is there: the only version.
pub(crate) struct Given(pub Arc<dyn Model>);

impl Versions for Given {
    fn current(&self) -> Result<VersionId, ModelLoadError> {
        Ok(VersionId::of(self.0.signature()))
    }

    fn open(&self, id: &VersionId) -> Result<Arc<dyn Model>, ModelLoadError> {
        let own = VersionId { batch_rows: id.batch_rows, ..VersionId::of(self.0.signature()) };
        if own != *id {
            return Err(ModelLoadError::VersionGone {
                wanted: id.clone(),
                at: "memory".to_string(),
            });
        }
        Ok(self.0.clone())
    }

    fn may_change(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_what_names_no_version_is_refused() {
        for text in ["", "a", "a:1", "a:1:name", "a:0:name/1", "a:x:name/1"] {
            let told = text.parse::<VersionId>().expect_err("it names none").to_string();
            assert!(told.ends_with(&format!("found `{text}`")), "{told}");
        }
    }

    #[test]
    fn a_name_may_have_anything_in_it() {
        let id: VersionId = "4f2a:64:team/a:b/7".parse().expect("it is one");
        assert_eq!((id.name.as_str(), id.version.as_str()), ("team/a:b", "7"));
    }
}
