//! The options of `device_health`: each is explained, and has one default.

use tideflow::cluster::FRAMEWORK_DEFAULTS;
use tideflow::cluster::settings::{Inputs, Kind, Schema, Settings};
use tideflow::core::OptionProblem;
use tideflow::job::JobConfig;
use tideflow::operators::Scorer;
use tideflow::prelude::*;
use tideflow_dataflows::device_health::{AlarmConfig, DEFAULTS, DeviceHealth};

use crate::program::{bare, run};

fn schema() -> Schema {
    let files: Vec<_> = [FRAMEWORK_DEFAULTS].iter().chain(DEFAULTS).copied().collect();
    Schema::read(&files).expect("the program starts with these")
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn help_and_config_show_every_option_with_its_default() {
    let help = run(&mut bare(&["run", "--help"]));
    // Without the address that the tests listen on.
    let config = run(bare(&["config"]).env_remove("TIDEFLOW__HTTP__BIND"));
    assert_eq!((help.code, config.code), (0, 0), "{help:?}\n{config:?}");
    let flat_help = flat(&help.out);
    let schema = schema();
    for key in schema.keys() {
        let path = &key.path;
        assert!(help.out.contains(&format!("      --{path}")), "{path}");
        for paragraph in key.doc.paragraphs() {
            assert!(flat_help.contains(&flat(&paragraph)), "{path}: {paragraph}");
        }
    }
    for section in schema.sections() {
        let (_, shown) = config
            .out
            .split_once(&format!("\n[{}]\n", section.path))
            .unwrap_or_else(|| panic!("no [{}] in:\n{}", section.path, config.out));
        let shown = shown.split("\n[").next().expect("a split has a first part");
        for key in section.keys.iter().filter(|key| key.kind != Kind::Map) {
            let line = format!("{} = {}", key.name(), key.default_toml().expect("no table"));
            assert!(shown.lines().any(|found| found == line), "no `{line}` in:\n{shown}");
        }
    }
}

#[test]
fn the_defaults_of_the_options_are_those_of_a_graph_without_options() {
    let settings = Settings::load(schema(), &Inputs::default()).expect("defaults are accepted");
    let config: DeviceHealth = settings.all().expect("defaults are accepted");
    assert_eq!(config.kafka, KafkaConfig::default());
    assert_eq!(config.job, JobConfig::exactly_once("", ".tideflow/state"));

    let (_, calls) = config.model.scorer().expect("a folder needs nothing");
    assert_eq!(calls, InferOptions::default());
    assert_eq!(config.model.problems("model"), []);
    let mut nowhere = config.model.clone();
    nowhere.cache = "".into();
    let expected = OptionProblem::new("model.cache", "expected a folder, found none");
    assert_eq!(nowhere.problems("model"), [expected]);

    let AlarmConfig { raise_above, clear_below, windows_min, .. } = config.alarm;
    let forgets_by_default =
        Hysteresis::raise_above(raise_above).clear_below(clear_below).for_at_least(windows_min);
    assert_eq!(config.alarm.hysteresis(), forgets_by_default);
}
