//! The job that is killed, and the run left alone that says what it must publish.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tideflow::core::kafka::testing::TestBroker;

use super::check::Difference;
use super::start::{Killed, SMALL, Start};
use crate::batch::{Copy, content};
use crate::fleet::{Fleet, MINUTE, reading};
use crate::program::{Ended, device_health, run};
use crate::python::{model, python};
use crate::topics::{Input, Sent, Topics, dump};

pub const OUTPUTS: usize = 4;
/// `raise_above`, `clear_below`, `windows_min`: so that many devices have alarms that come and go.
const ALARM: [&str; 3] = ["0.23", "0.225", "2"];
/// Readings of [`LeftAlone::shared`].
const READINGS: u64 = 1_500_000;
/// How what is no reading begins.
const BROKEN: &str = "broken";
/// How the name of a straggler begins: a device of one reading, which is an hour older than those around it.
/// Whether it is late goes by how far its epoch has come, which differs from run to run.
pub const STRAGGLER: &str = "straggler";

/// A fleet with a dead letter and a straggler now and then.
pub fn inputs(readings: u64) -> impl Iterator<Item = Input> {
    let fleet = Fleet { devices: 500, readings, span_ms: 60 * 60_000, partitions: 4 };
    fleet.inputs().enumerate().map(|(n, input)| match n % 10_000 {
        17 => Input { value: Some(format!("{BROKEN} {n}").into_bytes()), ..input },
        7_117 => {
            let (device, ts) = (format!("{STRAGGLER}-{n}"), input.timestamp - 60 * MINUTE);
            let value = reading(&device, ts, "21.5", "0.8", "4.2").into_bytes();
            Input { key: Some(device.into_bytes()), value: Some(value), timestamp: ts, ..input }
        }
        _ => input,
    })
}

/// Readings, and what a run without an accident makes of them.
pub struct LeftAlone {
    topics: Topics,
    results: [Vec<Sent>; 4],
    orders: [Order; 3],
}

/// What a topic says of each key, one after the other.
type Order = BTreeMap<Option<Vec<u8>>, Vec<Option<Vec<u8>>>>;

/// That of windows, scores and alarms. Dead letters of a key may come from several partitions.
fn orders(published: &[Vec<Sent>; 4]) -> [Order; 3] {
    let [keyed @ .., _] = published;
    keyed.each_ref().map(|records| {
        let mut order = Order::new();
        for Sent { key, value, .. } in records {
            order.entry(key.clone()).or_default().push(value.clone());
        }
        order
    })
}

impl LeftAlone {
    /// So many readings on this broker.
    pub fn over(broker: &TestBroker, readings: u64) -> LeftAlone {
        let topics = Topics::new(broker, 4, OUTPUTS);
        topics.send(inputs(readings));
        let command = || over(&topics, &["--job.delivery=at_least_once"]);
        Start::of(command, (1, 2), None, &[]).end_well();
        let published = published(&topics);
        let orders = orders(&published);
        let results = published.map(content);
        let counts = results.each_ref().map(Vec::len);
        let enough = counts[..3].iter().all(|n| *n > 100);
        assert!(enough && counts[3] as u64 == readings / 10_000, "{counts:?}");
        let of_stragglers = Stragglers::of(&topics).difference(counts[3]);
        assert!(of_stragglers.is_none(), "{of_stragglers:?}");
        LeftAlone { topics, results, orders }
    }

    /// What a job over the same readings has published so far that it should not have: twice, or other than this
    /// run, or in another order. What it has not published yet is nothing.
    pub fn so_far(&self, topics: &Topics) -> Difference {
        let published = published(topics);
        let orders = orders(&published);
        let mut all = Stragglers::of(topics).difference(self.results[3].len());
        for (found, expected) in published.map(content).iter().zip(&self.results) {
            all += Difference::between(found, expected);
        }
        for (found, expected) in orders.iter().zip(&self.orders) {
            let begins = |(key, order): (&Option<Vec<u8>>, &Vec<Option<Vec<u8>>>)| {
                expected.get(key).is_some_and(|all| all.starts_with(order))
            };
            all.wrong += found.iter().filter(|found| !begins(*found)).count();
        }
        let example = all.example.filter(|_| all.duplicated + all.wrong > 0);
        Difference { lost: 0, example, ..all }
    }

    /// [`READINGS`] on the broker of all tests.
    pub fn shared() -> &'static LeftAlone {
        static SHARED: LazyLock<LeftAlone> =
            LazyLock::new(|| LeftAlone::over(TestBroker::shared(), READINGS));
        &SHARED
    }
}

/// All results but those of stragglers, as they are on the topics. The topic that dead letters come from, which they
/// name, is any.
pub fn published(topics: &Topics) -> [Vec<Sent>; 4] {
    let all = [&topics.windows, &topics.scores, &topics.alarms, &topics.rejects];
    all.map(|topic| {
        let mut records = topics.read(topic);
        records.retain(|sent| !is_straggler(sent));
        for (_, value) in records.iter_mut().flat_map(|sent| &mut sent.headers) {
            if value.as_deref() == Some(topics.readings.as_bytes()) {
                *value = Some(b"readings".to_vec());
            }
        }
        records
    })
}

fn is_straggler(sent: &Sent) -> bool {
    sent.key.as_ref().is_some_and(|key| key.starts_with(STRAGGLER.as_bytes()))
}

/// How often each straggler is on the topics of late readings, of windows and of scores.
pub struct Stragglers(BTreeMap<Option<Vec<u8>>, [usize; 3]>);

