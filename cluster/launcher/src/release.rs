//! A release: everything that a bare host lacks to run a graph, by content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cluster_file::Job;

/// Characters of a digest in the names of releases and programs.
const SHORT: usize = 12;

/// The launcher's own place in a release: the supervisor of hosts without systemd.
pub const SUPERVISOR: &str = "bin/tideflow";
/// The settings' place in a release.
pub const CONFIG: &str = "config.toml";
/// The native libraries' place in a release.
pub const NATIVE: &str = "native";
/// The models' place in a release.
pub const MODELS: &str = "models";

/// A release that cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("reading `{path}` for the release: {source}")]
pub struct ReleaseError {
    /// The file.
    pub path: PathBuf,
    /// The operating system's words.
    pub source: io::Error,
}

/// The content of a file, and whether it is run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    /// SHA-256, in hexadecimal digits.
    pub digest: String,
    /// Its length.
    pub bytes: u64,
    /// Whether it is run.
    pub executable: bool,
}

impl Object {
    /// The name of its file: links to it share what they may be used for.
    pub fn file_name(&self) -> String {
        if self.executable { format!("{}.x", self.digest) } else { self.digest.clone() }
    }
}

/// A release: files by content, and what they were said to mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The program's place in it.
    pub binary: String,
    /// Paths in it, and what lies there.
    pub files: BTreeMap<String, Object>,
    /// The settings as the program reads them, secrets hidden.
    pub settings: BTreeMap<String, String>,
    /// The graph, as the program prints it.
    pub graph: Value,
}

impl Release {
    /// What it is known by. Two with the same files and settings are the same.
    pub fn digest(&self) -> String {
        let parts = (&self.binary, &self.files, &self.settings);
        let text = serde_json::to_vec(&parts).expect("maps of texts are JSON");
        digest_of(&text)
    }

    /// Its folder's name, as the host's number `number`.
    pub fn name(&self, number: u64) -> String {
        format!("{number}-{}", short(&self.digest()))
    }

    /// Whether this is its name, whatever the number.
    pub fn is_named(&self, name: &str) -> bool {
        name.split_once('-').is_some_and(|(_, digest)| digest == short(&self.digest()))
    }

    /// What it is made of, each once.
    pub fn objects(&self) -> Vec<Object> {
        let mut objects: Vec<_> = self.files.values().cloned().collect();
        objects.sort();
        objects.dedup();
        objects
    }
}

/// The number of a release, by its name.
pub fn number(name: &str) -> u64 {
    name.split_once('-').and_then(|(number, _)| number.parse().ok()).unwrap_or(0)
}

/// The beginning of a digest, enough to tell releases apart.
pub fn short(digest: &str) -> &str {
    &digest[..SHORT.min(digest.len())]
}

/// The digest of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Files for a release: where they go, what they hold, where they are.
#[derive(Debug, Default)]
pub struct Parcel {
    /// Paths in the release, and their content.
    pub files: BTreeMap<String, Object>,
    /// Where the content is, by digest.
    pub sources: BTreeMap<String, PathBuf>,
}

impl Parcel {
    /// Everything that a job's release holds; `launcher` is this program's own file.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn gather(job: &Job, launcher: &Path) -> Result<Parcel, ReleaseError> {
        let mut parcel = Parcel::default();
        parcel.file(&binary_path(job), &job.binary, true)?;
        parcel.file(SUPERVISOR, launcher, true)?;
        if let Some(config) = &job.config {
            parcel.file(CONFIG, config, false)?;
        }
        for model in &job.models {
            let name = model.file_name().unwrap_or_default().to_string_lossy();
            parcel.folder(&format!("{MODELS}/{name}"), model)?;
        }
        if let Some(native) = &job.native {
            parcel.folder(NATIVE, native)?;
        }
        Ok(parcel)
    }

    fn file(&mut self, place: &str, path: &Path, executable: bool) -> Result<(), ReleaseError> {
        let object = object(path, executable)
            .map_err(|source| ReleaseError { path: path.into(), source })?;
        self.sources.insert(object.digest.clone(), path.into());
        self.files.insert(place.into(), object);
        Ok(())
    }

    /// A folder with all that is in it. Links are followed: the same content is stored and sent once.
    fn folder(&mut self, place: &str, folder: &Path) -> Result<(), ReleaseError> {
        let failed = |source| ReleaseError { path: folder.into(), source };
        for entry in folder.read_dir().map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let meta =
                path.metadata().map_err(|source| ReleaseError { path: path.clone(), source })?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let inner = format!("{place}/{name}");
            if meta.is_dir() {
                self.folder(&inner, &path)?;
            } else {
                self.file(&inner, &path, meta.permissions().mode() & 0o100 != 0)?;
            }
        }
        Ok(())
    }
}

/// The program's place in a release.
pub fn binary_path(job: &Job) -> String {
    let name = job.binary.file_name().unwrap_or_default().to_string_lossy();
    // The supervisor has the name `tideflow` there.
    if name == "tideflow" { "bin/graph".into() } else { format!("bin/{name}") }
}

/// The content of a file.
///
/// # Errors
/// When it cannot be read.
pub fn object(path: &Path, executable: bool) -> io::Result<Object> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    Ok(Object { digest: format!("{:x}", hash.finalize()), bytes, executable })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(config: &str) -> Release {
        let object = Object { digest: digest_of(config.as_bytes()), bytes: 1, executable: false };
        Release {
            binary: "bin/g".into(),
            files: [("a".to_string(), object.clone()), ("b".to_string(), object)].into(),
            settings: BTreeMap::new(),
            graph: Value::Null,
        }
    }

    #[test]
    fn a_release_is_known_by_what_it_holds() {
        let (one, other) = (release("x"), release("y"));
        assert_ne!(one.digest(), other.digest());
        let drawn = Release { graph: serde_json::json!({"nodes": []}), ..one.clone() };
        assert_eq!(drawn.digest(), one.digest());
        assert!(one.is_named(&one.name(7)) && !other.is_named(&one.name(7)));
        assert_eq!((number(&one.name(7)), number("odd")), (7, 0));
        assert_eq!(one.objects().len(), 1);
    }

    #[test]
    fn folders_are_followed_and_the_same_content_is_sent_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("native/sub")).unwrap();
        std::fs::write(at("native/lib.so.2"), "library").unwrap();
        std::os::unix::fs::symlink("lib.so.2", at("native/lib.so")).unwrap();
        std::fs::write(at("native/sub/x"), "x").unwrap();
        std::fs::write(at("graph"), "program").unwrap();
        let job = Job {
            name: "j".into(),
            binary: at("graph"),
            config: None,
            models: Vec::new(),
            native: Some(at("native")),
            threads: 1,
            processes: None,
        };
        let parcel = Parcel::gather(&job, &at("graph")).unwrap();
        let paths: Vec<_> = parcel.files.keys().map(String::as_str).collect();
        let expected =
            ["bin/graph", "bin/tideflow", "native/lib.so", "native/lib.so.2", "native/sub/x"];
        assert_eq!(paths, expected);
        assert_eq!(parcel.files["native/lib.so"], parcel.files["native/lib.so.2"]);
        assert_eq!(parcel.sources.len(), 3);
        assert_eq!(
            parcel.files["native/sub/x"].digest,
            "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        );
    }
}
