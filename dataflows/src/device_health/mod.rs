//! The health of a fleet: readings in; minute statistics, scores and alarms out.

mod beside;
mod config;
mod model_records;
mod records;
mod replayed;
mod stats;
mod watch;
mod watch_config;

pub use beside::beside;
pub use config::{AlarmConfig, DEFAULTS, DeviceHealth, Topics, WindowConfig};
pub use model_records::{DriftRecord, LabelRecord, ModelAlarmRecord, QualityRecord};
pub use records::{AlarmRecord, CandidateRecord, LateRecord, Minute, ScoreRecord, WindowRecord};
pub use stats::ReadingStats;
pub use watch::watch;
pub use watch_config::{DriftConfig, QualityConfig};

use tideflow::prelude::*;

use crate::Reading;

/// Scores every device once a window, and raises an alarm when its health model says so.
///
/// # Errors
/// When the model cannot be used or a part cannot start.
pub fn device_health(flow: &Flow<'_>, config: &DeviceHealth) -> Result<(), BuildError> {
    let source = KafkaSource::flat_json(&config.kafka, &config.readings).validate(Reading::check);
    let (readings, rejects) = flow.source("readings", source)?;

    let windows = readings
        .key_by(|r: &Reading| &r.device)
        .tumbling_window::<_, ReadingStats>("windows", config.window.tumbling())?;

    let health = windows.on_time.clone().infer("health", &config.model)?;
    let rejects = watch(flow, config, &health, rejects.and(health.failed.clone()))?;
    let scored = beside(flow, config, health.scored)?;
    let alarms = scored.clone().alarm("unhealthy", config.alarm.hysteresis())?;

    let topics = &config.topics;
    let windows_out = windows.on_time.map("window records", WindowRecord::from)?;
    flow.sink("windows out", windows_out, KafkaSink::json(&config.kafka, &topics.windows()))?;

    let scores_out = scored.map("score records", ScoreRecord::from)?;
    flow.sink("scores out", scores_out, KafkaSink::json(&config.kafka, &topics.scores()))?;

    let alarms_out = alarms.map("alarm records", AlarmRecord::from)?;
    flow.sink("alarms out", alarms_out, KafkaSink::json(&config.kafka, &topics.alarms()))?;

    let late_out = windows.late.map("late records", LateRecord::from)?;
    flow.sink("late out", late_out, KafkaSink::json(&config.kafka, &topics.late()))?;

    flow.sink("rejects out", rejects, KafkaSink::dead_letters(&config.kafka, &topics.rejects()))
}
