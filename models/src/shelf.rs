//! The versions of a model that a process has open, and the thread that opens them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use tideflow_core::OperatorName;

use crate::{ErrorKind, Model, ModelLoadError, VersionId, Versions};

/// Versions open at once at most: that which scores, that which is to follow, and one more, for epochs before
/// a change that are not done yet.
const OPEN_MAX: usize = 3;
/// Between two tries of what did not work.
const AGAIN: Duration = Duration::from_secs(1);
/// And where it will not work before somebody has changed something.
const LATER: Duration = Duration::from_secs(60);
/// How long a version that epochs wait for may not be to be had.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What must hold of every version beside what it says of itself: that the graph can use it.
pub type Accept = Arc<dyn Fn(&VersionId, &dyn Model) -> Result<(), ModelLoadError> + Send + Sync>;

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
    /// To be opened: one that is to follow, and those that epochs wait for.
    prepare: Option<VersionId>,
    /// In the order in which they were asked for, and since when: of the epochs in flight, so they are few.
    needed: Vec<(VersionId, Instant)>,
    /// Epochs wait for these in vain: the run ends.
    given_up: Vec<(VersionId, Arc<ModelLoadError>)>,
    wakers: Vec<Box<dyn Fn() + Send>>,
}

impl Shelf {
    /// Opens the current version. Where nobody can say which that is, or it cannot be used, that which scored
    /// last, or that which was current when somebody could say.
    ///
    /// `batch_rows` says how many rows calls have, in place of the model itself.
    ///
    /// # Errors
    /// When there is none of these, or it cannot be opened, or is not accepted: what is wrong with the current one.
    pub fn open(
        versions: Arc<dyn Versions>,
        batch_rows: Option<usize>,
        last: Option<&VersionId>,
        accept: Accept,
    ) -> Result<Self, ModelLoadError> {
        let inner = Mutex::new(Inner::default());
        let shelf = Shelf { versions, accept, batch_rows, inner, asked: Condvar::new() };
        let id = match shelf.current().and_then(|id| shelf.put(&id).map(|()| id)) {
            Ok(id) => id,
            Err(error) => {
                let away = error.kind() == ErrorKind::Unavailable;
                let remembered = shelf.versions.remembered().filter(|_| away);
                let Some(id) = last.cloned().or(remembered) else { return Err(error) };
                let Ok(()) = shelf.put(&id) else { return Err(error) };
                tracing::warn!(%error, model = %id, "the current version cannot be had: this one scores");
                id
            }
        };
        shelf.inner().wanted = Some(id);
        Ok(shelf)
    }

    /// Follows what is current, at this interval, and opens what is asked for, on a thread of the operator's own,
    /// until the shelf is gone.
    pub fn follow(
        self: &Arc<Self>,
        name: OperatorName,
        every: Duration,
        failed: impl Fn() + Send + 'static,
    ) {
        let (shelf, may_change) = (Arc::downgrade(self), self.versions.may_change());
        let never = Duration::from_secs(u64::from(u32::MAX));
        let every = if may_change { every } else { never };
        let ask_at = Instant::now() + every;
        let failed = Box::new(failed);
        let mut opener = Opener { every, failed, ask_at, again: Vec::new(), told: String::new() };
        name.spawn(move || while opener.turn(&shelf) {});
    }

    /// What is to score, as far as is known.
    pub fn wanted(&self) -> Option<VersionId> {
        self.inner().wanted.clone()
    }

