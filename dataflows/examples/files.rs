//! A graph that publishes to files, for the tests: readings as they came, and what a minute of them adds up to.

use std::process::ExitCode;

use serde::Deserialize;
use tideflow::core::kafka::KAFKA_DEFAULTS;
use tideflow::job::{JOB_DEFAULTS, JobConfig};
use tideflow::prelude::*;
use tideflow::sinks::files::FileSinkConfig;
use tideflow_dataflows::Reading;
use tideflow_dataflows::device_health::{ReadingStats, WindowConfig, WindowRecord};

const DEFAULTS: &str = r#"
# The folder for readings.
[raw]
# It must be there.
folder = ""

# The folder for windows.
[windows]
# It must be there.
folder = ""
"#;

#[derive(Clone, Deserialize)]
struct Config {
    job: JobConfig,
    kafka: KafkaConfig,
    readings: KafkaSourceConfig,
    window: WindowConfig,
    raw: FileSinkConfig,
    windows: FileSinkConfig,
}

fn files(flow: &Flow<'_>, config: &Config) -> Result<(), BuildError> {
    let source = KafkaSource::flat_json(&config.kafka, &config.readings).validate(Reading::check);
    let (readings, rejects) = flow.source("readings", source)?;
    let windows = readings
        .clone()
        .key_by(|r: &Reading| &r.device)
        .tumbling_window::<_, ReadingStats>("windows", config.window.tumbling())?;
    flow.sink("readings out", readings, FileSink::json_lines(&config.raw))?;
    let records = windows.on_time.map("window records", WindowRecord::from)?;
    flow.sink("windows out", records, FileSink::json_lines(&config.windows))?;
    flow.sink("late", windows.late, VecSink::new())?;
    flow.sink("rejects", rejects, VecSink::new())
}

fn main() -> ExitCode {
    tideflow::main(Graph {
        name: "files",
        about: "Publishes to files.",
        version: env!("CARGO_PKG_VERSION"),
        // The sections of its own, and those of `device_health`, of which it uses two.
        defaults: &[
            JOB_DEFAULTS,
            KAFKA_DEFAULTS,
            include_str!("../src/device_health/default.toml"),
            DEFAULTS,
        ],
        validate: |config: &Config| config.kafka.problem("kafka").into_iter().collect(),
        durability: |config, name| config.job.durability(name, &config.kafka),
        build: files,
        model: None,
        compare: None,
    })
}
