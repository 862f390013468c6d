//! `fleet_view` as a job that is killed, and what its changelogs must hold, recomputed here.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tideflow::core::kafka::testing::TestBroker;

use super::check::Difference;
use super::cuts::{Cut, Follower};
use super::start::{Killed, SMALL};
use crate::fleet::{Numbers, START, name, reading};
use crate::fleet_view::Fleet;
use crate::topics::{Input, STATE, Sent, read, send};

const DEVICES: u64 = 400;
/// Readings; entries of the registry are a third of that.
const READINGS: u64 = 600_000;
/// So that bindings are read before the job removes them.
const SNAPSHOT_EVERY: &str = "--job.snapshot_every=60";
/// Why entries of the registry are rejected, in order.
const REJECTED: [&str; 3] = ["bad_key", "bad_key", "malformed"];

/// A record that is sent, and what it says, where it says anything.
pub struct Said<T> {
    pub input: Input,
    pub what: Option<T>,
}

/// Where a device is from now on; nowhere when it is gone.
pub type Entry = (String, Option<Place>);
/// What a device measured at a time: temperature, vibration and current.
pub type Measured = (String, i64, [f64; 3]);

/// A site and its region.
#[derive(Clone)]
pub struct Place {
    site: String,
    region: String,
}

fn said<T>(device: u64, key: String, value: Option<String>, what: Option<T>) -> Said<T> {
    let input = Input {
        partition: (device % Fleet::PARTITIONS as u64) as i32,
        key: Some(key.into_bytes()),
        value: value.map(String::into_bytes),
        timestamp: START,
        ..Input::default()
    };
    Said { input, what }
}

