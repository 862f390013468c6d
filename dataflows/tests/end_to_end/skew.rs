//! Training and serving see the same: what a model learns from is written by the graph's own operators, and
//! what Python says of it is what the graph publishes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tideflow::core::EventTime;
use tideflow::core::kafka::testing::TestBroker;

use crate::fleet::{MINUTE, Numbers, START, reading};
use crate::program::{Ended, device_health, run};
use crate::python::{python, training};
use crate::topics::{Input, Sent, Topics, dump};

const DEVICES: u64 = 40;
const MINUTES: u64 = 20;

/// Ten readings a minute of each device, which are no rounder than those of sensors, in two partitions.
fn fleet() -> impl Iterator<Item = Input> {
    let mut numbers = Numbers(23);
    (0..10 * MINUTES * DEVICES).map(move |n| {
        let (device, ts) = (n % DEVICES, START + (n / DEVICES * 6_000) as i64);
        let mut noise = || numbers.below(1_000_000) as f64 / 1e6 - 0.5;
        let temperature = 22.0 + 0.05 * device as f64 + 0.3 * noise();
        let (vibration, current) = (0.8 + 0.05 * noise(), 4.2 + 0.1 * noise());
        let texts = [temperature, vibration, current].map(|x| x.to_string());
        let value = reading(&format!("d{device}"), ts, &texts[0], &texts[1], &texts[2]);
        let value = Some(value.into_bytes());
        Input { partition: (device % 2) as i32, value, timestamp: ts, ..Input::default() }
    })
}

/// What Python says of a file of features.
#[derive(Deserialize)]
pub struct Said {
    pub keys: Vec<String>,
    pub times: Vec<i64>,
    pub rows: Vec<Vec<f64>>,
    pub scores: Vec<f64>,
}

impl Said {
    /// Of this file, with the model in this folder: a model that says the same of everything would prove nothing.
    pub fn of(model: &Path, file: &Path) -> Said {
        let out = file.with_extension("said");
        python("skew.py", &[model, file, &out]);
        let said = fs::read(&out).expect("the script has written it");
        let said: Said = serde_json::from_slice(&said).expect("it has this shape");
        let (least, most) =
            said.scores.iter().fold((f64::MAX, f64::MIN), |s, x| (s.0.min(*x), s.1.max(*x)));
        assert!(most - least > 0.3, "scores from {least} to {most}");
        said
    }
}

/// Device and window of a record.
fn place(value: &serde_json::Value) -> (String, i64) {
    let device = value["device"].as_str().expect("a text").to_owned();
    (device, value["window_start"].as_i64().expect("a number"))
}

/// The statistics of a window record, in the order of the features.
fn statistics(value: &serde_json::Value) -> Vec<f64> {
    let fields = ["temperature", "vibration", "current"].iter();
    let of = |field: &&str| ["mean", "std", "min", "max"].map(|s| value[*field][s].as_f64());
    fields.flat_map(of).map(|number| number.expect("a number")).collect()
}

/// `device_health features`, where no model is.
fn features(topics: &Topics, to: &Path, flags: &[&str]) -> Ended {
    let mut command = device_health("features", topics, Path::new("/no/model/yet"));
    run(command.arg("--to").arg(to).args(flags))
}

#[test]
fn oracle_keras_on_the_features_written_for_training_and_the_graph_give_the_same_scores() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let path = |name: &str| folder.path().join(name);
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    topics.send(fleet());
    let written = path("new/folder/features.parquet");
    let ended = features(&topics, &written, &["--readings.start=latest", "--workers.threads=2"]);
    ended.with_code(0);
    let rows = DEVICES * MINUTES;
    let told = format!("features of {rows} rows in {}\n", written.display());
    assert_eq!(ended.out, told);

    let model = path("model");
    let text = |path: &Path| path.to_str().expect("plain").to_owned();
    let (data, out) = (text(&written), text(&model));
    training(&["train", "health", "--data", &data, "--out", &out, "--epochs", "20"]);
    let said = Said::of(&model, &written);
    assert_eq!((said.keys.len(), said.scores.len()), (rows as usize, rows as usize));

    let ended = run(device_health("run", &topics, &model).arg("--readings.until=end"));
    ended.with_code(0);
    let values = |topic: &str| -> BTreeMap<_, _> {
        let values = topics.read(topic).iter().map(Sent::json).collect::<Vec<_>>();
        values.into_iter().map(|value| (place(&value), value)).collect()
    };
    let (windows, scores) = (values(&topics.windows), values(&topics.scores));
    assert_eq!((windows.len(), scores.len()), (rows as usize, rows as usize));
    for (at, place) in said.keys.into_iter().zip(said.times).enumerate() {
        // Features in float64, scores in float32: all of their bits.
        assert_eq!(statistics(&windows[&place]), said.rows[at], "{place:?}");
        assert_eq!(scores[&place]["score"].as_f64(), Some(said.scores[at]), "{place:?}");
    }
    // The SavedModel says what Keras says before it is exported.
    let published = path("scores");
    dump(&published, &topics.read(&topics.scores));
    println!("{}", python("keras_scores.py", &[&written, &published, Path::new("20")]));
}

#[test]
fn features_are_the_same_however_they_are_read_and_leave_no_trace() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let path = |name: &str| folder.path().join(name);
    let state = path("state").to_str().expect("plain").to_owned();
    let topics = Topics { state, ..Topics::new(TestBroker::shared(), 2, 1) };
    topics.send(fleet());
    let all = path("all");
    features(&topics, &all, &[]).with_code(0);
    features(&topics, &path("three"), &["--workers.threads=3", "--epochs.bytes_max=65536"])
        .with_code(0);
    assert!(fs::read(&all).expect("written") == fs::read(path("three")).expect("written"));

    let [from, to] = [4, 7].map(|n| EventTime(START + n * MINUTE));
    let (from, to) = (from.date(), to.0.to_string());
    let some = ["--from", from.as_str(), "--to-time", to.as_str(), "--operator", "health"];
    let ended = features(&topics, &path("some"), &some);
    assert!(ended.out.starts_with(&format!("features of {} rows in ", 3 * DEVICES)), "{ended:?}");

    let refused = |name: &str, flags: &[&str], said: &str| {
        let ended = features(&topics, &path(name), flags);
        ended.with_code(2);
        assert!(ended.err.contains(said), "{}", ended.err);
    };
    refused("all", &[], "expected no file yet, found one");
    refused(
        "none",
        &["--operator", "windows"],
        "expected an operator that calls a model: `health`",
    );
    refused("none", &["--to-time", "0"], "expected rows for the model, found none");
    let mut there: Vec<_> = fs::read_dir(folder.path())
        .expect("it is ours")
        .map(|f| f.expect("a file").file_name())
        .collect();
    there.sort();
    assert_eq!(there, ["all", "some", "three"], "no state, nothing half written");
    for topic in [&topics.windows, &topics.scores, &topics.alarms, &topics.late, &topics.rejects] {
        assert_eq!(topics.read(topic), [], "{topic}");
    }
}
