//! What the graph has written, read from its topics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use serde::de::DeserializeOwned;
use tideflow::job::Delivery;
use tideflow::prelude::AlarmState;
use tideflow_dataflows::device_health::{
    AlarmRecord, DeviceHealth, LateRecord, ScoreRecord, WindowRecord,
};

use super::moments::Moments;
use crate::tail::Tail;

/// The longest wait between two looks, should a wake-up be missed.
const LOOK: Duration = Duration::from_millis(50);
/// The longest wait for records that are in the topics.
const END_WAIT: Duration = Duration::from_secs(30);

/// Latency is kept from a microsecond to ten minutes, with three digits.
const LATENCY_US_MAX: u64 = 600_000_000;

/// What has been read so far.
pub struct Found {
    /// Window records.
    pub windows: u64,
    /// Readings that the window records say they hold.
    pub in_windows: u64,
    /// Score records.
    pub scores: u64,
    /// Alarms raised.
    pub raised: Vec<AlarmRecord>,
    /// Late records.
    pub late: u64,
    /// Dead letters, by the reason in their header.
    pub rejected: BTreeMap<String, u64>,
    /// Records missing between two others.
    pub lost: u64,
    /// Microseconds from the reading that let a window close to its score, and to its alarm.
    pub latency: Histogram<u64>,
    /// Scores without a latency: of windows that only the end of the run closed.
    pub untimed: u64,
}

impl Found {
    fn new() -> Found {
        let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3);
        Found {
            windows: 0,
            in_windows: 0,
            scores: 0,
            raised: Vec::new(),
            late: 0,
            rejected: BTreeMap::new(),
            lost: 0,
            latency: latency.expect("the bounds are right"),
            untimed: 0,
        }
    }

    fn timed(&mut self, moments: &Moments, window_end: i64, received: Instant) {
        match moments.of(window_end) {
            Some(moment) => {
                let took = received.saturating_duration_since(moment).as_micros() as u64;
                self.latency.saturating_record(took);
            }
            None => self.untimed += 1,
        }
    }

    fn window(&mut self, record: &WindowRecord) {
        self.windows += 1;
        self.in_windows += record.count;
    }

    fn score(&mut self, record: &ScoreRecord, moments: &Moments, received: Instant) {
        self.scores += 1;
        self.timed(moments, record.window_end.0, received);
    }

    fn alarm(&mut self, record: AlarmRecord, moments: &Moments, received: Instant) {
        self.timed(moments, record.window_end.0, received);
        if record.state == AlarmState::Raised {
            self.raised.push(record);
        }
    }

    fn dead_letter(&mut self, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        let headers = message.headers().context("no headers")?;
        let error = headers.iter().filter(|header| header.key == "error").last();
        let error = error.and_then(|header| header.value).context("no header `error`")?;
        let reason = String::from_utf8_lossy(error).into_owned();
        *self.rejected.entry(reason).or_default() += 1;
        Ok(())
    }
}

fn json<D: DeserializeOwned>(message: &BorrowedMessage<'_>) -> anyhow::Result<D> {
    Ok(serde_json::from_slice(message.payload().unwrap_or_default())?)
}

/// A thread that reads the five topics, each with a consumer of its own.
pub struct Results {
    found: Arc<Mutex<Found>>,
    finish: Arc<AtomicBool>,
    /// None once its end has been told.
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Results {
    /// Starts to read.
    ///
    /// # Errors
    /// When the operating system has no thread left. What else goes wrong is told by
    /// [`Results::finish`].
    pub fn follow(config: &DeviceHealth, moments: Arc<Moments>) -> anyhow::Result<Results> {
        let found = Arc::new(Mutex::new(Found::new()));
        let finish = Arc::new(AtomicBool::new(false));
        let config = config.clone();
        let (into, end) = (found.clone(), finish.clone());
        let thread = thread::Builder::new()
            .name("results".into())
            .spawn(move || Reader::new(&config, moments, into)?.run(&end))?;
        Ok(Results { found, finish, thread: Some(thread) })
    }

    /// Looks at what has been read so far.
    pub fn look(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
    }

    /// Looks whether reading still goes on.
    ///
    /// # Errors
    /// When a topic cannot be read or holds something that is no record.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) { self.join() } else { Ok(()) }
    }

