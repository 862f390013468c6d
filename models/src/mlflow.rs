//! Versions of models in an MLflow registry, over its REST API.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::http::{Budget, Http, HttpAccess, encoded};
use crate::{
    Manifest, Model, ModelLoadError, ModelUri, Runtime, VersionId, Versions, WhichVersion,
};

/// The tag of a version that holds the digest of its files.
const DIGEST: &str = "tideflow.digest";
/// Files of a model at most, and folders within folders.
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 16;
/// Bytes of a model at most, and how long its download may take.
const BYTES_MAX: u64 = 16 << 30;
const DOWNLOAD_MAX: Duration = Duration::from_secs(3_600);

/// A registered model, by an alias or a version.
///
/// What was downloaded is kept in a folder by its digest, with notes of which version and alias it was: a
/// registry that is away is not needed for what was there before.
pub struct Mlflow {
    http: Http,
    uri: ModelUri,
    cache: Cache,
    runtime: Runtime,
    notes: PathBuf,
    known: Mutex<Notes>,
    limits: (u64, Duration),
}

/// What is known of a registered model. In the cache it is `NAME.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Notes {
    aliases: BTreeMap<String, String>,
    versions: BTreeMap<String, Note>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// When the registry made it: a model that was deleted and made anew has the same numbers.
    created: i64,
    digest: String,
    batch_rows: usize,
}

impl Notes {
    /// Those in a file; none where there is no such file, or none that can be read.
    fn read(file: &Path) -> Self {
        let text = fs::read(file).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }
}

/// A version as the registry shows it.
#[derive(Debug, Deserialize)]
struct ModelVersion {
    version: String,
    #[serde(default)]
    creation_timestamp: i64,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct Answer {
    model_version: ModelVersion,
}

#[derive(Deserialize)]
struct Address {
    artifact_uri: String,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    files: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    path: String,
    #[serde(default)]
    is_dir: bool,
}

impl Mlflow {
    /// The model that `uri` names in the registry at `access`, with copies in `cache`. Asks nothing yet.
    ///
    /// # Errors
    /// When the address or its certificates cannot be used.
    pub fn new(
        access: &HttpAccess,
        uri: ModelUri,
        cache: &Path,
        runtime: Runtime,
    ) -> Result<Self, ModelLoadError> {
        let http = Http::new(access)?;
        // Another registry has other models of the same names.
        let notes = cache.join(format!("{}@{}.json", encoded(&uri.name), encoded(&access.url)));
        let known = Mutex::new(Notes::read(&notes));
        let (cache, limits) = (Cache::new(cache), (BYTES_MAX, DOWNLOAD_MAX));
        Ok(Mlflow { http, uri, cache, runtime, notes, known, limits })
    }

    /// Takes versions of at most so many bytes, which are downloaded in at most so much time: 16 GiB and an hour,
    /// unless this is said.
    #[must_use]
    pub fn limits(self, bytes: u64, time: Duration) -> Self {
        Mlflow { limits: (bytes, time), ..self }
    }

    /// The version that the reference points to now.
    fn ask(&self) -> Result<ModelVersion, ModelLoadError> {
        let ModelUri { name, which } = &self.uri;
        match which {
            WhichVersion::Alias(alias) => {
                let doing = format!("asking for alias `{alias}` of model `{name}`");
                let query = [("name", name.as_str()), ("alias", alias)];
                let answer: Answer =
                    self.http.get(&doing, &api("registered-models/alias"), &query)?;
                Ok(answer.model_version)
            }
            WhichVersion::Version(version) => self.ask_version(version),
        }
    }

    fn ask_version(&self, version: &str) -> Result<ModelVersion, ModelLoadError> {
        let name = &self.uri.name;
        let doing = format!("asking for version `{version}` of model `{name}`");
        let query = [("name", name.as_str()), ("version", version)];
        let answer: Answer = self.http.get(&doing, &api("model-versions/get"), &query)?;
        Ok(answer.model_version)
    }

    /// What the version consists of, downloaded unless it is here.
    fn identify(&self, version: &ModelVersion) -> Result<VersionId, ModelLoadError> {
        let tag = version.tags.iter().find(|tag| tag.key == DIGEST).map(|tag| tag.value.as_str());
        let known = self.known().versions.get(&version.version).cloned();
        let same = |note: &Note| {
            note.created == version.creation_timestamp && tag.is_none_or(|tag| tag == note.digest)
        };
        let note = match known.filter(same) {
            Some(note) => note,
            None => {
                let place = match tag.and_then(|tag| self.cache.find(tag)) {
                    Some(place) => (tag.expect("it was found by it").to_string(), place),
                    None => self.download(&version.version, tag)?,
                };
                let batch_rows = Manifest::read(&place.1)?.batch_rows;
                Note { created: version.creation_timestamp, digest: place.0, batch_rows }
            }
        };
        self.note(&version.version, &note);
        Ok(self.id(&version.version, &note))
    }

    fn id(&self, version: &str, note: &Note) -> VersionId {
        VersionId {
            name: self.uri.name.clone(),
            version: version.to_string(),
            digest: note.digest.clone(),
            batch_rows: note.batch_rows,
        }
    }

