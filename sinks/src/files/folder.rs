//! A folder that files are written in, and what is done to it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tideflow_core::{Epoch, crash_point};

use super::FolderError;
use super::name::{JOB, OfRun, Pending, RunFolder, Visible};

/// A snapshot that counts: who took it, and after which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The generation of the job that took it.
    pub generation: u64,
    /// The epoch.
    pub epoch: Epoch,
}

impl Counted {
    fn makes_visible(&self, file: &Pending) -> bool {
        file.generation == self.generation && file.epoch <= self.epoch
    }
}

/// A folder with a place in it for files that no reader is to see yet.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    pending: PathBuf,
}

/// Where files wait: no reader looks at names with a dot in front.
const PENDING: &str = ".pending";

/// That there is a folder.
pub(super) fn is_there(folder: &str) -> Result<(), FolderError> {
    match fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(FolderError::NotAFolder { folder: folder.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FolderError::Missing { folder: folder.to_string() })
        }
        Err(error) => Err(FolderError::io("looking at folder", Path::new(folder))(error)),
    }
}

impl Folder {
    /// Makes the place in it, if it is not there. The folder itself must be: where it is not, something is
    /// not mounted.
    pub fn open(folder: &str) -> Result<Self, FolderError> {
        is_there(folder)?;
        let looking = FolderError::io("looking at folder", Path::new(folder));
        let path = fs::canonicalize(folder).map_err(looking)?;
        let pending = path.join(PENDING);
        let made = or_there(fs::create_dir(&pending)).and_then(|_| sync(&path));
        made.map_err(FolderError::io("making folder", &pending))?;
        Ok(Folder { path, pending })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn shown(&self) -> String {
        self.path.display().to_string()
    }

    /// Marks it as this job's, for ever: to another one its files would be those of a start that is over.
    pub fn belongs_to(&self, job: &str) -> Result<(), FolderError> {
        let mark = self.pending.join(format!("{JOB}{job}"));
        let marking = || FolderError::io("marking folder", &self.path);
        let made = or_there(File::create_new(&mark).map(drop)).map_err(marking())?;
        let names = names(&self.pending).map_err(marking())?;
        let jobs = names.iter().filter_map(|name| name.strip_prefix(JOB));
        if let Some(found) = jobs.into_iter().find(|found| *found != job) {
            if made {
                let _ = fs::remove_file(&mark); // left, it would only be in the way of a person
            }
            let (folder, expected) = (self.shown(), job.to_string());
            return Err(FolderError::OtherJob { folder, expected, found: found.to_string() });
        }
        sync(&self.pending).map_err(marking())
    }

    /// That no file is visible of an epoch after this one.
    pub fn nothing_beyond(&self, through: Epoch) -> Result<(), FolderError> {
        let names = names(&self.path).map_err(FolderError::io("listing folder", &self.path))?;
        let epoch = |name: &String| Visible::parse(name).map(|visible| visible.epoch);
        match names.iter().find(|name| epoch(name).is_some_and(|epoch| epoch > through)) {
            None => Ok(()),
            Some(found) => {
                let (folder, found) = (self.shown(), found.clone());
                Err(FolderError::Ahead { folder, through, found })
            }
        }
    }

    /// Writes a file that is to wait, to disk. Its name is there for good after [`Folder::keep`].
    pub fn write(&self, file: Pending, lines: &[u8]) -> io::Result<()> {
        write(&self.pending.join(file.to_string()), lines)
    }

    /// Brings the names of what waits to disk.
    pub fn keep(&self) -> io::Result<()> {
        sync(&self.pending)
    }

    /// Makes visible, in the order of epochs, what waits and is of a snapshot that counts; deletes what waits
    /// and is of generations before `own`, none of whose snapshots can count any more but that one. It can be
    /// done again, by several at once, and broken off anywhere.
    pub fn settle(&self, counted: Option<Counted>, own: u64) -> io::Result<()> {
        let names = names(&self.pending)?;
        let mut waiting: Vec<_> = names.iter().filter_map(|name| Pending::parse(name)).collect();
        waiting.sort_unstable();
        let at = |file: &Pending| self.pending.join(file.to_string());
        let (show, rest): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|file| counted.is_some_and(|counted| counted.makes_visible(file)));
        for file in &show {
            or_gone(fs::rename(at(file), self.path.join(file.visible().to_string())))?;
            crash_point("file shown");
        }
        sync(&self.path)?;
        for file in rest.iter().filter(|file| file.generation < own) {
            or_gone(fs::remove_file(at(file)))?;
        }
        sync(&self.pending)
    }

    /// Takes a number for this run of a worker, above those of all earlier ones that left something, and
    /// deletes what those did not write to the end.
    pub fn take_run(&self, worker: usize) -> Result<u64, FolderError> {
        let taking = || FolderError::io("taking a run's number in folder", &self.path);
        let written = names(&self.path).map_err(taking())?;
        let written = written.iter().filter_map(|name| OfRun::parse(name));
        let written = written.filter(|file| file.worker == worker).map(|file| file.run);
        let begun = names(&self.pending).map_err(taking())?;
        let begun = begun.iter().filter_map(|name| RunFolder::parse(name));
        let begun: Vec<_> = begun.filter(|folder| folder.worker == worker).collect();
        let mut run = written.chain(begun.iter().map(|folder| folder.run)).max().unwrap_or(0) + 1;
        while !or_there(fs::create_dir(self.run_folder(run, worker))).map_err(taking())? {
            run += 1;
        }
        for RunFolder { run, worker } in begun {
            or_gone(fs::remove_dir_all(self.run_folder(run, worker))).map_err(taking())?;
        }
        Ok(run)
    }

    fn run_folder(&self, run: u64, worker: usize) -> PathBuf {
        self.pending.join(RunFolder { run, worker }.to_string())
    }

    /// Writes a file of a run that is visible at once, as a whole. Its name is there for good after
    /// [`Folder::keep_visible`].
    pub fn write_visible(&self, file: OfRun, lines: &[u8]) -> io::Result<()> {
        let folder = self.run_folder(file.run, file.worker);
        // A later run of this worker deletes it, which this one may outlive.
        or_there(fs::create_dir(&folder))?;
        let part = folder.join(file.epoch.to_string());
        write(&part, lines)?;
        fs::rename(part, self.path.join(file.to_string()))
    }

    /// Brings the names of what is visible to disk.
    pub fn keep_visible(&self) -> io::Result<()> {
        sync(&self.path)
    }
}

fn write(path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(lines)?;
    file.sync_all()
}

/// Brings what a folder lists to disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    // A name that is no text is not one of ours.
    let name = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| entry.file_name().into_string().ok()).transpose()
    };
    fs::read_dir(folder)?.filter_map(name).collect()
}

/// Whether it was made here, and not there before.
fn or_there(made: io::Result<()>) -> io::Result<bool> {
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

/// What another start has settled before is settled.
fn or_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
