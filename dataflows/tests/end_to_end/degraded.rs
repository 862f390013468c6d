//! A model that grows old: its fleet shifts and its labels say otherwise, it is told, and told again when that
//! is over. What is published of it is what is recomputed here from the scores and windows on their topics.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tideflow::core::kafka::testing::TestBroker;
use tideflow::models::Distribution;

use crate::fleet::{MINUTE, Numbers, START, reading};
use crate::pages::described;
use crate::program::{device_health, run};
use crate::python::{model, python};
use crate::topics::{Input, Topics, send};

const DEVICES: u64 = 40;
const MINUTES: i64 = 60;
/// Of the windows that are compared and judged: ten minutes.
const WINDOW: i64 = 10 * MINUTE;
/// The first is no more than a start: windows begin at multiples of their length.
const FIRST: i64 = START - START.rem_euclid(WINDOW) + WINDOW;

/// The minutes in which the fleet is warmer than it was in training, from the first window on.
fn is_warm(minute: i64) -> bool {
    (20..40).contains(&minute)
}

fn temperature(device: u64, minute: i64, numbers: &mut Numbers) -> f64 {
    let usual = 20.0 + 0.1 * device as f64 + numbers.below(1_000) as f64 / 1e3;
    if is_warm(minute) { usual + 15.0 } else { usual }
}

/// A reading a minute of each device.
fn readings() -> impl Iterator<Item = Input> {
    let mut numbers = Numbers(5);
    (0..MINUTES * DEVICES as i64).map(move |n| {
        let (minute, device) = (n / DEVICES as i64, n as u64 % DEVICES);
        let ts = FIRST + minute * MINUTE + 30_000;
        let celsius = format!("{:.3}", temperature(device, minute, &mut numbers));
        let value = reading(&format!("d{device}"), ts, &celsius, "0.8", "4.2").into_bytes();
        let (partition, value) = ((device % 2) as i32, Some(value));
        Input { partition, value, timestamp: ts, ..Input::default() }
    })
}

/// What is true of every third device, and what of the others, ten minutes at a time; said five minutes later, and
/// at first wrongly.
fn labels() -> Vec<Input> {
    let mut labels = Vec::new();
    let mut say = |device: u64, from: i64, late: i64, label: u8| {
        let (to, device) = (from + WINDOW, format!("d{device}"));
        let ts = to + late;
        let value = json!({"device": device, "ts": ts, "from": from, "to": to, "label": label});
        let (value, key) = (Some(value.to_string().into_bytes()), Some(device.into_bytes()));
        labels.push(Input { partition: 0, key, value, timestamp: ts, ..Input::default() });
    };
    for window in 0..MINUTES / 10 {
        // Some have none.
        for device in 0..DEVICES - 4 {
            let (from, truth) = (FIRST + window * WINDOW, u8::from(device % 3 == 0));
            say(device, from, 5 * MINUTE, truth);
            say(device, from, 4 * MINUTE, 1 - truth);
        }
    }
    labels
}

/// The model `health`, which was trained when the fleet was as it is at first.
fn trained(folder: &Path) -> PathBuf {
    let (from, to) = (model("health"), folder.join("aged"));
    copy(&from, &to);
    let path = to.join("manifest.json");
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(&path).expect("copied")).expect("it is JSON");
    let edges = [21.0, 22.0, 23.0, 24.0];
    manifest["reference"] = json!({
        "temperature.mean": {"edges": edges, "shares": [0.1375, 0.25, 0.25, 0.25, 0.1125]},
        // Never changed: a bin of its own.
        "vibration.max": {"edges": [f64::from(0.8_f32), f64::from(0.8_f32.next_up())], "shares": [0, 1, 0]},
    });
    fs::write(&path, manifest.to_string()).expect("the folder is ours");
    to
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is ours");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).expect("the disk has room")),
        }
    }
}

fn number(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("`{name}` in {value}"))
}

