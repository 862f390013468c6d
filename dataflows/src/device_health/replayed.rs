//! What a replay of `device_health` sets, and what it compares with what was published.

use tideflow::backtest::{AlarmPoint, Comparison, ScorePoint};
use tideflow::core::Compare;
use tideflow::models::ModelUri;

use super::{AlarmRecord, DeviceHealth, ScoreRecord};

impl DeviceHealth {
    /// What is set so that the model scores that a text such as `health/8` names: no candidate does beside it.
    pub fn model_settings(text: &str) -> Vec<(&'static str, String)> {
        let reference = ModelUri::meant_by(text);
        vec![("model.reference", reference), ("candidate.reference", String::new())]
    }

    /// Compares scores and alarms.
    pub fn comparison(&self) -> Box<dyn Compare> {
        let comparison = Comparison::new(&self.kafka)
            .scores(&self.topics.scores, ScoreRecord::point)
            .alarms(&self.topics.alarms, AlarmRecord::point);
        Box::new(comparison)
    }
}

impl ScoreRecord {
    fn point(self) -> ScorePoint {
        // The configured score of a model that had failed is not the model's.
        let fallback = if self.fallback { " (fallback)" } else { "" };
        ScorePoint {
            by: format!("{}/{}{fallback}", self.model, self.version),
            device: self.device.to_string(),
            start: self.window_start,
            end: self.window_end,
            score: self.score,
        }
    }
}

impl AlarmRecord {
    fn point(self) -> AlarmPoint {
        AlarmPoint {
            device: self.device.to_string(),
            alarm: self.alarm,
            state: self.state,
            start: self.window_start,
            end: self.window_end,
        }
    }
}
