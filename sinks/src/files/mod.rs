//! Folders of files as sinks: JSON, a record a line, a file for each epoch and worker that had records.
//!
//! A job that takes snapshots publishes exactly once. Each worker writes `.pending/EPOCH-GENERATION-WORKER` and
//! brings it to disk; only then is the epoch published, and only then can a snapshot after it count. When the
//! snapshot of a generation after an epoch counts, the files of that generation up to that epoch are renamed to
//! `EPOCH-WORKER.jsonl`, and those of earlier generations deleted. A start does the same first, for the last
//! snapshot that counts, and deletes all else that is of earlier generations. This is why nothing is lost and
//! nothing comes twice, on whatever number of workers:
//!
//! - *One generation writes an epoch.* Snapshots that count follow one another, and no earlier generation takes
//!   one once a later has begun. The epochs between two of them become visible by the second, as the one
//!   generation that took it has written them: all of its workers, and nobody else.
//! - *That generation has written all of them.* It goes on from the first of the two, or from an earlier one,
//!   and replays what was recorded since. What it replays up to the first is visible already, and dropped.
//! - *A kill before the snapshot counts* leaves files that no snapshot makes visible. The next start reads or
//!   replays these epochs and writes them again; the files are deleted by it, or with its snapshots.
//! - *A kill after that* leaves names that are not changed yet. They are as good as changed: the snapshot says
//!   which, and whoever starts next changes them. To change them twice, or by two starts at once, is the same.
//! - *A file that is half written* was not published, so no snapshot after its epoch counts.
//! - *A process that was superseded* and does not know it writes files that no snapshot makes visible, since
//!   its own do not count any more. It changes and deletes what its successor would, or less.
//!
//! A job whose input has come to its end takes a last snapshot, after a kill too, so nothing stays behind. The
//! end of a process waits for the names. A job that is never started again leaves names that are not changed.
//!
//! A job that keeps nothing publishes at least once: its files are visible as soon as they are written, as
//! `RUN-EPOCH-WORKER.jsonl`. Each start begins with epoch 1 again and would overwrite what the last has written;
//! so each of its workers takes the next number that no earlier start has used for that worker.
//!
//! Readers see whole files, one after the other in the order of epochs; they leave `.pending` alone.

mod error;
mod folder;
mod folders;
mod name;
mod sink;
mod writer;

pub use error::FolderError;
pub use folder::Counted;
pub use folders::{Folders, Settling};
pub use sink::{FileSink, FileSinkConfig, FileWriter};
