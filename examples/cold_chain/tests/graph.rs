//! The graph on readings in memory: no broker, no clock.

use cold_chain::{Cargo, CargoReading, LateReading, WarmCargo, cold_chain};
use tideflow::cluster::settings::ENV_PREFIX;
use tideflow::core::{EpochSettings, Job, LogOnly, RecentBindings, execute, timely};
use tideflow::prelude::*;

const CARGO: Cargo =
    Cargo { window_minutes: 5, limit_celsius: 8.0, margin_celsius: 0.5, windows_min: 2 };

/// A reading at a minute.
fn reading(truck: &str, minute: i64, celsius: f64) -> CargoReading {
    CargoReading { truck: truck.to_string(), at: EventTime(minute * 60_000), celsius }
}

/// Runs the graph over these partitions on two workers: what it published. With `bytes_max` of 1 each
/// epoch holds one reading a worker.
fn run(partitions: Vec<Vec<CargoReading>>, bytes_max: usize) -> (Vec<WarmCargo>, Vec<LateReading>) {
    let (alarms, late) = (VecSink::new(), VecSink::new());
    let (alarms_out, late_out) = (alarms.clone(), late.clone());
    let source = VecSource::new(partitions).out_of_orderness(minutes(1)).chunk(1);
    let build = move |flow: &Flow<'_>| {
        let (alarms, late) = (alarms_out.clone(), late_out.clone());
        cold_chain(flow, &CARGO, source.clone(), alarms, late, VecSink::new())
    };
    let epochs = EpochSettings { bytes_max, ..EpochSettings::default() };
    let job = Job { epochs, ..Job::default() };
    let log = LogOnly::new(RecentBindings::new(1));
    execute(timely::Config::process(2), &job, log, |_| (), build)
        .expect("the graph runs to the end of its input");
    let alarms = alarms.take().into_iter().map(|(_, alarm)| alarm).collect();
    (alarms, late.take().into_iter().map(|(_, late)| late).collect())
}

#[test]
fn a_truck_that_warms_up_is_told_of_once_and_again_when_it_is_cold() {
    let cold = (0..40).map(|m| reading("cold", m, 4.0)).collect();
    let door_open = |m| (10..20).contains(&m);
    let warm = (0..40).map(|m| reading("warm", m, if door_open(m) { 12.0 } else { 4.0 })).collect();
    let (alarms, late) = run(vec![cold, warm], 1 << 20);
    let told = |a: &WarmCargo| (a.truck.clone(), a.state, a.since.0 / 60_000, a.at.0 / 60_000);
    assert_eq!(
        alarms.iter().map(told).collect::<Vec<_>>(),
        [
            ("warm".to_string(), AlarmState::Raised, 10, 20),
            ("warm".to_string(), AlarmState::Cleared, 10, 25),
        ]
    );
    assert_eq!(alarms[0].excess, 4.0);
    assert_eq!(late, []);
}

#[test]
fn one_warm_window_is_no_alarm() {
    let door_open = |m| (10..15).contains(&m);
    let once = |m| reading("once", m, if door_open(m) { 12.0 } else { 4.0 });
    assert_eq!(run(vec![(0..40).map(once).collect()], 1 << 20), (vec![], vec![]));
}

#[test]
fn a_reading_that_comes_after_its_window_closed_is_late() {
    let history = vec![reading("t", 30, 12.0), reading("t", 3, 12.0), reading("t", 36, 12.0)];
    let (alarms, late) = run(vec![history.clone()], 1);
    assert_eq!(late, [LateReading { reading: history[1].clone(), window_end: EventTime(300_000) }]);
    assert_eq!(alarms.len(), 1, "the other two make two warm windows: {alarms:?}");
}

#[test]
fn the_program_understands_its_defaults_and_draws_the_graph() {
    let program = env!("CARGO_BIN_EXE_cold_chain");
    let mut command = std::process::Command::new(program);
    // Options of whoever runs the test are not this program's.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(ENV_PREFIX) {
            command.env_remove(name);
        }
    }
    let output = command.args(["graph", "--kafka.brokers", "localhost:9092"]).output();
    let output = output.expect("the program starts");
    let (dot, said) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&dot).contains("Kafka topic warm_cargo"), "{said}");
}
