//! The versions of a model that a process has open, and the thread that opens them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::{ErrorKind, Model, ModelLoadError, VersionId, Versions};

/// Versions open at once at most: that which scores, that which is to follow, and one more, for epochs before
/// a change that are not done yet.
const OPEN_MAX: usize = 3;
/// Between two tries of what did not work.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a version that epochs wait for may not be to be had.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What must hold of every version beside what it says of itself: that the graph can use it.
pub type Accept = Arc<dyn Fn(&VersionId, &dyn Model) -> Result<(), ModelLoadError> + Send + Sync>;

/// What happened to a version that was to be opened.
pub enum Event<'a> {
    /// It is ready.
    Opened(&'a VersionId),
    /// It is not, and what scores now goes on.
    Failed(Option<&'a VersionId>, &'a ModelLoadError),
}

/// Hears of each event.
pub type Listener = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// The open versions of one model, shared by a process's workers.
pub struct Shelf {
    versions: Arc<dyn Versions>,
    accept: Accept,
    batch_rows: Option<usize>,
    inner: Mutex<Inner>,
    asked: Condvar,
}

#[derive(Default)]
struct Inner {
    /// The last one used last.
    open: Vec<(VersionId, Arc<dyn Model>)>,
    wanted: Option<VersionId>,
    /// To be opened: one that is to follow, and one that epochs wait for.
    prepare: Option<VersionId>,
    needed: Option<(VersionId, Instant)>,
    /// Epochs wait for this one in vain.
    given_up: Option<(VersionId, Arc<ModelLoadError>)>,
    wakers: Vec<Box<dyn Fn() + Send>>,
}

impl Shelf {
    /// Opens the current version.
    ///
    /// `batch_rows` says how many rows calls have, in place of the model itself.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened, or is not accepted.
    pub fn open(
        versions: Arc<dyn Versions>,
        batch_rows: Option<usize>,
        accept: Accept,
    ) -> Result<Self, ModelLoadError> {
        let inner = Mutex::new(Inner::default());
        let shelf = Shelf { versions, accept, batch_rows, inner, asked: Condvar::new() };
        let id = shelf.current()?;
        shelf.put(&id)?;
        shelf.inner().wanted = Some(id);
        Ok(shelf)
    }

    /// Follows what is current, at this interval, and opens what is asked for, on a thread of its own, until
    /// the shelf is gone.
    pub fn follow(self: &Arc<Self>, name: &str, every: Duration, listener: Listener) {
        let (shelf, may_change) = (Arc::downgrade(self), self.versions.may_change());
        let never = Duration::from_secs(u64::from(u32::MAX));
        let every = if may_change { every } else { never };
        let ask_at = Instant::now() + every;
        let mut opener = Opener { every, listener, ask_at, again: None, told: String::new() };
        let run = move || while opener.turn(&shelf) {};
        thread::Builder::new()
            .name(name.to_string())
            .spawn(run)
            .expect("the operating system refused a thread");
    }

    /// What is to score, as far as is known.
    pub fn wanted(&self) -> Option<VersionId> {
        self.inner().wanted.clone()
    }

    /// A version will follow: it is opened.
    pub fn prepare(&self, id: &VersionId) {
        let mut inner = self.inner();
        if inner.prepare.as_ref() != Some(id) {
            inner.prepare = Some(id.clone());
            self.asked.notify_all();
        }
    }

    /// The version, where it is open. Where it is not and epochs wait for it, it is opened, or the reason
    /// comes why it cannot be.
    ///
    /// # Errors
    /// When it is not to be had.
    pub fn need(&self, id: &VersionId) -> Result<Option<Arc<dyn Model>>, Arc<ModelLoadError>> {
        let mut inner = self.inner();
        if let Some(model) = inner.find(id) {
            return Ok(Some(model));
        }
        if let Some((gone, error)) = &inner.given_up
            && gone == id
        {
            return Err(error.clone());
        }
        if inner.needed.as_ref().is_none_or(|(needed, _)| needed != id) {
            inner.needed = Some((id.clone(), Instant::now()));
            self.asked.notify_all();
        }
        Ok(None)
    }

    /// Whether it is open.
    pub fn is_open(&self, id: &VersionId) -> bool {
        self.inner().open.iter().any(|(open, _)| open == id)
    }

    /// Has `wake` called whenever a version was opened, or one was given up.
    pub fn wake_with(&self, wake: impl Fn() + Send + 'static) {
        self.inner().wakers.push(Box::new(wake));
    }

