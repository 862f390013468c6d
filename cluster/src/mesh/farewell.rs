//! Last words to the other processes, from wherever this one ends.

use std::sync::{Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::watch::Shared;

/// How long the watch is given to say who was lost, where timely noticed first.
const BLAME: Duration = Duration::from_millis(400);

/// The watch of this process, of which there is one at a time.
static WATCH: Mutex<Option<Weak<Shared>>> = Mutex::new(None);

pub(super) fn from(watch: Weak<Shared>) {
    *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
}

/// Tells the other processes, if there are any, why this one ends.
pub(crate) fn say(reason: &str) {
    let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(watch) = watch.and_then(|watch| watch.upgrade()) {
        watch.say_failed(reason);
    }
}

/// Timely has noticed that a connection broke, in its thread of this name. The watch knows better why and will end
/// the process; if it does not, this says which process it was.
pub(crate) fn lost_in_timely(thread_name: &str, cause: &str) -> String {
    thread::park_timeout(BLAME);
    let process = thread_name.rsplit_once('-').and_then(|(_, number)| number.parse::<usize>().ok());
    match process {
        Some(process) => format!("process {process} of the job is lost: {cause}"),
        None => format!("another process of the job is lost: {cause}"),
    }
}
