//! The graph as a program.

use std::process::ExitCode;

use cold_chain::{CargoReading, ColdChain, DEFAULTS, cold_chain};
use tideflow::prelude::*;
use tideflow::sinks::kafka::KafkaSinkConfig;

fn main() -> ExitCode {
    tideflow::main(Graph {
        name: "cold_chain",
        about: "Alarms for trucks whose cargo gets warm.",
        version: env!("CARGO_PKG_VERSION"),
        defaults: DEFAULTS,
        validate: ColdChain::problems,
        durability: |config, name| config.job.durability(name, &config.kafka),
        build: on_kafka,
        model: None,
        compare: None,
    })
}

fn on_kafka(flow: &Flow<'_>, config: &ColdChain) -> Result<(), BuildError> {
    let ColdChain { kafka, readings, cargo, topics, .. } = config;
    let to = |topic: &String| KafkaSinkConfig { topic: topic.clone(), partitions: 0 };
    cold_chain(
        flow,
        cargo,
        KafkaSource::flat_json(kafka, readings).validate(CargoReading::check),
        KafkaSink::json(kafka, &to(&topics.alarms)),
        KafkaSink::json(kafka, &to(&topics.late)),
        KafkaSink::dead_letters(kafka, &to(&topics.rejects)),
    )
}