fn entry(device: &str, at: &Place) -> String {
    let Place { site, region } = at;
    format!(r#"{{"device":"{device}","site":"{site}","region":"{region}"}}"#)
}

/// Entries of devices that come, move and go, and some that are none.
pub fn entries(seed: u64) -> Vec<Said<Entry>> {
    let mut numbers = Numbers(seed);
    let mut place = move || {
        let (gone, site, region) = (numbers.below(5) == 0, numbers.below(12), numbers.below(4));
        let (site, region) = (format!("site {site}"), format!("region {region}"));
        (numbers.below(DEVICES), (!gone).then_some(Place { site, region }))
    };
    // A site with one device, from the first epoch to one of the last.
    let alone = |at: Option<Place>| {
        let value = at.as_ref().map(|at| entry("alone", at));
        said(3, "alone".to_string(), value, Some(("alone".to_string(), at)))
    };
    let there = Place { site: "a site".to_string(), region: "region 0".to_string() };
    let elsewhere = || entry("d000002", &there);
    let broken = [
        said(0, "no device".to_string(), Some(entry("d000000", &there)), None),
        said(1, name(1), Some(elsewhere()), None),
        said(2, name(2), Some("{".to_string()), None),
    ];
    let mut all = vec![alone(Some(there.clone()))];
    all.extend((0..READINGS / 3).map(|_| {
        let (device, at) = place();
        let value = at.as_ref().map(|at| entry(&name(device), at));
        said(device, name(device), value, Some((name(device), at)))
    }));
    all.extend(broken);
    all.push(alone(None));
    all
}

/// Readings, also of devices that nobody has registered: half of them ten seconds late, and no two of one
/// time.
pub fn readings(seed: u64) -> impl Iterator<Item = Said<Measured>> {
    let mut numbers = Numbers(seed);
    (0..READINGS).map(move |n| {
        let device = numbers.below(DEVICES + 50);
        let (late, ms) = (numbers.below(2) as i64, numbers.below(5) as i64);
        let ts = START + n as i64 * 10 + ms - late * 9_995;
        let mut number = |scale: u64| format!("{}.{:02}", numbers.below(scale), numbers.below(100));
        let texts = [number(90), number(5), number(40)];
        let text = reading(&name(device), ts, &texts[0], &texts[1], &texts[2]);
        let values = texts.map(|text| text.parse().expect("a decimal"));
        let mut said = said(device, name(device), Some(text), Some((name(device), ts, values)));
        said.input.timestamp = ts;
        said
    })
}

/// What a changelog holds: a record of each group, by its name.
pub type Held = BTreeMap<String, Value>;

/// A fleet as it stands after some records.
#[derive(Default)]
pub struct Standing {
    places: BTreeMap<String, Place>,
    last: BTreeMap<String, (i64, [f64; 3])>,
}

impl Standing {
    pub fn entry(&mut self, (device, at): &Entry) {
        match at {
            None => drop(self.places.remove(device)),
            Some(at) => drop(self.places.insert(device.clone(), at.clone())),
        }
    }

    pub fn reading(&mut self, (device, ts, values): &Measured) {
        let last = self.last.entry(device.clone()).or_insert((*ts, *values));
        if *ts > last.0 {
            *last = (*ts, *values);
        }
    }

    /// What the two changelogs hold then: sites, regions.
    pub fn held(&self) -> [Held; 2] {
        [self.by("site", |at| &at.site), self.by("region", |at| &at.region)]
    }

    /// The groups that `of` names, in the field that is theirs.
    fn by(&self, field: &str, of: impl Fn(&Place) -> &String) -> Held {
        let mut groups = BTreeMap::<&String, (u64, Vec<&[f64; 3]>)>::new();
        for (device, at) in &self.places {
            let (devices, values) = groups.entry(of(at)).or_default();
            *devices += 1;
            values.extend(self.last.get(device).map(|(_, values)| values));
        }
        let record = |(name, (devices, values)): (&String, (u64, Vec<&[f64; 3]>))| {
            let [temperature, vibration, current] = [0, 1, 2].map(|n| mean(&values, n));
            let mut record = json!({
                "devices": devices, "reporting": values.len(),
                "temperature": temperature, "vibration": vibration, "current": current,
            });
            record[field] = name.clone().into();
            (name.clone(), record)
        };
        groups.into_iter().map(record).collect()
    }
}

/// The mean of what stands at `n`, its sum exact: a value of two decimals is a whole number of 2^-64.
fn mean(values: &[&[f64; 3]], n: usize) -> Option<f64> {
    let unit = 2_f64.powi(64);
    let sum: i128 = values.iter().map(|values| (values[n] * unit) as i128).sum();
    (!values.is_empty()).then(|| sum as f64 / unit / values.len() as f64)
}

/// Reads a changelog: what it holds in the end, and how many of its records say what was said before. A
/// tombstone says something of what was there.
pub fn held(changelog: &[Sent], field: &str) -> (Held, usize) {
    let (mut held, mut repeated) = (Held::new(), 0);
    for sent in changelog {
        let key = String::from_utf8(sent.key.clone().expect("a group")).expect("text");
        let value = sent.value.as_ref().map(|_| sent.json());
        assert!(value.as_ref().is_none_or(|value| value[field] == key.as_str()), "{sent:?}");
        repeated += usize::from(held.get(&key) == value.as_ref());
        match value {
            None => drop(held.remove(&key)),
            Some(value) => drop(held.insert(key, value)),
        }
    }
    (held, repeated)
}

/// What was said of each group, one after the other; a tombstone is null.
type Changes = BTreeMap<String, Vec<Value>>;

fn published(changelog: &[Sent]) -> Changes {
    let mut changes = Changes::new();
    for sent in changelog {
        let key = String::from_utf8(sent.key.clone().expect("a group")).expect("text");
        let value = sent.value.as_ref().map(|_| sent.json()).unwrap_or_default();
        changes.entry(key).or_default().push(value);
    }
    changes
}

/// How what was said differs: by what was said how often, and then by its order.
fn between(found: &Changes, expected: &Changes) -> Difference {
    let all = |changes: &Changes| {
        let sent = |(key, value): (&String, &Value)| Sent {
            key: Some(key.clone().into_bytes()),
            value: Some(value.to_string().into_bytes()),
            ..Sent::default()
        };
        let each = changes.iter().flat_map(|(key, values)| values.iter().map(move |v| (key, v)));
        let mut all: Vec<_> = each.map(sent).collect();
        all.sort();
        all
    };
    let difference = Difference::between(&all(found), &all(expected));
    match difference.is_none() && found != expected {
        true => Difference { wrong: 1, ..difference },
        false => difference,
    }
}

/// What is said by the records of each partition, at their offsets.
type Partitions<T> = [Vec<Option<T>>; Fleet::PARTITIONS];

/// Sends records, and keeps what they say.
fn sent<T>(fleet: &Fleet, topic: &str, all: impl Iterator<Item = Said<T>>) -> Partitions<T> {
    let mut partitions = [const { Vec::new() }; Fleet::PARTITIONS];
    let inputs = all.map(|Said { input, what }| -> Input {
        partitions[input.partition as usize].push(what);
        input
    });
    send(&fleet.kafka, topic, inputs);
    partitions
}

/// A fleet that was sent, and what comes of it.
pub struct Inputs {
    registry: String,
    readings: String,
    entries: Partitions<Entry>,
    measured: Partitions<Measured>,
    /// In the end.
    held: [Held; 2],
}

impl Inputs {
    /// Sent to this broker.
    pub fn to(broker: &TestBroker) -> Inputs {
        let fleet = Fleet::new(broker);
        let entries = sent(&fleet, &fleet.registry, entries(17).into_iter());
        let measured = sent(&fleet, &fleet.readings, readings(18));
        let mut standing = Standing::default();
        entries.iter().flatten().flatten().for_each(|entry| standing.entry(entry));
        measured.iter().flatten().flatten().for_each(|reading| standing.reading(reading));
        let held = standing.held();
        assert_eq!(held.each_ref().map(BTreeMap::len), [12, 4]);
        let Fleet { registry, readings, .. } = fleet;
        Inputs { registry, readings, entries, measured, held }
    }

    /// What must be said of sites and of regions: that which holds after a cut, where it is not what held
    /// before it.
    fn said_after(&self, cuts: &[Vec<Cut>]) -> [Changes; 2] {
        let (mut standing, mut changes) = (Standing::default(), [const { Changes::new() }; 2]);
        let (mut held, mut at) = ([const { Held::new() }; 2], BTreeMap::new());
        for cut in cuts {
            for (source, partition, next) in cut {
                let from = at.insert((source, partition), *next).unwrap_or(0);
                if source == "registry" {
                    let said = self.entries[*partition][from..*next].iter().flatten();
                    said.for_each(|entry| standing.entry(entry));
                } else {
                    let said = self.measured[*partition][from..*next].iter().flatten();
                    said.for_each(|reading| standing.reading(reading));
                }
            }
            let after = standing.held();
            for ((before, after), changes) in held.iter().zip(&after).zip(&mut changes) {
                let new = after.keys().filter(|key| !before.contains_key(*key));
                for key in before.keys().chain(new) {
                    if before.get(key) != after.get(key) {
                        let value = after.get(key).cloned().unwrap_or_default();
                        changes.entry(key.clone()).or_default().push(value);
                    }
                }
            }
            held = after;
        }
        assert!(held == self.held, "the last cut is not at the end");
        changes
    }
}

/// A job over a fleet of which it is known what it comes to.
pub struct View<'a> {
    inputs: &'a Inputs,
    pub fleet: Fleet,
    follower: Cell<Option<Follower>>,
}

