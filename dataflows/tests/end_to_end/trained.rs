//! A model as the training package makes it, in the graph: what Python says of a window is what the
//! graph publishes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tideflow::core::kafka::testing::TestBroker;
use tideflow::models::load;
use tideflow::prelude::Features;
use tideflow_dataflows::device_health::ReadingStats;

use crate::fleet::{Numbers, START, reading};
use crate::program::{device_health, run};
use crate::python::{python, training};
use crate::topics::{Input, Sent, Topics};

const DEVICES: u64 = 60;

/// Ten readings of each device within a minute, as the training package makes up healthy ones; each
/// device is a little warmer than the one before.
fn warmer_and_warmer() -> impl Iterator<Item = Input> {
    let mut numbers = Numbers(11);
    (0..10 * DEVICES).map(move |n| {
        let (device, ts) = (n % DEVICES, START + (n / DEVICES * 6_000) as i64);
        let mut noise = || numbers.below(1_000) as f64 / 1e3 - 0.5;
        let temperature = 22.0 + 0.2 * device as f64 + 0.2 * noise();
        let (vibration, current) = (0.8 + 0.05 * noise(), 4.2 + 0.1 * noise());
        let texts = [temperature, vibration, current].map(|x| format!("{x:.3}"));
        let value = reading(&format!("d{device}"), ts, &texts[0], &texts[1], &texts[2]);
        let value = Some(value.into_bytes());
        Input { partition: (device % 2) as i32, value, timestamp: ts, ..Input::default() }
    })
}

/// What Python says of a file of windows.
#[derive(Deserialize)]
struct Said {
    features: Vec<String>,
    devices: Vec<String>,
    rows: Vec<Vec<f64>>,
    scores: Vec<f64>,
}

/// Trains a model on a small fleet, as `make train` does: its folder.
fn train(folder: &Path) -> String {
    let path = |name| folder.join(name).to_str().expect("plain").to_owned();
    let (windows, model) = (path("training.jsonl"), path("model"));
    training(&["generate", "--out", &windows, "--devices", "40", "--minutes", "20"]);
    let named = ["--name", "small", "--model-version", "7", "--epochs", "20"];
    training(&[&["health", "--windows", &windows, "--out", &model], &named[..]].concat());
    model
}

/// The values of a topic, a line each.
fn write_values(path: &Path, records: &[Sent]) {
    let values: String = records.iter().map(|sent| format!("{}\n", sent.json())).collect();
    fs::write(path, values).expect("the folder is ours");
}

fn assert_close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-5, "{what}: expected {expected}, found {found}");
}

#[test]
fn oracle_a_model_of_the_training_package_scores_in_the_graph_as_in_python() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let path = train(folder.path());
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    topics.send(warmer_and_warmer());
    let ended = run(device_health("run", &topics, path.as_ref()).arg("--readings.until=end"));
    ended.with_code(0);

    let [windows, said] = ["windows.jsonl", "said.json"].map(|name| folder.path().join(name));
    write_values(&windows, &topics.read(&topics.windows));
    python("trained.py", &[path.as_ref(), &windows, &said]);
    let said = fs::read(&said).expect("the script has written it");
    let said: Said = serde_json::from_slice(&said).expect("it has this shape");
    assert_eq!((said.devices.len(), said.scores.len()), (DEVICES as usize, DEVICES as usize));
    // A model that says the same of everything would prove nothing.
    let (least, most) =
        said.scores.iter().fold((1.0_f64, 0.0_f64), |s, x| (s.0.min(*x), s.1.max(*x)));
    assert!(most - least > 0.5, "scores from {least} to {most}");

    let model = load(&path).expect("it is a model");
    let signature = model.signature();
    let features: Vec<&str> = signature.features.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(features, ReadingStats::NAMES);
    assert_eq!(features, said.features);
    assert_eq!((signature.name.as_str(), signature.version.as_str()), ("small", "7"));
    assert_eq!(signature.outputs, ["score"]);
    let mut scores = Vec::new();
    model.score(&said.rows.concat(), said.rows.len(), &mut scores).expect("rows of its width");

    let published = topics.read(&topics.scores);
    let published: BTreeMap<_, _> = published.iter().map(Sent::json).map(of_device).collect();
    assert_eq!(published.len(), DEVICES as usize);
    for ((device, expected), found) in said.devices.iter().zip(said.scores).zip(scores) {
        assert_close(found, expected, &format!("{device}, loaded"));
        let (found, digest) = &published[device];
        assert_close(*found, expected, &format!("{device}, published"));
        assert_eq!(*digest, signature.digest);
    }
}

/// Device, score and digest of a score record.
fn of_device(value: serde_json::Value) -> (String, (f64, String)) {
    let text = |name: &str| value[name].as_str().expect("a text").to_owned();
    let score = value["score"].as_f64().expect("a number");
    (text("device"), (score, text("digest")))
}