#[test]
fn oracle_a_fleet_that_shifts_and_labels_that_say_otherwise_are_told_and_when_it_is_over() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 2, 2);
    let [labelled, drift, quality, alarms] =
        ["labels", "drift", "quality", "model_alarms"].map(|name| broker.topic(name, 1));
    topics.send(readings());
    send(&topics.kafka, &labelled, labels());
    let flags = [
        format!("--labels.topic={labelled}"),
        format!("--topics.drift={drift}"),
        format!("--topics.quality={quality}"),
        format!("--topics.model_alarms={alarms}"),
    ];
    let aged = trained(folder.path());
    let mut graph = device_health("run", &topics, &aged);
    let ended = run(graph.args(flags).args([
        "--readings.until=end",
        "--labels.until=end",
        "--drift.length_ms=600000",
        "--drift.rows_min=200",
        "--drift.windows_min=1",
        "--quality.every_ms=600000",
        "--quality.over_ms=1200000",
        "--quality.labels_within_ms=1800000",
        "--quality.threshold=0.5",
        "--quality.f1_raise_below=0.99",
        "--quality.f1_clear_above=1",
        "--quality.windows_min=1",
    ]));
    ended.with_code(0);

    // Every window that a device had is compared, and the warm ones are far from the training.
    let windows: Vec<Value> = topics.read(&topics.windows).iter().map(|w| w.json()).collect();
    let compared: Vec<Value> = topics.read(&drift).iter().map(|d| d.json()).collect();
    assert_eq!(compared.len(), 6, "{compared:?}");
    for found in &compared {
        let start = number(found, "window_start");
        let minute = (start - FIRST) / MINUTE;
        let of = |w: &&Value| (start..start + WINDOW).contains(&(number(w, "window_end") - 1));
        let means: Vec<f64> = windows.iter().filter(of).map(mean).collect();
        assert_eq!((number(found, "rows"), means.len()), (400, 400), "{found}");
        let expected = index(&means);
        let psi = &found["psi"];
        let told = psi["temperature.mean"].as_f64().expect("a number");
        assert!((told - expected).abs() < 1e-9, "{told}, expected {expected}");
        assert_eq!(told > 0.2, is_warm(minute), "{found}");
        assert_eq!(psi["vibration.max"], 0.0, "0.8 as 32 bits is what it was trained on");
        assert_eq!(psi.as_object().map(|all| all.len()), Some(2), "{found}");
    }
    let told: Vec<Value> = topics.read(&alarms).iter().map(|a| a.json()).collect();
    let drifted: Vec<_> = told.iter().filter(|a| a["alarm"] == "drifted").map(of_alarm).collect();
    let at = |minute: i64| FIRST + minute * MINUTE;
    assert_eq!(
        drifted,
        [("temperature.mean", "raised", at(20)), ("temperature.mean", "cleared", at(40))]
    );

    // Each score that a label covers is judged by the label that was said last.
    let scores: Vec<Value> = topics.read(&topics.scores).iter().map(|s| s.json()).collect();
    let judged: Vec<Value> = topics.read(&quality).iter().map(|q| q.json()).collect();
    assert_eq!(judged.len(), 7, "{judged:?}");
    for found in &judged {
        let time = number(found, "window_start")..number(found, "window_end");
        let of = |s: &&Value| time.contains(&(number(s, "window_end") - 1));
        assert_eq!(figures_of(found), figures(scores.iter().filter(of)), "{found}");
    }
    let low: Vec<_> = told.iter().filter(|a| a["alarm"] == "f1 low").map(of_alarm).collect();
    assert_eq!(low.first().map(|(of, state, _)| (*of, *state)), Some(("f1", "raised")), "{told:?}");

    let mut files = Vec::new();
    for (schema, topic) in [("drift", &drift), ("quality", &quality), ("model_alarms", &alarms)] {
        files.extend(described(folder.path(), schema, &topics, topic));
    }
    files.extend(described(folder.path(), "labels", &topics, &labelled));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    println!("{}", python("conform.py", &files));
}

fn mean(window: &Value) -> f64 {
    window["temperature"]["mean"].as_f64().expect("a number")
}

/// The index of temperatures, as the manifest has it.
fn index(means: &[f64]) -> f64 {
    let edges = vec![21.0, 22.0, 23.0, 24.0];
    let trained = Distribution { edges, shares: vec![0.1375, 0.25, 0.25, 0.25, 0.1125] };
    let mut counts = [0.0_f64; 5];
    means.iter().for_each(|mean| counts[trained.bin(f64::from(*mean as f32))] += 1.0);
    let shares = counts.map(|count| (count / means.len() as f64).max(1e-4));
    let terms = shares.iter().zip(&trained.shares).map(|(a, e)| (a - e) * (a / e).ln());
    terms.sum()
}

fn of_alarm(alarm: &Value) -> (&str, &str, i64) {
    let text = |name: &str| alarm[name].as_str().expect("a text");
    (text("of"), text("state"), number(alarm, "window_start"))
}

