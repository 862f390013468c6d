//! Where a job's files are on a host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::release::{self, Release};
use crate::wire::Assigned;

/// A job's folder on a host.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of all jobs.
    pub root: PathBuf,
    /// The job.
    pub job: String,
    /// The job's folder.
    pub folder: PathBuf,
}

impl Place {
    /// A job's folder below the folder of all jobs.
    pub fn of(root: &Path, job: &str) -> Place {
        Place { root: root.into(), job: job.into(), folder: root.join(job) }
    }

    /// A path in the job's folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of a release.
    pub fn release(&self, name: &str) -> PathBuf {
        self.at("releases").join(name)
    }

    /// The name of the release that runs.
    pub fn current(&self) -> Option<String> {
        self.linked("current")
    }

    /// The name of the release that `current` or `previous` leads to.
    pub fn linked(&self, link: &str) -> Option<String> {
        let link = fs::read_link(self.at(link)).ok()?;
        link.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// All releases, the oldest first.
    pub fn releases(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("releases")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort_by_key(|name| release::number(name));
        names
    }

    /// What a release says about itself.
    pub fn manifest(&self, name: &str) -> Option<Release> {
        let text = fs::read(self.release(name).join("release.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Which process runs here.
    pub fn assigned(&self) -> Option<Assigned> {
        let text = fs::read(self.at("assigned.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The nearest folder that is there already: the disk that releases go to.
    pub fn disk(&self) -> &Path {
        self.folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
    }

    /// Bytes free there.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn disk_free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(self.disk())?;
        Ok(disk.f_bavail * disk.f_frsize)
    }
}
