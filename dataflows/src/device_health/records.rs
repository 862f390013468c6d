//! What `device_health` writes: one struct a topic, its JSON described in `schemas/`.

use serde::{Deserialize, Serialize};
use tideflow::prelude::*;

use super::ReadingStats;
use crate::Reading;

/// The statistics of a device in one window.
pub type Minute = Window<DeviceId, ReadingStats>;

/// A device's window on the windows topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowRecord {
    /// The device; the record's key.
    pub device: DeviceId,
    /// The first millisecond of the window.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// How many readings it holds.
    pub count: u64,
    /// In degrees Celsius.
    pub temperature: Summary,
    /// In millimetres a second.
    pub vibration: Summary,
    /// In amperes.
    pub current: Summary,
}

impl From<Minute> for WindowRecord {
    fn from(window: Minute) -> Self {
        let stats = &window.value;
        WindowRecord {
            window_start: window.start,
            window_end: window.end,
            count: stats.temperature.count(),
            temperature: stats.temperature.summary(),
            vibration: stats.vibration.summary(),
            current: stats.current.summary(),
            device: window.key,
        }
    }
}

/// A window's score on the scores topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord {
    /// The device; the record's key.
    pub device: DeviceId,
    /// The first millisecond of the window.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// 0 is healthy, 1 is not.
    pub score: f64,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of the model's files.
    pub digest: String,
    /// Whether the model has failed, and this is the score that is configured for that.
    pub fallback: bool,
}

impl From<Scored<Minute>> for ScoreRecord {
    fn from(scored: Scored<Minute>) -> Self {
        let model = &*scored.model;
        ScoreRecord {
            window_start: scored.of.start,
            window_end: scored.of.end,
            score: scored.score,
            model: model.name.clone(),
            version: model.version.clone(),
            digest: model.digest.clone(),
            fallback: scored.fallback,
            device: scored.of.key,
        }
    }
}

/// A window's score by a candidate, and the model's, on the candidates topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateRecord {
    /// The device; the record's key.
    pub device: DeviceId,
    /// The first millisecond of the window.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// The model's score.
    pub score: f64,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of the model's files.
    pub digest: String,
    /// The candidate's score; null where it has none.
    pub candidate_score: Option<f64>,
    /// The candidate's version.
    pub candidate_version: String,
    /// The SHA-256 of the candidate's files.
    pub candidate_digest: String,
    /// The candidate's name.
    pub candidate: String,
    /// Whether the candidate's score is the one on the scores topic.
    pub published: bool,
    /// Why the candidate has no score; null where it has one.
    pub why: Option<String>,
}

impl From<Compared<Minute>> for CandidateRecord {
    fn from(compared: Compared<Minute>) -> Self {
        let Compared { champion, candidate, outcome, published } = compared;
        let (candidate_score, why) = match outcome {
            Ok(score) => (Some(score), None),
            Err(why) => (None, Some(why)),
        };
        CandidateRecord {
            window_start: champion.of.start,
            window_end: champion.of.end,
            score: champion.score,
            model: champion.model.name.clone(),
            version: champion.model.version.clone(),
            digest: champion.model.digest.clone(),
            candidate_score,
            candidate_version: candidate.version.clone(),
            candidate_digest: candidate.digest.clone(),
            candidate: candidate.name.clone(),
            published,
            why,
            device: champion.of.key,
        }
    }
}

impl KeyedRecord for CandidateRecord {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let CandidateRecord { candidate, candidate_version, candidate_digest, .. } = self;
        of_version(candidate, candidate_version, candidate_digest)
    }
}

/// A change of a device's alarm on the alarms topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmRecord {
    /// The device; the record's key.
    pub device: DeviceId,
    /// The alarm's name in the graph.
    pub alarm: String,
    /// Raised, cleared or expired.
    pub state: AlarmState,
    /// The first millisecond of the window that made it so.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// That window's score.
    pub score: f64,
    /// The start of the first window of the run above the threshold.
    pub since: EventTime,
}

impl From<Alarm<DeviceId>> for AlarmRecord {
    fn from(alarm: Alarm<DeviceId>) -> Self {
        AlarmRecord {
            device: alarm.key,
            alarm: alarm.alarm,
            state: alarm.state,
            window_start: alarm.start,
            window_end: alarm.end,
            score: alarm.score,
            since: alarm.since,
        }
    }
}

/// A reading that came after its window had closed, on the late topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LateRecord {
    /// The reading; its fields stand beside the others.
    #[serde(flatten)]
    pub reading: Reading,
    /// The first millisecond of its window.
    pub window_start: EventTime,
    /// The first millisecond after it.
    pub window_end: EventTime,
    /// The watermark it came after.
    pub watermark: EventTime,
}

impl From<Late<Reading>> for LateRecord {
    fn from(late: Late<Reading>) -> Self {
        LateRecord {
            reading: late.record,
            window_start: late.start,
            window_end: late.end,
            watermark: late.watermark,
        }
    }
}

impl KeyedRecord for WindowRecord {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

impl KeyedRecord for ScoreRecord {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let ScoreRecord { model, version, digest, .. } = self;
        of_version(model, version, digest)
    }
}

/// The headers that say which version gave a score.
fn of_version<'a>(name: &'a str, version: &'a str, digest: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("model", name), ("model_version", version), ("model_digest", digest)]
}

impl KeyedRecord for AlarmRecord {
    fn key(&self) -> &[u8] {
        self.device.as_str().as_bytes()
    }
}

impl KeyedRecord for LateRecord {
    fn key(&self) -> &[u8] {
        self.reading.device.as_str().as_bytes()
    }
}
