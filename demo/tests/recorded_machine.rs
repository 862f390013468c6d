//! A made-up recording through the second graph, with a model that needs no training.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use tideflow::models::LinearModel;
use tideflow_demo::Screen;
use tideflow_demo::real::{Machine, RealSummary, Recording, run};

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

#[test]
fn an_anomaly_is_found_in_its_window_and_every_row_is_accounted_for() {
    let out = tempfile::tempdir().unwrap();
    let models = BTreeMap::from([("boiler-7".to_string(), warm_model().into())]);
    let mut screen = Screen::to(io::sink());
    let summary = run(&[recording()], &models, None, out.path(), &mut screen).unwrap();
    let expected =
        RealSummary { recordings: 1, rows: 260, windows: 24, labelled: 2, hit: 1, outside: 0 };
    assert_eq!(summary, expected);

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
    let error = run(&[recording()], &BTreeMap::new(), None, out.path(), &mut screen).unwrap_err();
    assert_eq!(error.to_string(), "no model given for `boiler-7`");
}