impl<'a> View<'a> {
    pub fn over(broker: &TestBroker, inputs: &'a Inputs) -> View<'a> {
        let fleet = Fleet::reading(broker, &inputs.registry, &inputs.readings);
        let follower = Cell::new(Some(Follower::of(&fleet.kafka, &fleet.sites)));
        View { inputs, fleet, follower }
    }

    /// On the broker of all tests.
    pub fn shared() -> View<'static> {
        static SHARED: LazyLock<Inputs> = LazyLock::new(|| Inputs::to(TestBroker::shared()));
        View::over(TestBroker::shared(), &SHARED)
    }
}

/// Where jobs of views keep their state: made by the first start.
fn state() -> PathBuf {
    Path::new(&*STATE).join("of views")
}

/// `fleet_view` over all that is there, to its end.
pub fn over(fleet: &Fleet, flags: &[&str]) -> Command {
    let mut command = fleet.program("run");
    command.args([
        "--registry.until=end",
        "--readings.until=end",
        &format!("--job.name={}", fleet.sites),
        &format!("--job.state={}", state().display()),
    ]);
    command.args(flags);
    command
}

/// Nothing but why a record was rejected.
fn reason(why: &str) -> Sent {
    Sent { value: Some(why.into()), ..Sent::default() }
}

/// Why records were rejected, in order.
fn rejected(fleet: &Fleet) -> Vec<Sent> {
    let rejects = read(&fleet.kafka, &fleet.rejects);
    let mut reasons: Vec<_> = rejects.iter().map(|sent| reason(sent.header("error"))).collect();
    reasons.sort();
    reasons
}

impl Killed for View<'_> {
    fn command(&self, more: &[&str]) -> Command {
        over(&self.fleet, &[&SMALL[..], &[SNAPSHOT_EVERY], more].concat())
    }

    fn store(&self) -> PathBuf {
        state().join(&self.fleet.sites)
    }

    /// Asked once. How its cuts fall is its own: after each, its changelogs say what has changed. Where its log
    /// of bindings was not read in time they must hold in the end what they should, and repeat nothing.
    fn difference(&self) -> Difference {
        let topics = [(&self.fleet.sites, "site"), (&self.fleet.regions, "region")];
        let changelogs = topics.map(|(topic, _)| read(&self.fleet.kafka, topic));
        assert!(changelogs.iter().all(|log| log.len() > 200), "too few records to show anything");
        let mut all = Difference::between(&rejected(&self.fleet), &REJECTED.map(reason));
        let cuts = self.follower.take().expect("asked once").cuts();
        if let Some(cuts) = &cuts {
            println!("{}: held against its {} cuts", self.fleet.sites, cuts.len());
            let expected = self.inputs.said_after(cuts);
            changelogs.iter().zip(&expected).for_each(|(found, expected)| {
                all += between(&published(found), expected);
            });
            return all;
        }
        println!("{}: not all bindings were read in time", self.fleet.sites);
        all.by_end += 1;
        for (((_, field), changelog), expected) in
            topics.iter().zip(&changelogs).zip(&self.inputs.held)
        {
            let (found, duplicated) = held(changelog, field);
            let lost = expected.keys().filter(|key| !found.contains_key(*key)).count();
            let wrong = found.iter().filter(|(key, value)| expected.get(*key) != Some(value));
            all += Difference { lost, duplicated, wrong: wrong.count(), ..Difference::default() };
        }
        all
    }
}
