//! Whether the health model is still good: its rows against its training, its scores against labels.

use tideflow::operators::{Degraded, Inferred, Judge, Label};
use tideflow::prelude::*;

use super::model_records::{DriftRecord, LabelRecord, ModelAlarmRecord, QualityRecord};
use super::{DeviceHealth, ReadingStats};

/// Publishes how the model's rows and scores lie against its training, how good its scores were, and an alarm
/// when they are no longer good: as far as there are topics for it. Yields `rejects`, and labels that could not
/// be used.
///
/// # Errors
/// When a part cannot start.
pub fn watch<'s>(
    flow: &Flow<'s>,
    config: &DeviceHealth,
    health: &Inferred<'s, Window<DeviceId, ReadingStats>>,
    rejects: Stream<'s, Rejected>,
) -> Result<Stream<'s, Rejected>, BuildError> {
    let (topics, mut rejects, mut alarms) = (&config.topics, rejects, None);
    if config.compares() {
        let drift = health.drift("drift", config.drift.options())?;
        let drifted = drift.clone().degraded("drifted", |_| true, config.drift.hysteresis())?;
        alarms = Some(drifted);
        let drift_out = drift.map("drift records", DriftRecord::from)?;
        flow.sink("drift out", drift_out, KafkaSink::json(&config.kafka, &topics.drift()))?;
    }
    if config.judges() {
        let source = KafkaSource::flat_json(&config.kafka, &config.labels);
        let (labels, no_labels) = flow.source("labels", source.validate(LabelRecord::check))?;
        let labels = labels.map("labels of devices", Label::from)?;
        let judged = health.scored.clone().judge("quality", labels, config.quality.options())?;
        let quality = judged.quality;
        let low = quality.clone().degraded("f1 low", |f| f == "f1", config.quality.f1())?;
        let high =
            quality.clone().degraded("brier high", |f| f == "brier", config.quality.brier())?;
        alarms = Some(alarms.into_iter().fold(low.and(high), Stream::and));
        let quality_out = quality.map("quality records", QualityRecord::from)?;
        flow.sink("quality out", quality_out, KafkaSink::json(&config.kafka, &topics.quality()))?;
        let late = judged.late.map("late labels", reject_late(flow, "quality"))?;
        rejects = rejects.and(no_labels).and(late);
    }
    if let Some(alarms) = alarms.filter(|_| config.tells()) {
        let alarms_out = alarms.map("model alarm records", ModelAlarmRecord::from)?;
        let sink = KafkaSink::json(&config.kafka, &topics.model_alarms());
        flow.sink("model alarms out", alarms_out, sink)?;
    }
    Ok(rejects)
}

/// The dead letter of a label that came too late.
fn reject_late(
    flow: &Flow<'_>,
    operator: &'static str,
) -> impl Fn(Label<DeviceId>) -> Rejected + use<> {
    let rejected = &flow.job().metrics.rejected;
    let count = rejected.with_label_values(&[operator, Reason::Late.as_str()]);
    move |label| {
        count.inc();
        let record = LabelRecord::from(label);
        let detail = "expected a label before the scores of its time were judged, found one after";
        Rejected {
            operator: operator.to_string(),
            reason: Reason::Late,
            detail: detail.to_string(),
            origin: Default::default(),
            key: Some(record.device.as_str().as_bytes().to_vec()),
            payload: serde_json::to_vec(&record).ok(),
            headers: Vec::new(),
        }
    }
}
