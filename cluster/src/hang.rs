//! Notices a worker that hangs.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tideflow_core::Steps;

/// Looks in the time after which a worker counts as hung.
const LOOKS: u32 = 8;

/// The watch over this process's workers, until it is dropped.
pub(crate) struct WorkerWatch {
    _over: Sender<()>,
}

/// Calls `hung` once with the index of a worker that has not gone round for `limit`. What is waited for outside, as a
/// broker, is no worker's step; time in which this whole process stood still does not count.
pub(crate) fn watch_workers(
    steps: Steps,
    limit: Duration,
    hung: impl FnOnce(usize) + Send + 'static,
) -> io::Result<WorkerWatch> {
    let (over, ended) = channel();
    let look = limit / LOOKS;
    let watch = move || {
        let mut seen = BTreeMap::<usize, (u64, Instant)>::new();
        let mut looked = Instant::now();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(look) {
            let now = Instant::now();
            let stood = now.duration_since(looked) > 2 * look;
            looked = now;
            for (worker, count) in steps.counts() {
                let (last, since) = seen.entry(worker).or_insert((count, now));
                if *last != count || stood {
                    (*last, *since) = (count, now);
                } else if now.duration_since(*since) >= limit {
                    return hung(worker);
                }
            }
        }
    };
    thread::Builder::new().name("watch-workers".into()).spawn(watch)?;
    Ok(WorkerWatch { _over: over })
}