    /// Reads what is in the topics now, to the last record.
    ///
    /// # Errors
    /// As for [`Results::check`].
    pub fn finish(mut self) -> anyhow::Result<Found> {
        self.finish.store(true, Ordering::Release);
        self.join()?;
        Ok(std::mem::replace(&mut *lock(&self.found), Found::new()))
    }

    fn join(&mut self) -> anyhow::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.thread().unpark();
        match thread.join() {
            Ok(outcome) => outcome.context("reading the results"),
            Err(_) => bail!("reading the results: the thread has panicked"),
        }
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reader {
    windows: Tail,
    scores: Tail,
    alarms: Tail,
    late: Tail,
    rejects: Tail,
    moments: Arc<Moments>,
    found: Arc<Mutex<Found>>,
    delivery: Delivery,
}

impl Reader {
    fn new(
        config: &DeviceHealth,
        moments: Arc<Moments>,
        found: Arc<Mutex<Found>>,
    ) -> anyhow::Result<Reader> {
        let topics = &config.topics;
        let tail = |topic: &String| Tail::new(&config.kafka, topic, thread::current());
        Ok(Reader {
            windows: tail(&topics.windows)?,
            scores: tail(&topics.scores)?,
            alarms: tail(&topics.alarms)?,
            late: tail(&topics.late)?,
            rejects: tail(&topics.rejects)?,
            moments,
            found,
            delivery: config.job.delivery,
        })
    }

    fn run(mut self, finish: &AtomicBool) -> anyhow::Result<()> {
        while !finish.load(Ordering::Acquire) {
            if !self.turn()? {
                thread::park_timeout(LOOK);
            }
        }
        for tail in self.tails() {
            tail.look_for_ends()?;
        }
        let deadline = Instant::now() + END_WAIT;
        while !self.tails().iter().all(|tail| tail.is_at_its_ends()) {
            if Instant::now() >= deadline {
                bail!("the last records have not come after {} s", END_WAIT.as_secs());
            }
            if !self.turn()? {
                thread::park_timeout(LOOK);
            }
        }
        Ok(())
    }

    fn tails(&mut self) -> [&mut Tail; 5] {
        let Reader { windows, scores, alarms, late, rejects, .. } = self;
        [windows, scores, alarms, late, rejects]
    }

    /// Takes what has come in each topic; true when there may be more at once.
    fn turn(&mut self) -> anyhow::Result<bool> {
        let Reader { windows, scores, alarms, late, rejects, moments, found, delivery } = self;
        let mut found = lock(found);
        let mut more = true;
        // What is timed comes first, all of it: the rest would make it look later than it was.
        while more {
            let mut received = None;
            more = scores.poll(|message| {
                let received = *received.get_or_insert_with(Instant::now);
                found.score(&json(message)?, moments, received);
                Ok(())
            })?;
            more |= alarms.poll(|message| {
                found.alarm(json(message)?, moments, Instant::now());
                Ok(())
            })?;
        }
        more |= windows.poll(|message| {
            found.window(&json(message)?);
            Ok(())
        })?;
        more |= late.poll(|message| {
            let _: LateRecord = json(message)?;
            found.late += 1;
            Ok(())
        })?;
        more |= rejects.poll(|message| found.dead_letter(message))?;
        // Between transactions lie their marks, at offsets of their own.
        if *delivery == Delivery::AtLeastOnce {
            found.lost = [&*windows, scores, alarms, late, rejects].map(Tail::gaps).iter().sum();
        }
        Ok(more)
    }
}
