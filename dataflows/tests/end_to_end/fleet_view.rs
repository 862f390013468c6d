//! `fleet_view`, killed at random moments: its changelogs hold in the end what the registry and the
//! readings come to, recomputed here, and every record in them says something new.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tideflow::core::kafka::testing::{TestBroker, unique_name};
use tideflow::core::kafka::{KafkaConfig, NewTopic, create_topics};
use tideflow::prelude::Total;

use crate::fleet::{Numbers, START, name, reading};
use crate::program::{Running, of, run};
use crate::python::python;
use crate::topics::{DEADLINE, Input, Sent, dump, read, send};

/// How many times it is killed.
const KILLS: usize = 8;
/// Longest life of a run that has taken over and is killed, in milliseconds.
const LIFE_MS: u64 = 2_500;
const DEVICES: u64 = 400;
const PARTITIONS: u64 = 4;
/// Readings, and a third of it entries of the registry.
const READINGS: u64 = 600_000;
const BROKEN: usize = 3;

/// The topics of one fleet.
pub struct Fleet {
    kafka: KafkaConfig,
    registry: String,
    readings: String,
    sites: String,
    regions: String,
    rejects: String,
}

impl Fleet {
    pub fn new(broker: &TestBroker) -> Fleet {
        let day = "86400000";
        let compacted = &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", day)];
        let partitions = PARTITIONS as usize;
        Fleet {
            kafka: broker.config(),
            registry: broker.topic_with("registry", partitions, compacted),
            readings: broker.topic("readings", partitions),
            sites: broker.topic_with("sites", 3, compacted),
            regions: broker.topic_with("regions", 3, compacted),
            rejects: broker.topic("rejects", 1),
        }
    }

    /// `fleet_view ACTION` with these topics.
    pub fn program(&self, action: &str) -> Command {
        let mut command = of(Path::new(env!("CARGO_BIN_EXE_fleet_view")), &[action]);
        for (key, value) in [
            ("kafka.brokers", &self.kafka.brokers),
            ("registry.topic", &self.registry),
            ("readings.topic", &self.readings),
            ("topics.sites", &self.sites),
            ("topics.regions", &self.regions),
            ("topics.rejects", &self.rejects),
        ] {
            command.arg(format!("--{key}={value}"));
        }
        command
    }
}

/// Where a device is, by the registry.
type Places = BTreeMap<u64, (String, String)>;
/// Of a device, its last reading: when, and its numbers as text.
type Last = BTreeMap<u64, (i64, [String; 3])>;

fn keyed(device: u64, key: Option<String>, value: Option<String>) -> Input {
    Input {
        partition: (device % PARTITIONS) as i32,
        key: key.map(String::into_bytes),
        value: value.map(String::into_bytes),
        timestamp: START,
        ..Input::default()
    }
}

/// Entries of devices that come, move and go, some that are none, and what they come to.
fn registry(numbers: &mut Numbers) -> (Vec<Input>, Places) {
    let (mut inputs, mut places) = (Vec::new(), Places::new());
    for _ in 0..READINGS / 3 {
        let device = numbers.below(DEVICES);
        let id = name(device);
        let gone = numbers.below(5) == 0;
        let (site, region) = (numbers.below(12), numbers.below(4));
        let place = (format!("site {site}"), format!("region {region}"));
        let value = (!gone).then(|| entry(&id, &place.0, &place.1));
        inputs.push(keyed(device, Some(id), value));
        match gone {
            true => drop(places.remove(&device)),
            false => drop(places.insert(device, place)),
        }
    }
    let broken: [Input; BROKEN] = [
        keyed(0, Some("no device".to_string()), Some(entry("d000000", "s", "r"))),
        keyed(1, Some(name(1)), Some(entry("d000002", "s", "r"))),
        keyed(2, Some(name(2)), Some("{".to_string())),
    ];
    inputs.extend(broken);
    // A site with one device, from the first epoch to one of the last.
    let alone = |value| keyed(3, Some("alone".to_string()), value);
    inputs.insert(0, alone(Some(entry("alone", "a site", "region 0"))));
    inputs.push(alone(None));
    (inputs, places)
}