    /// It is current. One that was to follow and is so no more is not opened any more.
    fn want(&self, id: VersionId) {
        let mut inner = self.inner();
        inner.prepare = inner.prepare.take().filter(|prepare| *prepare == id);
        inner.wanted = Some(id);
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
        if let Some((_, error)) = inner.given_up.iter().find(|(gone, _)| gone == id) {
            return Err(error.clone());
        }
        if inner.needed.iter().all(|(needed, _)| needed != id) {
            inner.needed.push((id.clone(), Instant::now()));
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

    /// Waits until something else than these is to be opened, at most so long.
    fn wait(&self, at_most: Duration, but: &[(VersionId, Instant)]) {
        let idle = |inner: &mut Inner| inner.next(but).is_none();
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
        inner.needed.retain(|(needed, _)| needed != id);
        inner.open.push((id.clone(), model));
        let closed = (inner.open.len() > OPEN_MAX).then(|| inner.open.remove(0));
        drop(inner);
        // It may take a while.
        drop(closed);
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
        let Some(at) = self.needed.iter().position(|(needed, _)| needed == id) else { return };
        if error.kind() != ErrorKind::Unavailable || self.needed[at].1.elapsed() > WAIT_MAX {
            self.given_up.push((self.needed.remove(at).0, Arc::new(error)));
        }
    }

    /// What is to be opened now, but for these: what epochs wait for first.
    fn next(&self, but: &[(VersionId, Instant)]) -> Option<VersionId> {
        let asked = self.needed.iter().map(|(id, _)| id).chain(&self.prepare);
        let beside = |id: &&VersionId| self.open.iter().all(|(open, _)| open != *id);
        asked.filter(beside).find(|id| but.iter().all(|(not, _)| not != *id)).cloned()
    }
}

/// What the thread remembers between its turns.
struct Opener {
    every: Duration,
    /// Told each time.
    failed: Box<dyn Fn() + Send>,
    /// When it is asked again which version is current.
    ask_at: Instant,
    /// What could not be opened, and when it is tried again.
    again: Vec<(VersionId, Instant)>,
    told: String,
}

impl Opener {
    /// One turn; whether there is another.
    fn turn(&mut self, shelf: &Weak<Shelf>) -> bool {
        let Some(shelf) = shelf.upgrade() else { return false };
        if Instant::now() >= self.ask_at {
            self.ask_at = Instant::now() + self.every;
            match shelf.current() {
                Ok(id) => shelf.want(id),
                Err(error) => {
                    // A version that is not as it should be is not downloaded anew each time.
                    if error.kind() != ErrorKind::Unavailable {
                        self.ask_at = Instant::now() + self.every.max(LATER);
                    }
                    self.fail(None, &error);
                }
            }
        }
        let now = Instant::now();
        self.again.retain(|(_, at)| now < *at);
        let next = shelf.inner().next(&self.again);
        match next {
            Some(id) => self.open(&shelf, &id),
            None => shelf.wait(self.pause(), &self.again),
        }
        true
    }

    /// Until there may be something to do that nobody asks for; and the shelf may be gone.
    fn pause(&self) -> Duration {
        let again = self.again.iter().map(|(_, at)| *at).fold(self.ask_at, Instant::min);
        let until = again.saturating_duration_since(Instant::now());
        until.clamp(Duration::from_millis(1), AGAIN)
    }

    fn open(&mut self, shelf: &Shelf, id: &VersionId) {
        match shelf.put(id) {
            Ok(()) => self.told.clear(),
            Err(error) => {
                self.fail(Some(id), &error);
                let pause = if error.kind() == ErrorKind::Unavailable { AGAIN } else { LATER };
                self.again.push((id.clone(), Instant::now() + pause));
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
        (self.failed)();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::LinearModel;

    /// Versions in memory, one of which is current, where somebody can say.
    #[derive(Default)]
    struct Few {
        current: Option<&'static str>,
        remembered: Option<&'static str>,
        broken: Option<&'static str>,
        away: Option<&'static str>,
    }

    fn away() -> ModelLoadError {
        let source = std::io::Error::other("away");
        ModelLoadError::Io { path: "registry".into(), source }
    }

    fn linear(version: &str) -> LinearModel {
        LinearModel::new("few", &[("a", "1")], &[1.0], 0.0).version(version).batch_rows(1)
    }

    fn id(version: &str) -> VersionId {
        VersionId::of(linear(version).signature())
    }

    impl Versions for Few {
        fn current(&self) -> Result<VersionId, ModelLoadError> {
            self.current.map(id).ok_or_else(away)
        }

        fn open(&self, id: &VersionId) -> Result<Arc<dyn Model>, ModelLoadError> {
            if self.broken == Some(id.version.as_str()) {
                return Err(ModelLoadError::NotAFolder { path: id.version.clone().into() });
            }
            if self.away == Some(id.version.as_str()) {
                return Err(away());
            }
            Ok(Arc::new(linear(&id.version)))
        }

        fn remembered(&self) -> Option<VersionId> {
            self.remembered.map(id)
        }

        fn may_change(&self) -> bool {
            true
        }
    }

    fn open(few: Few, last: Option<&str>) -> Result<Shelf, ModelLoadError> {
        Shelf::open(Arc::new(few), None, last.map(id).as_ref(), Arc::new(|_, _| Ok(())))
    }

    #[test]
    fn a_start_takes_what_is_current_then_what_scored_last_then_what_is_remembered() {
        let wanted = |few: Few, last: Option<&str>| {
            open(few, last).map(|shelf| shelf.wanted().expect("one").version).ok()
        };
        let few = |current, remembered, broken| Few { current, remembered, broken, away: None };
        let is = |version: &str| Some(version.to_string());
        assert_eq!(wanted(few(Some("2"), None, None), Some("1")), is("2"));
        assert_eq!(wanted(few(Some("2"), None, Some("2")), Some("1")), is("1"));
        assert_eq!(wanted(few(None, Some("3"), None), Some("1")), is("1"));
        assert_eq!(wanted(few(None, Some("3"), None), None), is("3"));
        // One that cannot be used is no reason to take one that nobody has asked for.
        assert_eq!(wanted(few(Some("2"), Some("3"), Some("2")), None), None);
        assert_eq!(wanted(few(None, None, None), None), None);
    }

    #[test]
    fn versions_are_opened_as_they_are_needed_and_the_oldest_goes() {
        let shelf =
            Arc::new(open(Few { current: Some("1"), ..Few::default() }, None).expect("one"));
        shelf.follow(OperatorName::new("few"), Duration::from_secs(60), || ());
        for version in ["2", "3", "4"] {
            let since = Instant::now();
            while shelf.need(&id(version)).expect("it can be opened").is_none() {
                assert!(since.elapsed() < Duration::from_secs(10), "{version} is not opened");
                thread::park_timeout(Duration::from_millis(1));
            }
        }
        let open = ["1", "2", "3", "4"].map(|version| shelf.is_open(&id(version)));
        assert_eq!(open, [false, true, true, true]);
    }

    #[test]
    fn fault_a_version_that_is_away_holds_up_no_other_that_epochs_need() {
        let few = Few { current: Some("1"), away: Some("3"), ..Few::default() };
        let shelf = Arc::new(open(few, None).expect("one"));
        // Each is asked for once: whoever waits is woken when it is there.
        for version in ["3", "2", "3", "4"] {
            assert!(shelf.need(&id(version)).expect("nothing is given up").is_none());
        }
        shelf.follow(OperatorName::new("few"), Duration::from_secs(60), || ());
        let since = Instant::now();
        while !["2", "4"].iter().all(|version| shelf.is_open(&id(version))) {
            assert!(since.elapsed() < Duration::from_secs(10), "they are not opened");
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(shelf.need(&id("3")).expect("it is waited for").is_none());
    }

    #[test]
    fn fault_what_epochs_need_and_nobody_has_is_given_up() {
        let few = Few { current: Some("1"), broken: Some("2"), ..Few::default() };
        let shelf = Arc::new(open(few, None).expect("one"));
        shelf.follow(OperatorName::new("few"), Duration::from_secs(60), || ());
        let since = Instant::now();
        let error = loop {
            match shelf.need(&id("2")) {
                Ok(model) => assert!(model.is_none(), "it cannot be opened"),
                Err(error) => break error,
            }
            assert!(since.elapsed() < Duration::from_secs(10), "it is not given up");
            thread::park_timeout(Duration::from_millis(1));
        };
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(shelf.is_open(&id("1")), "what scores goes on");
    }
}
