//! Watching over the other processes: heartbeats both ways, and last words.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::frame::{self, Partial};
use super::lane::Connection;
use super::{Meeting, farewell};

/// Between two looks at what was heard and what is to be said.
const LOOK: Duration = Duration::from_millis(50);
/// Heartbeats in the time after which a process is lost.
const BEATS: u32 = 6;
/// Where a look comes so late, this process itself stood still: what it did not hear meanwhile is no sign.
const STANDSTILL: Duration = Duration::from_millis(500);
/// How long last words may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// A process that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its index.
    pub process: usize,
    /// Its index and address, as messages name it.
    pub name: String,
    /// How it was lost, or why it says that it ends.
    pub why: String,
    /// Whether another start of the job has taken over from it, and so from all.
    pub superseded: bool,
}

/// What is done when a process is lost: called by the thread that watches it.
pub type OnLost = Arc<dyn Fn(&Lost) + Send + Sync>;

/// What is said on a control lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    /// The process is there.
    Beat,
    /// Its part of the run is over: that it goes is no loss.
    Done,
    /// It ends, for this reason; whether another start of the job has taken over.
    Failed { reason: String, superseded: bool },
}

/// The watch over all other processes. Dropped, it tells them that this process is done.
pub struct Watch {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    meeting: Meeting,
    on_lost: OnLost,
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    /// What is to be said before the lanes close.
    last: Option<Word>,
    /// Lanes on which it was not said yet.
    open: usize,
}

impl Watch {
    pub(super) fn new(meeting: &Meeting, on_lost: OnLost) -> Watch {
        let (said, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { meeting: meeting.clone(), on_lost, said, changed });
        farewell::from(Arc::downgrade(&shared));
        Watch { shared }
    }

    /// Watches over a process by its control lane.
    pub(super) fn over(&self, process: usize, lane: Connection) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        lane.socket().set_read_timeout(Some(LOOK))?;
        lane.socket().set_write_timeout(Some(shared.meeting.lost_after))?;
        self.shared.said().open += 1;
        let watch = move || {
            let lost = shared.watch(process, lane);
            shared.said().open -= 1;
            shared.changed.notify_all();
            if let Err(Gone { why, superseded }) = lost {
                let name = shared.meeting.name(process);
                (shared.on_lost)(&Lost { process, name, why, superseded });
            }
        };
        let spawned = thread::Builder::new().name(format!("watch-{process}")).spawn(watch);
        spawned.map(drop).inspect_err(|_| self.shared.said().open -= 1)
    }

    /// Tells the other processes why this one ends, and whether another start of the job has taken over.
    pub fn fail(&self, reason: &str, superseded: bool) {
        self.shared.say(Word::Failed { reason: reason.to_string(), superseded });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.say(Word::Done);
    }
}

impl Shared {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says the last word on all lanes; the first one counts.
    fn say(&self, word: Word) {
        let mut said = self.said();
        said.last.get_or_insert(word);
        let until = Instant::now() + FAREWELL;
        while said.open > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(said, left);
            said = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn say_failed(&self, reason: &str) {
        self.say(Word::Failed { reason: reason.to_string(), superseded: false });
    }

    /// Until one of the two has said its last word; why the other is lost, if it has said none.
    fn watch(&self, process: usize, mut lane: Connection) -> Result<(), Gone> {
        let lost_after = self.meeting.lost_after;
        let (mut heard, mut beaten) = (Instant::now(), None::<Instant>);
        let (mut looked, mut partial) = (Instant::now(), Partial::default());
        let mut buffer = [0; 4096];
        loop {
            let last = self.said().last.clone();
            if let Some(word) = last {
                let _ = frame::write(&mut lane, &word);
                lane.say_goodbye();
                return Ok(());
            }
            if beaten.is_none_or(|at| at.elapsed() >= lost_after / BEATS) {
                frame::write(&mut lane, &Word::Beat)?;
                beaten = Some(Instant::now());
            }
            match lane.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(read) => {
                    partial.add(&buffer[..read]);
                    heard = Instant::now();
                }
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
            while let Some(word) = partial.next()? {
                match word {
                    Word::Beat => {}
                    Word::Done => {
                        tracing::debug!(process, "its part of the run is over");
                        return Ok(());
                    }
                    Word::Failed { reason, superseded } => {
                        return Err(Gone { why: reason, superseded });
                    }
                }
            }
            let gap = looked.elapsed();
            looked = Instant::now();
            if gap > STANDSTILL {
                heard += gap;
            } else if heard.elapsed() > lost_after {
                let ms = lost_after.as_millis();
                let why = format!("nothing heard of it for {ms} ms (`workers.lost_after_ms`)");
                return Err(Gone { why, superseded: false });
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// How a process was lost.
struct Gone {
    why: String,
    superseded: bool,
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Gone {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it has closed the connection".into(),
            _ => format!("its connection broke: {error}"),
        };
        Gone { why, superseded: false }
    }
}
