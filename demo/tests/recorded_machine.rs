//! A made-up recording through the second graph, with a model that needs no training.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use tideflow::core::{Ending, Stop};
use tideflow::models::{LinearModel, ModelRef};
use tideflow_demo::real::{Machine, RealSummary, Recording, run};
use tideflow_demo::{Screen, Surroundings, Written};

const MINUTE_MS: i64 = 60_000;

/// A reading a minute, 20 °C, with 30 °C from minute 100 to 119; the last hour starts again twenty
/// minutes early.
fn recording() -> Recording {
    let value = |minute: i64| if (100..120).contains(&minute) { 30.0 } else { 20.0 };
    let minutes = (0..200).chain(180..240);
    Recording {
        name: "boiler-7".into(),
        machine: Machine::Temperature,
        window_ms: 10 * MINUTE_MS,
        rows: minutes.map(|minute| (minute * MINUTE_MS, vec![value(minute)])).collect(),
        probation: 60,
        labels: vec![(100 * MINUTE_MS, 119 * MINUTE_MS), (210 * MINUTE_MS, 220 * MINUTE_MS)],
    }
}

/// Above 0.9 where the mean lies above 26.
fn warm_model() -> LinearModel {
    let features = ["value.mean", "value.std", "value.min", "value.max"].map(|name| (name, ""));
    LinearModel::new("warm", &features, &[1.0, 0.0, 0.0, 0.0], -23.0).logistic()
}

fn replay(
    models: &BTreeMap<String, ModelRef>,
    out: &Path,
    stop: &Stop,
    screen: &mut Screen,
) -> anyhow::Result<RealSummary> {
    run(&[recording()], models, &Surroundings::default(), out, stop, screen)
}

#[test]
fn an_anomaly_is_found_in_its_window_and_every_row_is_accounted_for() {
    let out = tempfile::tempdir().unwrap();
    let models = BTreeMap::from([("boiler-7".to_string(), warm_model().into())]);
    let written = Written::default();
    let mut screen = Screen::to(written.clone());
    let summary = replay(&models, out.path(), &Stop::default(), &mut screen).unwrap();
    let expected =
        RealSummary { recordings: 1, rows: 260, windows: 24, labelled: 2, hit: 1, outside: 0 };
    assert_eq!(summary, expected);

    assert!(written.text().starts_with("broker      embedded in this process"));
    let plot = fs::read(out.path().join("boiler-7.json")).unwrap();
    let plot: serde_json::Value = serde_json::from_slice(&plot).unwrap();
    let alarm = serde_json::json!({
        "from": 100 * MINUTE_MS, "known": 110 * MINUTE_MS, "to": 120 * MINUTE_MS
    });
    assert_eq!(plot["alarms"], serde_json::json!([alarm]));
    assert_eq!(plot["scores"].as_array().map(Vec::len), Some(24));
}

#[test]
fn fault_a_recording_without_a_model_is_named() {
    let out = tempfile::tempdir().unwrap();
    let mut screen = Screen::to(io::sink());
    let error = replay(&BTreeMap::new(), out.path(), &Stop::default(), &mut screen).unwrap_err();
    assert_eq!(error.to_string(), "no model given for `boiler-7`");
}

#[test]
fn a_replay_that_is_stopped_names_the_recording() {
    let out = tempfile::tempdir().unwrap();
    let models = BTreeMap::from([("boiler-7".to_string(), warm_model().into())]);
    let stop = Stop::default();
    stop.ask(Ending::Suspend);
    let error = replay(&models, out.path(), &stop, &mut Screen::to(io::sink())).unwrap_err();
    assert_eq!(format!("{error:#}"), "replaying `boiler-7`: stopped before its end");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
