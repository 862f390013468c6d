//! What `device_health` reads and writes about its model: one struct a topic, its JSON described in `schemas/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tideflow::models::VersionId;
use tideflow::operators::{Aspect, Drift, Label, Quality};
use tideflow::prelude::*;

/// What a device truly was, on the labels topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// The device.
    pub device: DeviceId,
    /// When it was said. What was said last holds.
    pub ts: EventTime,
    /// The first millisecond that it is of.
    pub from: EventTime,
    /// The first millisecond after these.
    pub to: EventTime,
    /// 0 was healthy, 1 was not.
    pub label: f64,
}

flat_record!(LabelRecord { device, ts, from, to, label });

impl Event for LabelRecord {
    fn event_time(&self) -> EventTime {
        self.ts
    }
}

impl LabelRecord {
    /// Refuses what is neither healthy nor not, of no time, or of one that was still to come.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn check(&self) -> Result<(), DecodeError> {
        let LabelRecord { ts, from, to, label, .. } = self;
        let detail = if *label != 0.0 && *label != 1.0 {
            format!("`label`: expected 0 or 1, found {label}")
        } else if from >= to {
            format!("`to`: expected more than `from`, {from}, found {to}")
        } else if to > ts {
            format!("`to`: expected at most `ts`, {ts}, found {to}")
        } else {
            return Ok(());
        };
        Err(DecodeError { reason: Reason::WrongType, detail })
    }
}

impl From<LabelRecord> for Label<DeviceId> {
    fn from(record: LabelRecord) -> Self {
        let LabelRecord { device, ts, from, to, label } = record;
        Label { key: device, from, to, said: ts, value: label }
    }
}

impl From<Label<DeviceId>> for LabelRecord {
    fn from(label: Label<DeviceId>) -> Self {
        let Label { key, from, to, said, value } = label;
        LabelRecord { device: key, ts: said, from, to, label: value }
    }
}

/// How a version's windows lie against its training, on the drift topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftRecord {
    /// The model's name; the record's key.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of the model's files.
    pub digest: String,
    /// The first millisecond of the time that is compared.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// How many windows of devices it has.
    pub rows: u64,
    /// The population stability index of each feature and output; empty where there are too few rows.
    pub psi: BTreeMap<String, f64>,
}

impl From<Drift> for DriftRecord {
    fn from(drift: Drift) -> Self {
        let Drift { model: VersionId { name, version, digest, .. }, start, end, rows, psi } = drift;
        let (window_start, window_end) = (start, end);
        DriftRecord { model: name, version, digest, window_start, window_end, rows, psi }
    }
}

/// How good a version's scores were, on the quality topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRecord {
    /// The model's name; the record's key.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of the model's files.
    pub digest: String,
    /// The first millisecond of the time that is judged.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// Scores without a label.
    pub unlabelled: u64,
    /// Scores above the threshold, of devices that were not healthy.
    pub true_positives: u64,
    /// Scores above the threshold, of healthy devices.
    pub false_positives: u64,
    /// Other scores, of devices that were not healthy.
    pub false_negatives: u64,
    /// Other scores, of healthy devices.
    pub true_negatives: u64,
    /// The share of the scores above the threshold that was right.
    pub precision: Option<f64>,
    /// The share of what was not healthy that scored above the threshold.
    pub recall: Option<f64>,
    /// The harmonic mean of these two.
    pub f1: Option<f64>,
    /// The mean square of score less label.
    pub brier: Option<f64>,
    /// Its root.
    pub rmse: Option<f64>,
}

impl From<Quality> for QualityRecord {
    fn from(quality: Quality) -> Self {
        let VersionId { name, version, digest, .. } = quality.model;
        QualityRecord {
            model: name,
            version,
            digest,
            window_start: quality.start,
            window_end: quality.end,
            unlabelled: quality.unlabelled,
            true_positives: quality.true_positives,
            false_positives: quality.false_positives,
            false_negatives: quality.false_negatives,
            true_negatives: quality.true_negatives,
            precision: quality.precision,
            recall: quality.recall,
            f1: quality.f1,
            brier: quality.brier,
            rmse: quality.rmse,
        }
    }
}

/// A change of an alarm of the model, on the topic of its alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelAlarmRecord {
    /// The model's name; the record's key.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of the model's files.
    pub digest: String,
    /// The alarm's name in the graph.
    pub alarm: String,
    /// The feature, output or figure that it is of.
    pub of: String,
    /// Raised, cleared or expired.
    pub state: AlarmState,
    /// The first millisecond of the time that made it so.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// The index or the figure of that time.
    pub value: f64,
    /// The start of the first window of the run beyond the threshold.
    pub since: EventTime,
}

impl From<Alarm<Aspect>> for ModelAlarmRecord {
    fn from(alarm: Alarm<Aspect>) -> Self {
        let Aspect { model: VersionId { name, version, digest, .. }, what } = alarm.key;
        ModelAlarmRecord {
            model: name,
            version,
            digest,
            alarm: alarm.alarm,
            of: what,
            state: alarm.state,
            window_start: alarm.start,
            window_end: alarm.end,
            value: alarm.score,
            since: alarm.since,
        }
    }
}

impl KeyedRecord for DriftRecord {
    fn key(&self) -> &[u8] {
        self.model.as_bytes()
    }
}

impl KeyedRecord for QualityRecord {
    fn key(&self) -> &[u8] {
        self.model.as_bytes()
    }
}

impl KeyedRecord for ModelAlarmRecord {
    fn key(&self) -> &[u8] {
        self.model.as_bytes()
    }
}