fn entry(device: &str, site: &str, region: &str) -> String {
    format!(r#"{{"device":"{device}","site":"{site}","region":"{region}"}}"#)
}

/// Readings, also of devices that nobody has registered, and the last one of each.
fn readings(numbers: &mut Numbers) -> (Vec<Input>, Last) {
    let (mut inputs, mut last) = (Vec::new(), Last::new());
    for n in 0..READINGS {
        let device = numbers.below(DEVICES + 50);
        // A half of them ten seconds late, and no two of one time.
        let (late, ms) = (numbers.below(2) as i64, numbers.below(5) as i64);
        let ts = START + n as i64 * 10 + ms - late * 9_995;
        let mut number = |scale: u64| format!("{}.{:02}", numbers.below(scale), numbers.below(100));
        let values = [number(90), number(5), number(40)];
        let text = reading(&name(device), ts, &values[0], &values[1], &values[2]);
        inputs.push(Input { timestamp: ts, ..keyed(device, Some(name(device)), Some(text)) });
        let known = last.entry(device).or_insert_with(|| (ts, values.clone()));
        if ts > known.0 {
            *known = (ts, values);
        }
    }
    (inputs, last)
}

/// What a group's record must say, by the group that `of` names.
fn recomputed(
    places: &Places,
    last: &Last,
    field: &str,
    of: impl Fn(&(String, String)) -> &String,
) -> BTreeMap<String, Value> {
    let mut groups = BTreeMap::<String, (u64, [Total; 3])>::new();
    for (device, place) in places {
        let (devices, totals) = groups.entry(of(place).clone()).or_default();
        *devices += 1;
        let values = last.get(device).map(|(_, values)| values);
        for (total, value) in totals.iter_mut().zip(values.into_iter().flatten()) {
            total.add(value.parse().expect("a decimal"));
        }
    }
    let record = |(name, (devices, totals)): (String, (u64, [Total; 3]))| {
        let reporting = totals[0].count();
        let [temperature, vibration, current] =
            totals.map(|total| (reporting > 0).then(|| total.mean()));
        let mut record = serde_json::json!({
            "devices": devices, "reporting": reporting,
            "temperature": temperature, "vibration": vibration, "current": current,
        });
        record[field] = name.clone().into();
        (name, record)
    };
    groups.into_iter().map(record).collect()
}

/// What a changelog holds in the end. Each record says something else of its key than the one before,
/// and a tombstone is one of something that was.
fn held(changelog: &[Sent], field: &str) -> BTreeMap<String, Value> {
    let mut held = BTreeMap::<String, Value>::new();
    for sent in changelog {
        let key = String::from_utf8(sent.key.clone().expect("a group")).expect("text");
        let before = match &sent.value {
            None => {
                assert!(held.remove(&key).is_some(), "gone without having been: {sent:?}");
                continue;
            }
            Some(_) => held.insert(key.clone(), sent.json()),
        };
        assert_eq!(held[&key][field], key.as_str(), "{sent:?}");
        assert_ne!(before.as_ref(), held.get(&key), "says what was said: {sent:?}");
    }
    held
}

/// Runs it until it ends by itself, killed on the way as often as said.
fn run_over(fleet: &Fleet, state: &Path, numbers: &mut Numbers) {
    let (mut kills, since) = (0, Instant::now());
    loop {
        let threads = 1 + numbers.below(3);
        let mut command = fleet.program("run");
        command.args([
            "--registry.until=end",
            "--readings.until=end",
            "--job.delivery=exactly_once",
            "--job.shards=2",
            "--job.snapshot_every=15",
            "--epochs.interval_ms=10",
            "--epochs.bytes_max=65536",
            &format!("--job.name={}", fleet.sites),
            &format!("--job.state={}", state.display()),
            &format!("--workers.threads={threads}"),
        ]);
        let running = Running::start(&mut command);
        // Every other one while it takes over, or soon after.
        let life = Duration::from_millis(match kills % 2 {
            0 => numbers.below(1_500),
            _ => {
                running.wait_for("taken over");
                numbers.below(LIFE_MS)
            }
        });
        let (life, started) = (if kills < KILLS { life } else { DEADLINE }, Instant::now());
        while started.elapsed() < life && !running.has_ended() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if running.has_ended() {
            let ended = running.end();
            ended.with_code(0);
            break;
        }
        running.signal("KILL");
        running.end();
        println!("killed after {} records of sites", read(&fleet.kafka, &fleet.sites).len());
        kills += 1;
    }
    println!("{kills} kills in {:?}", since.elapsed());
}

#[test]
fn oracle_changelogs_of_a_view_killed_at_random_hold_what_is_recomputed() {
    let fleet = Fleet::new(TestBroker::shared());
    let mut numbers = Numbers(17);
    let (entries, places) = registry(&mut numbers);
    let (inputs, last) = readings(&mut numbers);
    send(&fleet.kafka, &fleet.registry, entries);
    send(&fleet.kafka, &fleet.readings, inputs);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let state = tempfile::tempdir().expect("a folder for a while");
    run_over(&fleet, &state.path().join("made by the first start"), &mut numbers);

    let [sites, regions] = [&fleet.sites, &fleet.regions].map(|topic| read(&fleet.kafka, topic));
    let by_site = recomputed(&places, &last, "site", |(site, _)| site);
    let by_region = recomputed(&places, &last, "region", |(_, region)| region);
    assert_eq!((by_site.len(), by_region.len()), (12, 4));
    println!("{} records of sites, {} of regions", sites.len(), regions.len());
    assert!(sites.len() > 1_000 && regions.len() > 400, "too few to show anything");
    assert!(sites.iter().any(|sent| sent.value.is_none()), "the site of one device has gone");
    assert_eq!(held(&sites, "site"), by_site);
    assert_eq!(held(&regions, "region"), by_region);

    let rejects = read(&fleet.kafka, &fleet.rejects);
    let mut reasons: Vec<_> = rejects.iter().map(|sent| sent.header("error")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["bad_key", "bad_key", "malformed"]);
    conform(folder.path(), &[("sites", sites), ("regions", regions)]);
}

/// The records are as their schemas say.
fn conform(folder: &Path, topics: &[(&str, Vec<Sent>)]) {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files: Vec<PathBuf> = Vec::new();
    for (topic, records) in topics {
        let values: Vec<_> = records.iter().filter(|r| r.value.is_some()).cloned().collect();
        let path = folder.join(topic);
        dump(&path, &values);
        files.extend([schemas.join(format!("{topic}.json")), path]);
    }
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    println!("{}", python("conform.py", &files));
}

#[test]
fn a_registry_that_is_compacted_too_soon_is_refused_with_its_setting() {
    let broker = TestBroker::shared();
    let registry = unique_name("registry");
    let config = &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "1000")];
    create_topics(&broker.config(), &[NewTopic { config, ..NewTopic::new(&registry, 1) }])
        .unwrap_or_else(|error| panic!("{error}"));
    let fleet = Fleet { registry, ..Fleet::new(broker) };
    let check = |away: u64| {
        let mut command = fleet.program("check");
        run(command.arg(format!("--registry.away_max_ms={away}")))
    };
    let ended = check(60_000);
    let expected = "expected `min.compaction.lag.ms` of 60000 (`away_max_ms`) at least, found 1000";
    assert!(ended.code == 2 && (ended.out + &ended.err).contains(expected), "{}", ended.err);
    for good in [1_000, 0] {
        let ended = check(good);
        ended.with_code(0);
    }
}
