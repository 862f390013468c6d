//! The workload `score`: a network over 784 numbers a record, which comes back with what it says.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use tideflow::models::Runtime;
use tideflow::operators::{InferOptions, Scored};
use tideflow::prelude::*;
use tideflow_benches::pixels;

use crate::Peer;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    creation_timestamp: i64,
    data_point_sz1: u64,
    data_point_sz2: u64,
    data_point: String,
    prediction: Option<String>,
}

impl Event for Point {
    fn event_time(&self) -> EventTime {
        EventTime(self.creation_timestamp)
    }
}

impl Features for Point {
    const NAMES: &'static [&'static str] = pixels::NAMES;

    fn row(&self, row: &mut Vec<f64>) {
        decimals(self.data_point.as_bytes(), row);
    }
}

/// Plain decimal fractions of few digits, each with a comma behind it but for the last, which may have one.
fn decimals(text: &[u8], row: &mut Vec<f64>) {
    let (mut digits, mut scale, mut each) = (0_u64, 1_u64, 1);
    for byte in text {
        match byte {
            b',' => {
                row.push(digits as f64 / scale as f64);
                (digits, scale, each) = (0, 1, 1);
            }
            b'.' => each = 10,
            digit => {
                digits = digits * 10 + u64::from(digit - b'0');
                scale *= each;
            }
        }
    }
    if text.last().is_some_and(|last| *last != b',') {
        row.push(digits as f64 / scale as f64);
    }
}

/// With what the network says.
#[derive(Clone, Serialize)]
#[serde(transparent)]
struct Answer {
    point: Point,
    #[serde(skip)]
    key: String,
}

impl From<Scored<Point>> for Answer {
    fn from(scored: Scored<Point>) -> Self {
        let Scored { of: mut point, score, others, .. } = scored;
        let mut text = format!("[[{}", score as f32);
        for other in others {
            let _ = write!(text, ", {}", other as f32);
        }
        text += "]]";
        point.prediction = Some(text);
        Answer { key: point.creation_timestamp.to_string(), point }
    }
}

impl KeyedRecord for Answer {
    fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }
}

pub fn score(flow: &Flow<'_>, peer: &Peer) -> Result<(), BuildError> {
    let folder = std::env::var("TIDEFLOW_MODEL")
        .map_err(|error| BuildError::invalid("network", format!("`TIDEFLOW_MODEL`: {error}")))?;
    let model = (ModelRef::folder(folder, None, Runtime::InProcess), InferOptions::default());
    let source = KafkaSource::json(&peer.kafka, &peer.input);
    let (points, _) = flow.source("points", source)?;
    let answers = points.infer("network", &model)?.scored.map("answers", Answer::from)?;
    flow.sink("out", answers, KafkaSink::json(&peer.kafka, &peer.output))
}
