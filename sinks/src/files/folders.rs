//! The folders of a graph, and what makes the files in them visible.

use std::cell::RefCell;
use std::io;

use tideflow_core::Epoch;

use super::FolderError;
use super::folder::{Counted, Folder};
use super::name::{OfRun, Pending};

/// The folders that the file sinks of a worker write in: put into the graph with
/// [`Flow::local`](tideflow_core::Flow::local), it makes them publish exactly once. Where a graph has none,
/// each file is visible as soon as it is written.
#[derive(Default)]
pub struct Folders {
    held: Option<Held>,
    /// With the name of the sink.
    own: RefCell<Vec<(String, Folder)>>,
}

/// For a job that takes snapshots.
struct Held {
    job: String,
    generation: u64,
    counted: Option<Counted>,
}

impl Folders {
    /// For a start of a job, by its generation; `counted` is the last snapshot that counts of all that the job
    /// has taken, whichever it goes on from. What is of epochs up to that one's is published.
    pub fn held(job: &str, generation: u64, counted: Option<Counted>) -> Self {
        let held = Held { job: job.to_string(), generation, counted };
        Folders { held: Some(held), own: RefCell::default() }
    }

    /// What makes files visible: to be asked for when all sinks are there, on one worker of the job. None in
    /// a job that takes no snapshots.
    pub fn settling(&self) -> Option<Settling> {
        let Held { job, generation, counted } = self.held.as_ref()?;
        let folders = self.own.borrow().iter().map(|(_, folder)| folder.clone()).collect();
        Some(Settling { job: job.clone(), generation: *generation, counted: *counted, folders })
    }

    /// All epochs up to this one are published, by earlier starts.
    pub(super) fn published(&self) -> Epoch {
        self.held.as_ref().and_then(|held| held.counted).map_or(0, |counted| counted.epoch)
    }

    /// One more folder, which is the sink's own.
    pub(super) fn open(
        &self,
        sink: &str,
        folder: &str,
        worker: usize,
    ) -> Result<Place, FolderError> {
        let folder = Folder::open(folder)?;
        let mut own = self.own.borrow_mut();
        if let Some((other, _)) = own.iter().find(|(_, other)| other.path() == folder.path()) {
            return Err(FolderError::Taken { folder: folder.shown(), other: other.clone() });
        }
        own.push((sink.to_string(), folder.clone()));
        Ok(match &self.held {
            Some(held) => Place::Held { folder, generation: held.generation, worker },
            None => Place::AtOnce { run: folder.take_run(worker)?, folder, worker },
        })
    }
}

/// Where a worker's sink writes.
pub(super) enum Place {
    /// Until a snapshot counts.
    Held { folder: Folder, generation: u64, worker: usize },
    /// For readers to see.
    AtOnce { folder: Folder, run: u64, worker: usize },
}

impl Place {
    /// Writes an epoch. Done again, it is the same.
    pub fn write(&self, epoch: Epoch, lines: &[u8]) -> io::Result<()> {
        match *self {
            Place::Held { ref folder, generation, worker } => {
                folder.write(Pending { epoch, generation, worker }, lines)
            }
            Place::AtOnce { ref folder, run, worker } => {
                folder.write_visible(OfRun { run, epoch, worker }, lines)
            }
        }
    }

    /// What was written survives.
    pub fn keep(&self) -> io::Result<()> {
        match self {
            Place::Held { folder, .. } => folder.keep(),
            Place::AtOnce { folder, .. } => folder.keep_visible(),
        }
    }
}

/// Makes the files of a start visible, and what the start before has left. Waits for the file system.
#[derive(Clone, Debug)]
pub struct Settling {
    job: String,
    generation: u64,
    counted: Option<Counted>,
    folders: Vec<Folder>,
}

impl Settling {
    /// Whether there is nothing to do, because the graph has no such sink.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// To be called once, when no earlier start can take a snapshot that counts any more, and before this one
    /// takes one.
    ///
    /// # Errors
    /// When a folder is another job's, or cannot be written in.
    pub fn begin(&self) -> Result<(), FolderError> {
        let through = self.counted.map_or(0, |counted| counted.epoch);
        self.folders.iter().try_for_each(|folder| {
            folder.belongs_to(&self.job)?;
            folder.nothing_beyond(through)?;
            settle(folder, self.counted, self.generation)
        })
    }

    /// To be called, again if it fails, for each snapshot of this start that counts.
    ///
    /// # Errors
    /// When a folder cannot be written in.
    pub fn counts(&self, epoch: Epoch) -> Result<(), FolderError> {
        let counted = Some(Counted { generation: self.generation, epoch });
        self.folders.iter().try_for_each(|folder| settle(folder, counted, self.generation))
    }
}

fn settle(folder: &Folder, counted: Option<Counted>, own: u64) -> Result<(), FolderError> {
    let settled = folder.settle(counted, own);
    settled.map_err(FolderError::io("settling the files of folder", folder.path()))
}

#[cfg(test)]
#[path = "folders_tests.rs"]
mod tests;
