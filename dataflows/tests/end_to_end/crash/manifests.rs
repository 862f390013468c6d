//! Which snapshots count.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tideflow::core::kafka::testing::TestBroker;

use super::start::{SMALL, newest_manifest};
use crate::batch::content;
use crate::fleet::{START, at};
use crate::program::{Running, device_health, run};
use crate::python::model;
use crate::topics::Topics;

/// A job that has read, and has nothing to say before the end of the minute.
struct Silent {
    topics: Topics,
}

impl Silent {
    fn start(&self, more: &[&str]) -> Running {
        let mut command = device_health("run", &self.topics, &model("health"));
        command.args(SMALL).args(more);
        Running::start(&mut command)
    }

    /// The name of the newest manifest in the store, whether it counts or not.
    fn newest_name(&self) -> Option<String> {
        let store = Path::new(&self.topics.state).join(&self.topics.windows);
        newest_manifest(&store)
    }

    /// Its epoch.
    fn newest(&self) -> Option<u64> {
        self.newest_name().map(|name| name[name.len() - 20..].parse().expect("a number"))
    }

    /// What is told of its state.
    fn asks(&self, what: &[&str]) -> String {
        let mut command = device_health("state", &self.topics, &model("health"));
        let ended = run(command.args(SMALL).args(what));
        ended.with_code(0);
        ended.out
    }

    /// Sends readings of one minute, few at a time, until it is told or the minute is full.
    fn feed(&self, over: &AtomicBool) {
        let times: Vec<i64> = (START..START + 50_000).step_by(4).collect();
        for some in times.chunks(4) {
            if over.load(Ordering::Acquire) {
                return;
            }
            self.topics.send(some.iter().map(|ts| at((ts / 4 % 2) as i32, "d", *ts)));
        }
    }
}

/// Tells when it is dropped.
struct Told<'a>(&'a AtomicBool);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The epoch of the snapshot from which a start goes on.
fn goes_on_from(start: &Running) -> u64 {
    let line = start.wait_for("taken over generation");
    let (_, epoch) = line.split_once("snapshot=").expect("it says so");
    let digits = epoch.split(' ').next().expect("a word");
    digits.parse().expect("a number")
}

const NO_SNAPSHOT: &str = "--job.snapshot_every=1000000";

#[test]
fn crash_a_snapshot_of_a_fenced_process_that_has_nothing_to_publish_does_not_count() {
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    let job = Silent { topics };
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        // Where the test fails on its way, the feeder is not waited for until its minute is full.
        let _told = Told(&over);
        let feeder = threads.spawn(|| job.feed(&over));
        // What a fenced process has read is cut as its successor does not cut it.
        let (counted, successor) = loop {
            let fenced = job.start(&["--job.snapshot_every=1"]);
            let before = job.newest();
            fenced.wait_until("a snapshot", |_| job.newest() > before);
            let successor = job.start(&[NO_SNAPSHOT]);
            let counted = goes_on_from(&successor);
            let ended = fenced.end();
            assert!(ended.code != 0 && ended.err.contains("taken over"), "{}", ended.err);
            // Most write one before they find out.
            if job.newest() > Some(counted) {
                break (counted, successor);
            }
            println!("none behind that of epoch {counted}");
        };
        successor.wait_until("read", |m| m.sum("tideflow_windowed_total", &[]) > 100.0);
        over.store(true, Ordering::Release);
        feeder.join().expect("it only sends");
        successor.signal("KILL");
        successor.end();
        // Nor can it be asked for by its name.
        let void = job.newest_name().expect("it is there");
        let listed = job.asks(&["ls"]);
        let marked = |line: &str| line.starts_with(&void) && line.ends_with("does not count");
        assert!(listed.lines().any(marked), "{listed}");
        let refused = job.start(&[&format!("--job.snapshot={void}")]).end();
        refused.with_code(2);
        let words = format!("no snapshot `{void}`: expected one of `");
        assert!(refused.err.contains(&words), "{}", refused.err);
        let last = job.start(&["--readings.until=end"]);
        assert_eq!(goes_on_from(&last), counted);
        let ended = last.end();
        ended.with_code(0);
    });
    let found = content(job.topics.read(&job.topics.windows));

    let alone = Topics::reading(TestBroker::shared(), &job.topics.readings, 2);
    let mut command = device_health("run", &alone, &model("health"));
    let ended = Running::start(command.arg("--readings.until=end")).end();
    ended.with_code(0);
    let expected = content(alone.read(&alone.windows));
    assert_eq!((found.len(), &found), (1, &expected));
}
