//! The graph for recorded machines: another one than `device_health`, of the same operators.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;
use tideflow_dataflows::device_health::{AlarmRecord, DeviceHealth};

use super::sample::{Sample, SampleWindow};

/// A window's score as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleScore {
    /// The machine.
    pub device: DeviceId,
    /// The first millisecond of the window.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// 0 is as in its healthy time, 1 is not.
    pub score: f64,
}

impl KeyedRecord for SampleScore {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

/// A reading that came after its window had closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateSample<S> {
    /// The reading.
    #[serde(flatten)]
    pub sample: S,
}

impl<S: Sample> KeyedRecord for LateSample<S> {
    fn key(&self) -> &[u8] {
        self.sample.device().as_str().as_bytes()
    }
}

/// Scores every window of one kind of machine by the machine's own model, and raises alarms.
///
/// # Errors
/// When the model cannot be used or a part cannot start.
pub fn recorded<S: Sample>(flow: &Flow<'_>, config: &DeviceHealth) -> Result<(), BuildError> {
    let (kafka, topics) = (&config.kafka, &config.topics);
    let source = KafkaSource::<S>::flat_json(kafka, &config.readings);
    let (readings, rejects) = flow.source("readings", source)?;

    let windows = readings
        .key_by(|sample: &S| sample.device())
        .tumbling_window::<_, S::Stats>("windows", config.window.tumbling())?;

    let scores = windows.on_time.clone().infer("machine", &config.model)?;
    let alarms = scores.scored.clone().alarm("unusual", config.alarm.hysteresis())?;

    let windows_out = windows.on_time.map("window records", window_record::<S>)?;
    flow.sink("windows out", windows_out, KafkaSink::json(kafka, &topics.windows()))?;

    let scores_out = scores.scored.map("score records", score_record::<S>)?;
    flow.sink("scores out", scores_out, KafkaSink::json(kafka, &topics.scores()))?;

    let alarms_out = alarms.map("alarm records", AlarmRecord::from)?;
    flow.sink("alarms out", alarms_out, KafkaSink::json(kafka, &topics.alarms()))?;

    let late_out = windows.late.map("late records", |late| LateSample { sample: late.record })?;
    flow.sink("late out", late_out, KafkaSink::json(kafka, &topics.late()))?;

    let rejects = rejects.and(scores.failed);
    flow.sink("rejects out", rejects, KafkaSink::dead_letters(kafka, &topics.rejects()))
}

/// A machine's window.
pub type MachineWindow<S> = Window<DeviceId, <S as Sample>::Stats>;

/// What is written of a window.
pub fn window_record<S: Sample>(window: MachineWindow<S>) -> SampleWindow<S::Summaries> {
    SampleWindow {
        window_start: window.start,
        window_end: window.end,
        count: S::count(&window.value),
        fields: S::Summaries::from(&window.value),
        device: window.key,
    }
}

fn score_record<S: Sample>(scored: Scored<MachineWindow<S>>) -> SampleScore {
    let Window { key, start, end, .. } = scored.of;
    SampleScore { device: key, window_start: start, window_end: end, score: scored.score }
}
