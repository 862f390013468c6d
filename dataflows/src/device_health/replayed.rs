//! What a replay of `device_health` sets, and what it compares with what was published.

use tideflow::backtest::{AlarmPoint, Comparison, ScorePoint};
use tideflow::core::Compare;
use tideflow::models::ModelUri;

use super::{AlarmRecord, DeviceHealth, ScoreRecord};

impl DeviceHealth {
    /// The setting that names the model, and what it is for a text such as `health/8`.
    pub fn model_setting(text: &str) -> (&'static str, String) {
        ("model.reference", ModelUri::meant_by(text))
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
        ScorePoint {
            by: format!("{}/{}", self.model, self.version),
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