    /// Waits until something else than this is to be opened, at most so long.
    fn wait(&self, at_most: Duration, but: Option<&VersionId>) {
        let idle = |inner: &mut Inner| inner.next().as_ref().is_none_or(|id| Some(id) == but);
        let waited = self.asked.wait_timeout_while(self.inner(), at_most, idle);
        drop(waited.expect("no holder of this lock panics"));
    }

    fn current(&self) -> Result<VersionId, ModelLoadError> {
        let id = self.versions.current()?;
        Ok(VersionId { batch_rows: self.batch_rows.unwrap_or(id.batch_rows), ..id })
    }

    /// Opens a version and puts it on the shelf.
    fn put(&self, id: &VersionId) -> Result<(), ModelLoadError> {
        if self.is_open(id) {
            return Ok(());
        }
        let model = self.versions.open(id)?;
        (self.accept)(id, &*model)?;
        model.warm(id.batch_rows).map_err(|error| ModelLoadError::Warm {
            version: id.version.clone(),
            source: Box::new(error),
        })?;
        let mut inner = self.inner();
        inner.needed.take_if(|(needed, _)| needed == id);
        inner.open.push((id.clone(), model));
        while inner.open.len() > OPEN_MAX {
            inner.open.remove(0);
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

impl Inner {
    fn find(&mut self, id: &VersionId) -> Option<Arc<dyn Model>> {
        let at = self.open.iter().position(|(open, _)| open == id)?;
        let found = self.open.remove(at);
        let model = found.1.clone();
        self.open.push(found);
        Some(model)
    }

    /// Epochs that wait for this version in vain must not do so for ever.
    fn give_up(&mut self, id: &VersionId, error: ModelLoadError) {
        let waited = self.needed.as_ref().filter(|(needed, _)| needed == id);
        let Some((_, since)) = waited else { return };
        if error.kind() != ErrorKind::Unavailable || since.elapsed() > WAIT_MAX {
            self.given_up = Some((id.clone(), Arc::new(error)));
            self.needed = None;
        }
    }

    /// What is to be opened now: what epochs wait for first.
    fn next(&self) -> Option<VersionId> {
        let is_open = |id: &VersionId| self.open.iter().any(|(open, _)| open == id);
        let needed = self.needed.as_ref().map(|(id, _)| id);
        needed.into_iter().chain(&self.prepare).find(|id| !is_open(id)).cloned()
    }
}

/// What the thread remembers between its turns.
struct Opener {
    every: Duration,
    listener: Listener,
    /// When it is asked again which version is current.
    ask_at: Instant,
    /// What could not be opened, and when it is tried again.
    again: Option<(VersionId, Instant)>,
    told: String,
}

impl Opener {
    /// One turn; whether there is another.
    fn turn(&mut self, shelf: &Weak<Shelf>) -> bool {
        let Some(shelf) = shelf.upgrade() else { return false };
        if Instant::now() >= self.ask_at {
            self.ask_at = Instant::now() + self.every;
            match shelf.current() {
                Ok(id) => shelf.inner().wanted = Some(id),
                Err(error) => self.fail(None, &error),
            }
        }
        match self.next(&shelf) {
            Some(id) => self.open(&shelf, &id),
            None => shelf.wait(self.pause(), self.again.as_ref().map(|(id, _)| id)),
        }
        true
    }

    fn next(&self, shelf: &Shelf) -> Option<VersionId> {
        let id = shelf.inner().next()?;
        let wait = self.again.as_ref().is_some_and(|(a, at)| *a == id && Instant::now() < *at);
        (!wait).then_some(id)
    }

    /// Until there may be something to do that nobody asks for; and the shelf may be gone.
    fn pause(&self) -> Duration {
        let again = self.again.as_ref().map_or(self.ask_at, |(_, at)| self.ask_at.min(*at));
        let until = again.saturating_duration_since(Instant::now());
        until.clamp(Duration::from_millis(1), AGAIN)
    }

    fn open(&mut self, shelf: &Shelf, id: &VersionId) {
        match shelf.put(id) {
            Ok(()) => {
                self.told.clear();
                self.again = None;
                (self.listener)(Event::Opened(id));
            }
            Err(error) => {
                self.fail(Some(id), &error);
                self.again = Some((id.clone(), Instant::now() + AGAIN));
                shelf.inner().give_up(id, error);
            }
        }
        shelf.inner().wakers.iter().for_each(|wake| wake());
    }

    /// Says each failure once.
    fn fail(&mut self, id: Option<&VersionId>, error: &ModelLoadError) {
        let text = error.to_string();
        if self.told != text {
            let version = id.map(ToString::to_string);
            tracing::warn!(version, %error, "the version that scores goes on: no other can be had");
            self.told = text;
        }
        (self.listener)(Event::Failed(id, error));
    }
}
