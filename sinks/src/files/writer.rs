//! The thread that writes a sink's files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tideflow_core::prometheus::{Histogram, IntCounter};
use tideflow_core::timely::scheduling::SyncActivator;
use tideflow_core::{Epoch, Failure, OperatorName, crash_point};

use super::folders::Place;

/// The records of an epoch, a line each.
#[derive(Default)]
pub(super) struct Lines {
    pub bytes: Vec<u8>,
    pub records: u64,
}

/// Who hears of what is written.
pub(super) struct Told {
    pub waker: SyncActivator,
    pub records: IntCounter,
    pub seconds: Histogram,
}

/// A running thread. It ends when this is dropped.
pub(super) struct Writer {
    work: Sender<(Epoch, Lines, Instant)>,
    written: Arc<AtomicU64>,
}

/// Epochs whose names are brought to disk together at most: the group commit of a backlog.
const GROUP_MAX: usize = 64;

impl Writer {
    pub fn start(name: OperatorName, place: Place, told: Told, failure: Failure) -> Self {
        // Bounded by the epochs in flight: no more is handed over.
        let (work, todo) = unbounded();
        let written = Arc::<AtomicU64>::default();
        let own = written.clone();
        name.spawn(move || {
            // None: the run has failed elsewhere.
            let _ = write(&place, &todo, &told, &own, &failure);
        });
        Writer { work, written }
    }

    pub fn write(&self, epoch: Epoch, lines: Lines) {
        // Fails after a failure of the run.
        let _ = self.work.send((epoch, lines, Instant::now()));
    }

    /// The last epoch that is written.
    pub fn written(&self) -> Epoch {
        self.written.load(Ordering::Acquire)
    }
}

/// Writes what comes, in order, until the sink is gone. A folder that is away is waited for.
fn write(
    place: &Place,
    todo: &Receiver<(Epoch, Lines, Instant)>,
    told: &Told,
    written: &AtomicU64,
    failure: &Failure,
) -> Option<()> {
    while let Ok(first) = todo.recv() {
        let mut group = vec![first];
        group.extend(todo.try_iter().take(GROUP_MAX - 1));
        for (epoch, lines, _) in &group {
            failure.until_it_works("writing a file", || place.write(*epoch, &lines.bytes))?;
            crash_point("file written");
        }
        failure.until_it_works("writing a file", || place.keep())?;
        crash_point("file kept");
        for (epoch, lines, since) in group {
            told.records.inc_by(lines.records);
            told.seconds.observe(since.elapsed().as_secs_f64());
            written.store(epoch, Ordering::Release);
        }
        let _ = told.waker.activate(); // fails when the worker has ended
    }
    Some(())
}