    /// Writes down what the registry has said, for when it is away.
    fn note(&self, version: &str, note: &Note) {
        let mut known = self.known();
        // Other processes note theirs.
        let before = Notes::read(&self.notes);
        let mut notes = before.clone();
        notes.versions.insert(version.to_string(), note.clone());
        if let WhichVersion::Alias(alias) = &self.uri.which {
            notes.aliases.insert(alias.clone(), version.to_string());
        }
        *known = notes;
        if *known == before {
            return;
        }
        let text = serde_json::to_vec_pretty(&*known).expect("names and numbers are JSON");
        if let Err(error) = crate::cache::replace(&self.notes, &text) {
            let file = self.notes.display();
            tracing::warn!(%error, %file, "what the registry has said cannot be noted");
        }
    }

    fn download(
        &self,
        version: &str,
        digest: Option<&str>,
    ) -> Result<(String, PathBuf), ModelLoadError> {
        let name = &self.uri.name;
        let doing = format!("downloading version `{version}` of model `{name}`");
        let query = [("name", name.as_str()), ("version", version)];
        let address: Address =
            self.http.get(&doing, &api("model-versions/get-download-uri"), &query)?;
        let Some(path) = artifact_path(&address.artifact_uri) else {
            return Err(ModelLoadError::Artifacts {
                name: name.clone(),
                uri: address.artifact_uri,
            });
        };
        tracing::info!(model = name, version, "downloading");
        self.cache.put(digest, |to| {
            let mut left = (FILES_MAX, Budget::new(self.limits.0, self.limits.1));
            self.download_folder(&doing, &path, to, DEPTH_MAX, &mut left)
        })
    }

    fn download_folder(
        &self,
        doing: &str,
        path: &str,
        to: &Path,
        depth: usize,
        left: &mut (usize, Budget),
    ) -> Result<(), ModelLoadError> {
        let in_time = left.1.spend(0);
        in_time.map_err(|(reason, kind)| self.http.error(doing, reason, kind))?;
        let listing: Listing = self.http.get(doing, ARTIFACTS, &[("path", path)])?;
        for Listed { path: name, is_dir } in listing.files {
            let (files, budget) = &mut *left;
            let mut parts = Path::new(&name).components();
            let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            if !plain || *files == 0 || depth == 0 {
                let uri = format!("{path}/{name}");
                return Err(ModelLoadError::Artifacts { name: self.uri.name.clone(), uri });
            }
            *files -= 1;
            let (inner, target) = (format!("{path}/{name}"), to.join(&name));
            if is_dir {
                let io = |source| ModelLoadError::Io { path: target.clone(), source };
                fs::create_dir(&target).map_err(io)?;
                self.download_folder(doing, &inner, &target, depth - 1, left)?;
            } else {
                let inner: Vec<_> = inner.split('/').map(encoded).collect();
                let address = format!("{ARTIFACTS}/{}", inner.join("/"));
                self.http.download(doing, &address, &target, budget)?;
            }
        }
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.known.lock().expect("no holder of this lock panics")
    }
}

impl Versions for Mlflow {
    fn current(&self) -> Result<VersionId, ModelLoadError> {
        self.ask().and_then(|version| self.identify(&version))
    }

    fn remembered(&self) -> Option<VersionId> {
        let known = self.known();
        let version = match &self.uri.which {
            WhichVersion::Alias(alias) => known.aliases.get(alias)?,
            WhichVersion::Version(version) => version,
        };
        let note = known.versions.get(version)?;
        self.cache.find(&note.digest)?;
        Some(self.id(version, note))
    }

    fn open(&self, id: &VersionId) -> Result<Arc<dyn Model>, ModelLoadError> {
        if let Some(place) = self.cache.find(&id.digest) {
            match self.runtime.open(id, &place) {
                Err(ModelLoadError::Digest { .. }) => crate::cache::remove(&place),
                opened => return opened,
            }
        }
        let (_, place) = self.download(&id.version, Some(&id.digest))?;
        self.runtime.open(id, &place)
    }

    fn may_change(&self) -> bool {
        matches!(self.uri.which, WhichVersion::Alias(_))
    }
}

const ARTIFACTS: &str = "api/2.0/mlflow-artifacts/artifacts";

fn api(call: &str) -> String {
    format!("api/2.0/mlflow/{call}")
}

/// Where the registry itself hands out the files of `mlflow-artifacts:/PATH`, or with a host before it.
fn artifact_path(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/')?.1,
        None => rest,
    };
    let path = path.trim_matches('/');
    (!path.is_empty()).then(|| path.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_asked_of_the_registry_itself() {
        let path = |uri| artifact_path(uri);
        assert_eq!(
            path("mlflow-artifacts:/1/a/artifacts/model").as_deref(),
            Some("1/a/artifacts/model")
        );
        assert_eq!(path("mlflow-artifacts://host:5000/1/a").as_deref(), Some("1/a"));
        for elsewhere in ["s3://bucket/model", "file:///models", "mlflow-artifacts:/"] {
            assert_eq!(path(elsewhere), None);
        }
    }
}