/// Five counts, and five figures as texts.
type Figures = ([i64; 5], BTreeMap<&'static str, String>);

const COUNTS: [&str; 5] =
    ["unlabelled", "true_positives", "false_positives", "false_negatives", "true_negatives"];

fn figures_of(record: &Value) -> Figures {
    let text = |name| record[name].as_f64().map_or("none".to_string(), |f| format!("{f:.9}"));
    let figures = ["precision", "recall", "f1", "brier", "rmse"];
    (COUNTS.map(|name| number(record, name)), figures.map(|name| (name, text(name))).into())
}

fn figures<'s>(scores: impl Iterator<Item = &'s Value>) -> Figures {
    let (mut counts, mut squares) = ([0; 5], 0.0);
    for score in scores {
        let device = score["device"].as_str().expect("a text")[1..].parse::<u64>();
        let device = device.expect("we have named it");
        if device >= DEVICES - 4 {
            counts[0] += 1;
            continue;
        }
        let (score, truth) = (score["score"].as_f64().expect("a number"), device % 3 == 0);
        counts[match (score > 0.5, truth) {
            (true, true) => 1,
            (true, false) => 2,
            (false, true) => 3,
            (false, false) => 4,
        }] += 1;
        squares += (score - f64::from(u8::from(truth))).powi(2);
    }
    let [_, tp, fp, fn_, tn] = counts.map(|count| count as f64);
    let all = tp + fp + fn_ + tn;
    let text = |part: f64, of: f64| match all >= 100.0 && of > 0.0 {
        true => format!("{:.9}", part / of),
        false => "none".to_string(),
    };
    let root = if all >= 100.0 { format!("{:.9}", (squares / all).sqrt()) } else { "none".into() };
    let figures = [
        ("precision", text(tp, tp + fp)),
        ("recall", text(tp, tp + fn_)),
        ("f1", text(2.0 * tp, 2.0 * tp + fp + fn_)),
        ("brier", text(squares, all)),
        ("rmse", root),
    ];
    (counts, figures.into())
}

#[test]
fn a_label_that_comes_after_its_time_is_judged_and_one_that_is_none_are_dead_letters() {
    let broker = TestBroker::shared();
    let topics = Topics::new(broker, 2, 1);
    let (labelled, quality) = (broker.topic("labels", 1), broker.topic("quality", 1));
    topics.send(readings());
    let flags = [format!("--labels.topic={labelled}"), format!("--topics.quality={quality}")];
    let mut graph = device_health("run", &topics, &model("health"));
    graph.args(flags).args([
        "--quality.every_ms=600000",
        "--quality.over_ms=600000",
        "--quality.labels_within_ms=0",
        "--readings.idle_after_ms=1000",
    ]);
    let graph = crate::program::Running::start(&mut graph);
    // All but the last window of the fleet is judged when the readings are read.
    topics.read_some(&quality, 5);
    let ts = FIRST + MINUTES * MINUTE;
    let label = |from: i64, to: i64, label: f64| {
        let value = json!({"device": "d0", "ts": ts, "from": from, "to": to, "label": label});
        let (key, value) = (Some(b"d0".to_vec()), Some(value.to_string().into_bytes()));
        Input { partition: 0, key, value, timestamp: ts, ..Input::default() }
    };
    let all = [
        label(FIRST, FIRST + WINDOW, 1.0),
        label(FIRST, FIRST + WINDOW, 0.5),
        label(FIRST, FIRST, 1.0),
        label(FIRST, ts + 1, 1.0),
    ];
    send(&topics.kafka, &labelled, all);
    let rejects = topics.read_some(&topics.rejects, 4);
    let page = graph.metrics();
    let late = [("operator", "quality"), ("reason", "late")];
    assert_eq!(page.sum("tideflow_rejected_total", &late), 1.0);
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
    let mut told: Vec<_> =
        rejects.iter().map(|r| (r.header("error"), r.header("detail"))).collect();
    told.sort_unstable();
    let (early, to) = (FIRST, ts + 1);
    let expected = [
        "expected a label before the scores of its time were judged, found one after".to_string(),
        "`label`: expected 0 or 1, found 0.5".to_string(),
        format!("`to`: expected at most `ts`, {ts}, found {to}"),
        format!("`to`: expected more than `from`, {early}, found {early}"),
    ];
    let kinds = ["late", "wrong_type", "wrong_type", "wrong_type"];
    assert_eq!(told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), kinds);
    assert_eq!(told.iter().map(|(_, detail)| *detail).collect::<Vec<_>>(), expected);
    let late = rejects.iter().find(|r| r.header("error") == "late").expect("just seen");
    assert_eq!(late.key.as_deref(), Some(&b"d0"[..]));
    assert_eq!(number(&late.json(), "from"), FIRST);
}
