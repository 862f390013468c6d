//! The options of what watches the model: sections `drift` and `quality`.

use std::time::Duration;

use serde::Deserialize;
use tideflow::core::OptionProblem;
use tideflow::operators::{DriftOptions, JudgeOptions};
use tideflow::prelude::*;

use super::DeviceHealth;

/// When the model's rows are too far from its training.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftConfig {
    /// The length of the windows that are compared, in milliseconds of event time.
    pub length_ms: u64,
    /// Rows that a window must have.
    pub rows_min: u64,
    /// The index above which a window counts towards an alarm.
    pub raise_above: f64,
    /// The index below which an alarm ends.
    pub clear_below: f64,
    /// Windows in a row that raise it.
    pub windows_min: u32,
}

/// When the model's scores are too far from the labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityConfig {
    /// How often there are figures, in milliseconds of event time.
    pub every_ms: u64,
    /// Of how much time they are.
    pub over_ms: u64,
    /// How long after its time a label may come.
    pub labels_within_ms: u64,
    /// The score above which a device is said not to be healthy.
    pub threshold: f64,
    /// Scores with a label that there must be.
    pub labelled_min: u64,
    /// The F1 below which figures count towards an alarm.
    pub f1_raise_below: f64,
    /// The F1 above which it ends.
    pub f1_clear_above: f64,
    /// The Brier score above which figures count towards an alarm.
    pub brier_raise_above: f64,
    /// The Brier score below which it ends.
    pub brier_clear_below: f64,
    /// Figures in a row that raise one.
    pub windows_min: u32,
}

/// An alarm of a version that says nothing for so many windows expires.
const SILENT_MAX: u64 = 3;

impl DriftConfig {
    /// Which rows are compared.
    pub fn options(&self) -> DriftOptions {
        let DriftConfig { length_ms, rows_min, .. } = *self;
        DriftOptions { window: Duration::from_millis(length_ms), rows_min }
    }

    /// When an index is an alarm.
    pub fn hysteresis(&self) -> Hysteresis {
        let silence = self.length_ms.saturating_mul(SILENT_MAX);
        Hysteresis::raise_above(self.raise_above)
            .clear_below(self.clear_below)
            .for_at_least(self.windows_min)
            .forget_after(Duration::from_millis(silence))
    }
}

impl QualityConfig {
    /// When scores are judged.
    pub fn options(&self) -> JudgeOptions {
        let QualityConfig { every_ms, over_ms, labels_within_ms, .. } = *self;
        JudgeOptions {
            every: Duration::from_millis(every_ms),
            over: Duration::from_millis(over_ms),
            labels_within: Duration::from_millis(labels_within_ms),
            threshold: self.threshold,
            labelled_min: self.labelled_min,
        }
    }

    /// When an F1 is an alarm.
    pub fn f1(&self) -> Hysteresis {
        self.lasting(Hysteresis::raise_below(self.f1_raise_below).clear_above(self.f1_clear_above))
    }

    /// When a Brier score is one.
    pub fn brier(&self) -> Hysteresis {
        let (raise, clear) = (self.brier_raise_above, self.brier_clear_below);
        self.lasting(Hysteresis::raise_above(raise).clear_below(clear))
    }

    fn lasting(&self, when: Hysteresis) -> Hysteresis {
        // The time that is judged lies so far back.
        let silence =
            self.every_ms.saturating_mul(SILENT_MAX).saturating_add(self.labels_within_ms);
        when.for_at_least(self.windows_min).forget_after(Duration::from_millis(silence))
    }
}

impl DeviceHealth {
    /// Whether the model's rows are compared with its training.
    pub fn compares(&self) -> bool {
        !self.topics.drift.is_empty()
    }

    /// Whether the model's scores are judged by labels.
    pub fn judges(&self) -> bool {
        !self.labels.topic.is_empty()
    }

    /// Whether there are alarms of the model.
    pub fn tells(&self) -> bool {
        !self.topics.model_alarms.is_empty()
    }

    /// The topics of what watches the model, as far as it does.
    pub(super) fn watch_topics(&self) -> Vec<(&str, &str)> {
        let mut topics = Vec::new();
        if self.compares() {
            topics.push(("topics.drift", self.topics.drift.as_str()));
        }
        if self.judges() {
            topics.push(("labels.topic", self.labels.topic.as_str()));
            topics.push(("topics.quality", self.topics.quality.as_str()));
        }
        if self.tells() {
            topics.push(("topics.model_alarms", self.topics.model_alarms.as_str()));
        }
        topics
    }

    /// What is wrong with them where they only make sense together.
    pub(super) fn watch_problems(&self) -> Vec<OptionProblem> {
        let (drift, quality, topics) = (&self.drift, &self.quality, &self.topics);
        let mut problems = Vec::new();
        let mut check = |wrong: bool, key: &str, why: String| {
            problems.extend(wrong.then(|| OptionProblem::new(key, why)));
        };
        let (raise, clear) = (drift.raise_above, drift.clear_below);
        let why = format!("{clear} lies above `drift.raise_above`, {raise}");
        check(clear > raise, "drift.clear_below", why);
        let (raise, clear) = (quality.f1_raise_below, quality.f1_clear_above);
        let why = format!("{clear} lies below `quality.f1_raise_below`, {raise}");
        check(clear < raise, "quality.f1_clear_above", why);
        let (raise, clear) = (quality.brier_raise_above, quality.brier_clear_below);
        let why = format!("{clear} lies above `quality.brier_raise_above`, {raise}");
        check(clear > raise, "quality.brier_clear_below", why);
        if let Err(why) = quality.options().check() {
            check(true, "quality", why);
        }
        let unused = !topics.quality.is_empty() && !self.judges();
        let why = "a topic, and `labels.topic` is empty: there is nothing to judge by".to_string();
        check(unused, "topics.quality", why);
        let unused = self.tells() && !self.compares() && !self.judges();
        let why = "a topic, and `topics.drift` and `labels.topic` are empty: there are no alarms";
        check(unused, "topics.model_alarms", why.to_string());
        let ends = self.readings.until != self.labels.until && self.judges();
        let why = "another than `readings.until`: the graph ends when both do".to_string();
        check(ends, "labels.until", why);
        problems
    }
}
