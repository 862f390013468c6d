//! The demo as a whole, short and with a model that needs no training.

use std::time::Duration;

use tideflow::core::{Ending, Stop};
use tideflow::models::LinearModel;
use tideflow::prelude::Features;
use tideflow_dataflows::device_health::ReadingStats;
use tideflow_demo::fleet::{FleetOptions, run, troubled_fleet};
use tideflow_demo::{Screen, Surroundings, Written};

fn lines(written: &Written) -> Vec<String> {
    written.text().lines().map(str::to_string).collect()
}

/// Above 0.9 where the vibration of a reading lies above 2 mm/s, as only spikes make it.
fn spike_model() -> LinearModel {
    let features: Vec<_> = ReadingStats::NAMES.iter().map(|name| (*name, "")).collect();
    let weight = |name: &&str| if *name == "vibration.max" { 10.0 } else { 0.0 };
    let weights: Vec<f64> = ReadingStats::NAMES.iter().map(weight).collect();
    LinearModel::new("spikes", &features, &weights, -18.0).logistic()
}

fn options(seconds: u64) -> FleetOptions {
    FleetOptions {
        fleet: troubled_fleet(200, 2_000, Duration::from_secs(seconds), 1),
        model: spike_model().into(),
        around: Surroundings::default(),
        metrics_port: 0,
    }
}

#[test]
fn a_short_demo_accounts_for_every_reading_and_finds_the_spikes() {
    let written = Written::default();
    let mut screen = Screen::to(written.clone());
    let summary = run(options(5), &Stop::default(), &mut screen).unwrap();
    let lines = lines(&written);
    assert!(summary.accounted, "{lines:#?}");
    assert_eq!(summary.readings, 10_000);
    assert_eq!(summary.in_windows + summary.late + summary.rejected, 10_000);
    assert_eq!(summary.windows, summary.scores);
    assert!(summary.latency_p50_ms > 0.0);
    assert_eq!(summary.faults_injected, 3);
    assert_eq!((summary.faults_alarmed, summary.false_alarms), (1, 0), "{lines:#?}");

    assert!(lines[0].contains("embedded in this process"), "{}", lines[0]);
    let last: serde_json::Value = serde_json::from_str(&lines[lines.len() - 1]).unwrap();
    assert_eq!(last, serde_json::to_value(&summary).unwrap());
    let keys = "readings in_windows late rejected windows scores alarms faults_injected \
                faults_alarmed false_alarms readings_per_s latency_p50_ms latency_p99_ms accounted";
    let found = lines[lines.len() - 1].split('"').skip(1).step_by(2).collect::<Vec<_>>().join(" ");
    assert_eq!(found, keys);
}

#[test]
fn a_demo_that_is_stopped_accounts_for_what_was_sent() {
    let stop = Stop::default();
    stop.ask(Ending::Drain);
    let written = Written::default();
    let summary = run(options(600), &stop, &mut Screen::to(written.clone())).unwrap();
    assert!(summary.accounted, "{:#?}", lines(&written));
    assert!(summary.readings < 1_200_000);
}
