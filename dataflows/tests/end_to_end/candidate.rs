//! A candidate beside the model, as a shadow and as a canary: what is published is what the two models say of the
//! windows on their topic.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tideflow::core::DeviceId;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::models::load;
use tideflow::operators::Slice;

use crate::fleet::{MINUTE, START, reading};
use crate::program::{device_health, run};
use crate::python::{model, python};
use crate::topics::{Input, Sent, Topics, dump};

const DEVICES: u64 = 60;
/// The candidate, `overflow`, has no score for a device that is hotter.
const HOT: u64 = 34;

/// A reading a device and minute, each device a degree warmer than the one before.
fn readings() -> impl Iterator<Item = Input> {
    (0..4 * DEVICES).map(|n| {
        let (device, ts) = (n % DEVICES, START + (n / DEVICES) as i64 * MINUTE);
        let value = reading(&format!("d{device}"), ts, &format!("{device}.0"), "0.8", "4.2");
        let (partition, value) = ((device % 2) as i32, Some(value.into_bytes()));
        Input { partition, value, timestamp: ts, ..Input::default() }
    })
}

/// Device and start of the window of a record.
fn of(record: &Value) -> (String, i64) {
    let device = record["device"].as_str().expect("a text").to_string();
    (device, record["window_start"].as_i64().expect("a number"))
}

/// The records of a topic, by device and window.
fn by_window(topics: &Topics, topic: &str) -> BTreeMap<(String, i64), Value> {
    let records: Vec<Value> = topics.read(topic).iter().map(Sent::json).collect();
    let all = records.len();
    let named: BTreeMap<_, _> = records.into_iter().map(|record| (of(&record), record)).collect();
    assert_eq!(named.len(), all, "a window comes twice");
    named
}

/// Runs `device_health` with the candidate over all readings: its scores, and what was compared.
fn scored(slice: Slice) -> [BTreeMap<(String, i64), Value>; 2] {
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 2, 2);
    let candidates = broker.topic("candidates", 2);
    topics.send(readings());
    let mut command = device_health("run", &topics, &model("health"));
    command.args([
        format!("--candidate.reference={}", model("overflow").display()),
        format!("--candidate.share={}", slice.share),
        format!("--candidate.publish={}", slice.publish),
        format!("--topics.candidates={candidates}"),
        "--readings.until=end".to_string(),
    ]);
    run(&mut command).with_code(0);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files = Vec::new();
    for (name, topic) in [("scores", &topics.scores), ("candidates", &candidates)] {
        let (path, records) = (folder.path().join(name), topics.read(topic));
        dump(&path, &records);
        if !records.is_empty() {
            files.extend([schemas.join(format!("{name}.json")), path]);
        }
    }
    python("conform.py", &files.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    [by_window(&topics, &topics.scores), by_window(&topics, &candidates)]
}

fn number(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap_or_else(|| panic!("`{name}` in {record}"))
}

#[test]
fn oracle_a_shadow_changes_nothing_and_is_compared_and_a_canary_counts_for_its_devices() {
    let [alone, none] = scored(Slice { share: 0.0, publish: true });
    assert_eq!((alone.len(), none.len()), (4 * DEVICES as usize, 0));
    let [shadowed, all] = scored(Slice::SHADOW);
    assert_eq!(shadowed, alone);
    assert!(all.keys().eq(alone.keys()));

    let slice = Slice { share: 0.4, publish: true };
    let [published, compared] = scored(slice);
    let version = |folder| load(model(folder)).expect("a model").signature().digest.clone();
    let (champion, candidate) = (version("health"), version("overflow"));
    let (mut counts, mut hot) = (0, 0);
    for (window, record) in &published {
        let device: DeviceId = window.0.as_str().try_into().expect("one of ours");
        let within = slice.holds(&device);
        assert_eq!(compared.contains_key(window), within);
        let is_hot = window.0[1..].parse::<u64>().expect("a number") > HOT;
        let by_candidate = within && !is_hot;
        assert_eq!(record["digest"] == candidate.as_str(), by_candidate, "{record}");
        assert_eq!(record["digest"] == champion.as_str(), !by_candidate, "{record}");
        // What is compared does not depend on whether it counts.
        let shadow = &all[window];
        assert_eq!(number(shadow, "score"), number(&alone[window], "score"));
        assert_eq!(shadow["candidate_score"].is_null(), is_hot, "{shadow}");
        let versions = [&shadow["digest"], &shadow["candidate_digest"]];
        assert_eq!(versions, [champion.as_str(), candidate.as_str()], "{shadow}");
        assert_eq!(shadow["why"].is_null(), !is_hot, "{shadow}");
        match by_candidate {
            true => assert_eq!(record["score"], shadow["candidate_score"]),
            false => assert_eq!(record["score"], shadow["score"]),
        }
        if let Some(compared) = compared.get(window) {
            assert_eq!(compared["published"], by_candidate);
            assert_eq!(compared["candidate_score"], shadow["candidate_score"]);
        }
        counts += usize::from(by_candidate);
        hot += usize::from(within && is_hot);
    }
    assert!(counts > 20 && hot > 20, "{counts} and {hot}");
}
