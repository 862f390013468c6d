//! The graph's options and the topics it needs, put together.

use std::ffi::OsString;

use anyhow::Context;
use tideflow::cluster::settings::{Inputs, Schema, Settings};
use tideflow::cluster::{FRAMEWORK_DEFAULTS, FrameworkConfig};
use tideflow::job::Delivery;
use tideflow::models::ModelRef;
use tideflow_dataflows::device_health::{DEFAULTS, DeviceHealth, Topics};

use crate::broker::Broker;

/// The input topic, below the broker's prefix.
const READINGS: &str = "readings";

/// What a run takes from where it runs. By default nothing: a broker in this process, and no options
/// but its own.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Kafka brokers to use, `host:port`, in place of one in this process.
    pub brokers: Option<String>,
    /// Environment variables; those named `TIDEFLOW__…` are options of the graph.
    pub env: Vec<(OsString, OsString)>,
}

/// The options of `device_health` and of every graph: the defaults, below `TIDEFLOW__…` variables,
/// below these flags.
///
/// # Errors
/// With every value that is refused.
pub fn settings(
    around: &Surroundings,
    flags: &[(&str, &str)],
) -> anyhow::Result<(DeviceHealth, FrameworkConfig)> {
    let files: Vec<_> = [FRAMEWORK_DEFAULTS].iter().chain(DEFAULTS).copied().collect();
    let schema = Schema::read(&files)?;
    let flags = flags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let inputs = Inputs { flags, env: around.env.clone(), ..Inputs::default() };
    let settings = Settings::load(schema, &inputs)?;
    let framework = FrameworkConfig::read(&settings)?;
    Ok((settings.all().context("the options of `device_health`")?, framework))
}

/// Topics of this many partitions, on the brokers around or on one in this process, and options that
/// name them.
///
/// # Errors
/// With every flag that is refused, or when the topics cannot be made.
pub fn prepare(
    around: &Surroundings,
    partitions: usize,
    model: ModelRef,
    flags: &[(&str, &str)],
) -> anyhow::Result<(Broker, DeviceHealth, FrameworkConfig)> {
    let count = partitions.to_string();
    let mut all = vec![
        ("readings.partitions", count.as_str()),
        ("topics.partitions", count.as_str()),
        ("readings.start", "earliest"),
        ("readings.group", "tideflow-demo"),
    ];
    let brokers = around.brokers.as_deref();
    all.extend(brokers.map(|brokers| ("kafka.brokers", brokers)));
    all.extend(flags);
    let (mut config, framework) = settings(around, &all)?;
    let Topics { windows, scores, alarms, late, rejects, .. } = config.topics.clone();
    let names = [READINGS, &windows, &scores, &alarms, &late, &rejects];
    let topics = names.map(|name| (name, partitions));
    let broker = match brokers {
        None => Broker::embedded(&topics)?,
        Some(_) => Broker::at(config.kafka.clone(), &topics)?,
    };
    if broker.is_embedded() {
        config.job.delivery = Delivery::AtLeastOnce;
    }
    config.job.name = broker.topic("job");
    config.kafka = broker.kafka().clone();
    config.model = config.model.with_model(model);
    config.readings.topic = broker.topic(READINGS);
    config.topics = Topics {
        windows: broker.topic(&windows),
        scores: broker.topic(&scores),
        alarms: broker.topic(&alarms),
        late: broker.topic(&late),
        rejects: broker.topic(&rejects),
        partitions,
        ..config.topics
    };
    Ok((broker, config, framework))
}