impl Stragglers {
    pub fn of(topics: &Topics) -> Stragglers {
        let late = topics.read(&topics.late);
        let punctual = late.iter().find(|sent| !is_straggler(sent));
        assert_eq!(punctual, None, "late within the bound");
        let mut found = BTreeMap::<_, [usize; 3]>::new();
        let others = [&topics.windows, &topics.scores].map(|topic| topics.read(topic));
        for (place, records) in [late].into_iter().chain(others).enumerate() {
            for sent in records.into_iter().filter(is_straggler) {
                found.entry(sent.key).or_default()[place] += 1;
            }
        }
        Stragglers(found)
    }

    /// How many are late.
    pub fn late(&self) -> usize {
        self.0.values().map(|[late, ..]| late).sum()
    }

    /// Each of so many is late, or has a window and its score.
    fn difference(&self, expected: usize) -> Difference {
        let mut all =
            Difference { lost: expected - self.0.len().min(expected), ..Difference::default() };
        for [late, windows, scores] in self.0.values() {
            all.lost += windows.saturating_sub(*scores);
            all.duplicated += (late + windows).saturating_sub(1) + scores.saturating_sub(*windows);
        }
        all
    }
}

/// What an alarm of these jobs is.
pub fn alarm_flags() -> [String; 3] {
    let [above, below, windows] = ALARM;
    [
        format!("--alarm.raise_above={above}"),
        format!("--alarm.clear_below={below}"),
        format!("--alarm.windows_min={windows}"),
    ]
}

/// `device_health` over all that is there, to its end.
fn over(topics: &Topics, flags: &[&str]) -> Command {
    let mut command = device_health("run", topics, &model("health"));
    command.arg("--readings.until=end").args(alarm_flags()).args(flags);
    command
}

/// A job that publishes exactly once, and is started over and over.
pub struct Job<'a> {
    pub left_alone: &'a LeftAlone,
    pub topics: Topics,
}

impl<'a> Job<'a> {
    /// Over readings of which it is known what they come to.
    pub fn over(broker: &TestBroker, left_alone: &'a LeftAlone) -> Job<'a> {
        let topics = Topics::reading(broker, &left_alone.topics.readings, OUTPUTS);
        Job { left_alone, topics }
    }

    /// Over the readings of [`LeftAlone::shared`].
    pub fn shared() -> Job<'static> {
        Job::over(TestBroker::shared(), LeftAlone::shared())
    }

    /// What it should have published in all, topic by topic.
    pub fn expected(&self) -> &[Vec<Sent>; 4] {
        &self.left_alone.results
    }

    /// Asks something of its state.
    pub fn asks(&self, what: &[&str]) -> Ended {
        let mut command = device_health("state", &self.topics, &model("health"));
        run(command.arg("--job.shards=2").args(what))
    }
}

impl Killed for Job<'_> {
    fn command(&self, more: &[&str]) -> Command {
        over(&self.topics, &[&SMALL[..], more].concat())
    }

    fn store(&self) -> PathBuf {
        Path::new(&self.topics.state).join(&self.topics.windows)
    }

    /// What is not as that of the run left alone: the records, and their order for each key. Of stragglers, what
    /// is not there once.
    fn difference(&self) -> Difference {
        let published = published(&self.topics);
        let orders = orders(&published);
        let stragglers = Stragglers::of(&self.topics);
        assert!(stragglers.late() > 0, "nothing was late");
        let mut all = stragglers.difference(self.left_alone.results[3].len());
        for (found, expected) in published.map(content).iter().zip(&self.left_alone.results) {
            all += Difference::between(found, expected);
        }
        if all.is_none() {
            for (found, expected) in orders.iter().zip(&self.left_alone.orders) {
                let other = expected.iter().filter(|(key, order)| found.get(*key) != Some(order));
                all.wrong += other.count();
            }
        }
        all
    }
}

#[test]
fn oracle_what_killed_jobs_are_compared_with_is_what_python_recomputes() {
    let LeftAlone { results: [windows, scores, alarms, rejects], .. } = LeftAlone::shared();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let file = |name: &str| folder.path().join(name);
    let is_broken = |value: &[u8]| value.starts_with(BROKEN.as_bytes());
    let is_behind = |key: &[u8]| key.starts_with(STRAGGLER.as_bytes());
    let mut good = Copy::new(&file("readings"));
    let mut broken = Vec::new();
    for input in inputs(READINGS) {
        match input.value.as_deref().is_some_and(is_broken) {
            true => broken.push(input.value),
            false if input.key.as_deref().is_some_and(is_behind) => {}
            false => good.add(&input),
        }
    }
    drop(good);
    let mut rejected: Vec<_> = rejects.iter().map(|sent| sent.value.clone()).collect();
    broken.sort();
    rejected.sort();
    assert_eq!(rejected, broken);
    let topics = [("windows", windows), ("scores", scores), ("alarms", alarms)];
    topics.iter().for_each(|(name, records)| dump(&file(name), records));
    let partitions = OUTPUTS.to_string();
    let files = [file("readings"), file("windows"), partitions.into()];
    let found = python("recompute.py", &files.each_ref().map(PathBuf::as_path));
    println!("windows: {found}");
    let files = [model("health.keras"), file("windows"), file("scores"), file("alarms")];
    let files = files.each_ref().map(PathBuf::as_path);
    let found = python("rescore.py", &[&files[..], &ALARM.map(Path::new)].concat());
    println!("scores: {found}");
}
