//! How busy the worker threads are, by the operating system's count of their CPU time.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use tideflow_core::Metrics;

/// The threads whose CPU time is shown.
#[derive(Default)]
pub struct BusyThreads {
    threads: Mutex<Vec<Thread>>,
}

/// How busy a thread was.
#[derive(Clone, Debug, PartialEq)]
pub struct Busy {
    /// The name it was registered by.
    pub name: String,
    /// CPU time since the thread started.
    pub cpu: Duration,
    /// Share of one core, 0 to 1, over the last interval of at least the length asked for; at first
    /// since the thread was registered.
    pub share: f64,
}

struct Thread {
    name: String,
    schedstat: PathBuf,
    sampled: Instant,
    cpu: Duration,
    share: f64,
}

/// Shares over less are a matter of chance, and several may ask for them.
const SAMPLE_MIN: Duration = Duration::from_secs(1);

impl BusyThreads {
    /// The page of metrics, with the share of each thread since it was last taken, at least a second
    /// before.
    pub fn page(&self, metrics: &Metrics) -> String {
        for Busy { name, share, .. } in self.sample(SAMPLE_MIN) {
            metrics.worker_busy.with_label_values(&[&name]).set(share);
        }
        metrics.text()
    }

    /// Adds the calling thread.
    ///
    /// # Errors
    /// When the kernel does not tell a thread's CPU time.
    pub fn register(&self, name: impl Into<String>) -> io::Result<()> {
        // A link to `PID/task/TID`.
        let schedstat = PathBuf::from("/proc").join(fs::read_link("/proc/thread-self")?);
        let schedstat = schedstat.join("schedstat");
        let cpu = cpu(&schedstat)?;
        let (name, sampled, share) = (name.into(), Instant::now(), 0.0);
        let thread = Thread { name, schedstat, sampled, cpu, share };
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// How busy each thread was, in the order of registration, anew when the last sample is at least
    /// `at_least` old. A thread that has ended is left out from then on.
    pub fn sample(&self, at_least: Duration) -> Vec<Busy> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busy = Vec::with_capacity(threads.len());
        threads.retain_mut(|thread| {
            let Ok(cpu) = cpu(&thread.schedstat) else { return false };
            let now = Instant::now();
            let wall = now.duration_since(thread.sampled);
            if wall > Duration::ZERO && wall >= at_least {
                let used = cpu.saturating_sub(thread.cpu).as_secs_f64();
                // The kernel counts in ticks, so that a short interval can seem more than full.
                thread.share = (used / wall.as_secs_f64()).min(1.0);
                (thread.sampled, thread.cpu) = (now, cpu);
            }
            busy.push(Busy { name: thread.name.clone(), cpu, share: thread.share });
            true
        });
        busy
    }
}

/// The first figure of `schedstat`: nanoseconds on a core.
fn cpu(schedstat: &PathBuf) -> io::Result<Duration> {
    let text = fs::read_to_string(schedstat)?;
    let first = text.split_ascii_whitespace().next().and_then(|n| n.parse().ok());
    first.map(Duration::from_nanos).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("found `{text}`, expected a count"))
    })
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn a_working_thread_is_busy_a_waiting_one_is_not_and_an_ended_one_is_gone() {
        let threads = Arc::new(BusyThreads::default());
        let (registered, both) = channel();
        let (release, hold) = channel::<()>();
        let (ours, told) = (Arc::clone(&threads), registered.clone());
        let waiting = thread::spawn(move || {
            ours.register("waiting").unwrap();
            told.send(()).unwrap();
            let _ = hold.recv();
        });
        let ours = Arc::clone(&threads);
        let (quit, asked) = channel::<()>();
        let working = thread::spawn(move || {
            ours.register("working").unwrap();
            registered.send(()).unwrap();
            while asked.try_recv().is_err() {
                black_box((0..10_000_u64).sum::<u64>());
            }
        });
        both.recv().unwrap();
        both.recv().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        // The kernel counts now and then: wait until it has.
        let busy = loop {
            let busy = threads.sample(Duration::ZERO);
            let of = |name| busy.iter().find(|b| b.name == name).unwrap().clone();
            if of("working").cpu >= Duration::from_millis(50) {
                break [of("working"), of("waiting")];
            }
            assert!(Instant::now() < deadline, "{busy:?}");
            thread::yield_now();
        };
        assert!(busy[1].cpu < Duration::from_millis(20), "{busy:?}");
        assert!(busy.iter().all(|b| (0.0..=1.0).contains(&b.share)), "{busy:?}");
        // Too soon for another sample: the last one stands.
        let again = threads.sample(Duration::from_secs(3_600));
        let share = |name| again.iter().find(|b| b.name == name).unwrap().share;
        assert_eq!([share("working"), share("waiting")], [busy[0].share, busy[1].share]);
        drop(release);
        quit.send(()).unwrap();
        waiting.join().unwrap();
        working.join().unwrap();
        assert!(threads.sample(Duration::ZERO).is_empty());
    }
}
