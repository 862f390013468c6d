//! Which outputs of a graph are compared, and the comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::json;
use tideflow_core::kafka::KafkaConfig;
use tideflow_core::{Backtest, BuildError, Check, Compare, Compared, EventTime, Stop, minutes};
use tideflow_sources::kafka::StartOffset;

use crate::alarms::{AlarmReport, Alarms};
use crate::output::Output;
use crate::published::each_published;
use crate::scores::{ScoreReport, Scores};
use crate::{AlarmPoint, CompareError, ScorePoint};

/// How far before their own time results may lie by Kafka's timestamps: they are published after it, but clocks
/// differ.
const CLOCKS: Duration = minutes(60);

/// Compares the scores and the alarms of a graph, each a topic of one record a device and window.
///
/// Windows that begin in the backtest's time, and end by where it has come, are compared: by their event time,
/// whenever they were published. Memory: about 100 MB for up to 64 million windows, beyond in proportion; the
/// alarms that stand at once when the time begins. Disk: both sides once more, for a while.
///
/// ```
/// use serde::Deserialize;
/// use tideflow_backtest::{Comparison, ScorePoint};
/// use tideflow_core::EventTime;
/// #[derive(Deserialize)]
/// struct Score { device: String, start: EventTime, end: EventTime, score: f64, version: String }
/// # let kafka = tideflow_core::kafka::KafkaConfig::plaintext("localhost:9092");
/// let comparison = Comparison::new(&kafka).scores("scores", |record: Score| ScorePoint {
///     device: record.device,
///     start: record.start,
///     end: record.end,
///     score: record.score,
///     by: record.version,
/// });
/// ```
pub struct Comparison {
    kafka: KafkaConfig,
    scores: Option<Output<ScorePoint>>,
    alarms: Option<Output<AlarmPoint>>,
}

impl Comparison {
    /// Of outputs on this cluster.
    pub fn new(kafka: &KafkaConfig) -> Self {
        Comparison { kafka: kafka.clone(), scores: None, alarms: None }
    }

    /// The scores, and what of a record is compared.
    #[must_use]
    pub fn scores<R: DeserializeOwned + 'static>(
        self,
        topic: &str,
        point: fn(R) -> ScorePoint,
    ) -> Self {
        Comparison { scores: Some(Output::new(topic, point)), ..self }
    }

    /// The alarms, and what of a record is compared.
    #[must_use]
    pub fn alarms<R: DeserializeOwned + 'static>(
        self,
        topic: &str,
        point: fn(R) -> AlarmPoint,
    ) -> Self {
        Comparison { alarms: Some(Output::new(topic, point)), ..self }
    }

    fn topics(&self) -> impl Iterator<Item = &str> {
        let scores = self.scores.iter().map(|output| output.topic.as_str());
        scores.chain(self.alarms.iter().map(|output| output.topic.as_str()))
    }

    /// None where it was asked to stop.
    fn scores_of(
        &self,
        output: &Output<ScorePoint>,
        of: &Work<'_>,
    ) -> Result<Option<ScoreReport>, CompareError> {
        let mut scores = Scores::new(&of.folder, of.time(), of.written(&output.topic)?)?;
        output.each_recorded(of.backtest, |point| scores.add(false, Some(point)))?;
        let from = StartOffset::Timestamp(of.backtest.from.minus(CLOCKS).0);
        let published = |value: &[u8]| scores.add(true, output.point(value));
        match each_published(&self.kafka, &output.topic, from, of.stop, published)? {
            true => scores.compare(&of.backtest.folder().join("differences.csv"), of.stop),
            false => Ok(None),
        }
    }

    /// None where it was asked to stop.
    fn alarms_of(
        &self,
        output: &Output<AlarmPoint>,
        of: &Work<'_>,
    ) -> Result<Option<AlarmReport>, CompareError> {
        let mut alarms = Alarms::new(&of.folder, of.time(), of.written(&output.topic)?)?;
        output.each_recorded(of.backtest, |point| alarms.add(false, Some(point)))?;
        // Which alarms stood when the time began, only their last records before it say.
        let from = StartOffset::Earliest;
        let published = |value: &[u8]| alarms.add(true, output.point(value));
        match each_published(&self.kafka, &output.topic, from, of.stop, published)? {
            true => alarms.compare(&of.backtest.folder().join("alarms.csv"), of.stop),
            false => Ok(None),
        }
    }
}

impl Compare for Comparison {
    fn checks(&self) -> Vec<Check> {
        self.topics().flat_map(|topic| self.kafka.topic_checks(topic, 0)).collect()
    }

    fn compare(&self, of: &Backtest, stop: &Stop) -> Result<Option<Compared>, BuildError> {
        let work = Work::new(of, stop).map_err(|error| error.of("comparison"))?;
        tracing::info!(
            topics = self.topics().collect::<Vec<_>>().join(", "),
            "reading what was published"
        );
        let (mut alarms, mut scores) = (None, None);
        if let Some(output) = &self.alarms {
            alarms = self.alarms_of(output, &work).map_err(|error| error.of(&output.topic))?;
        }
        if let Some(output) = &self.scores {
            scores = self.scores_of(output, &work).map_err(|error| error.of(&output.topic))?;
        }
        let whole =
            self.alarms.is_some() == alarms.is_some() && self.scores.is_some() == scores.is_some();
        Ok(whole.then(|| compared(alarms.as_ref(), scores.as_ref())))
    }
}

/// The answer, then what it rests on.
fn compared(alarms: Option<&AlarmReport>, scores: Option<&ScoreReport>) -> Compared {
    let same = alarms.is_none_or(AlarmReport::is_same) && scores.is_none_or(ScoreReport::is_same);
    let mut text = match same {
        true => "No difference: the replay says what was published.\n\n".to_string(),
        false => "The replay says other things than what was published.\n\n".to_string(),
    };
    text.extend(alarms.map(AlarmReport::text));
    text.extend(scores.map(ScoreReport::text));
    Compared { text, json: json!({ "same": same, "alarms": alarms, "scores": scores }) }
}

/// What both comparisons work with.
struct Work<'a> {
    backtest: &'a Backtest,
    stop: &'a Stop,
    /// For what is there for a while.
    folder: PathBuf,
}

impl<'a> Work<'a> {
    fn new(backtest: &'a Backtest, stop: &'a Stop) -> Result<Self, CompareError> {
        let folder = backtest.folder().join("comparing");
        fs::create_dir(&folder).map_err(CompareError::io("making folder", &folder))?;
        Ok(Work { backtest, stop, folder })
    }

    /// The time that is compared: up to where the replay has come.
    fn time(&self) -> (EventTime, EventTime) {
        (self.backtest.from, self.backtest.reached())
    }

    /// How many records the replay has written.
    fn written(&self, topic: &str) -> Result<u64, CompareError> {
        let folder: &Path = self.backtest.folder();
        let written = self.backtest.finish().map_err(CompareError::io("writing", folder))?;
        Ok(written.get(topic).copied().unwrap_or(0))
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot remove what was for a while");
        }
    }
}
