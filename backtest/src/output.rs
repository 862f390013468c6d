//! The outputs that are compared, and what of their records is.

use std::fs::File;
use std::io::{BufRead, BufReader};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tideflow_core::{Backtest, EventTime};
use tideflow_operators::AlarmState;

use crate::CompareError;

/// What of a score's record is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct ScorePoint {
    /// The device: with the window it says which records are of the same.
    pub device: String,
    /// The first millisecond of the window.
    pub start: EventTime,
    /// The first millisecond after it.
    pub end: EventTime,
    /// The score.
    pub score: f64,
    /// The model and version that gave it, for people.
    pub by: String,
}

/// What of an alarm's record is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmPoint {
    /// The device.
    pub device: String,
    /// The alarm's name.
    pub alarm: String,
    /// What became of it.
    pub state: AlarmState,
    /// The first millisecond of the window that made it so.
    pub start: EventTime,
    /// The first millisecond after it.
    pub end: EventTime,
}

type Read<P> = Box<dyn Fn(&[u8]) -> Result<P, serde_json::Error>>;

/// A topic whose records are compared.
pub(crate) struct Output<P> {
    pub topic: String,
    published: Read<P>,
    recorded: Read<P>,
}

/// A record as a replay writes it.
#[derive(Deserialize)]
struct Line<R> {
    value: R,
}

impl<P> Output<P> {
    /// The topic's records are `R`, of which `point` is compared.
    pub fn new<R: DeserializeOwned + 'static>(topic: &str, point: fn(R) -> P) -> Self
    where
        P: 'static,
    {
        let published = move |bytes: &[u8]| serde_json::from_slice(bytes).map(point);
        let recorded =
            move |line: &[u8]| serde_json::from_slice(line).map(|line: Line<R>| point(line.value));
        let (published, recorded) = (Box::new(published), Box::new(recorded));
        Output { topic: topic.to_string(), published, recorded }
    }

    /// What is compared of a published record; none where it is not the graph's.
    pub fn point(&self, value: &[u8]) -> Option<P> {
        (self.published)(value).ok()
    }

    /// Calls with every record that the replay has written, in order.
    pub fn each_recorded(
        &self,
        backtest: &Backtest,
        mut act: impl FnMut(P) -> Result<(), CompareError>,
    ) -> Result<(), CompareError> {
        let path = backtest.file_of(&self.topic);
        let file = File::open(&path).map_err(CompareError::io("reading", &path))?;
        let mut file = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if file.read_until(b'\n', &mut line).map_err(CompareError::io("reading", &path))? == 0 {
                break;
            }
            let point = (self.recorded)(&line).map_err(|reason| CompareError::Line {
                path: path.display().to_string(),
                line: number,
                found: String::from_utf8_lossy(&line).trim_end().chars().take(200).collect(),
                reason: reason.to_string(),
            })?;
            act(point)?;
        }
        Ok(())
    }
}
