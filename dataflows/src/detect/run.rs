//! Runs the graph over recordings, or computes the same without it.

use std::path::Path;
use std::sync::Arc;

use tideflow::cluster::write_features;
use tideflow::core::timely;
use tideflow::core::{Emit, FeatureRow, Flow, Job, LogOnly, RecentBindings, execute};
use tideflow::models::{Model, VersionId};
use tideflow::operators::Scorer;
use tideflow::prelude::*;

use super::error::DetectError;
use super::files::Recording;
use super::graph::{Item, Method, Outcome, Outputs, Reading, judge, trace};

/// Bindings that are kept to look at.
const BINDINGS: usize = 16;

/// What came out.
#[derive(Debug, Default, PartialEq)]
pub struct Detected {
    /// In the order of parts and rows.
    pub outcomes: Vec<Outcome>,
    /// Why rows could not be judged.
    pub failed: Vec<String>,
}

fn source(recordings: &[Recording]) -> VecSource<Reading> {
    VecSource::new(
        (0..).zip(recordings).map(|(part, recording)| recording.readings(part)).collect(),
    )
}

fn run(
    workers: usize,
    build: impl Fn(&Flow<'_>) -> Result<(), BuildError> + Send + Sync + 'static,
) -> Result<(), DetectError> {
    let job = Job::default();
    let durability = LogOnly::new(RecentBindings::new(BINDINGS));
    Ok(execute(timely::Config::process(workers), &job, durability, |_| (), build)?)
}

/// Judges every row of the recordings.
///
/// # Errors
/// When the model cannot be used, or a worker fails.
pub fn detect<M: Method>(
    recordings: &[Recording],
    model: impl Scorer + Clone + Send + Sync + 'static,
    workers: usize,
) -> Result<Detected, DetectError> {
    let (outcomes, failed) = (VecSink::new(), VecSink::new());
    let (source, sinks) = (source(recordings), (outcomes.clone(), failed.clone()));
    run(workers, move |flow| {
        let (readings, _) = flow.source("recordings", source.clone())?;
        let Outputs { outcomes, failed } = judge::<M>(readings, &model)?;
        flow.sink("outcomes out", outcomes, sinks.0.clone())?;
        flow.sink("failed out", failed, sinks.1.clone())
    })?;
    let mut outcomes: Vec<Outcome> = outcomes.take().into_iter().map(|(_, o)| o).collect();
    outcomes.sort_by_key(|outcome| (outcome.part, outcome.row));
    let failed = failed.take().into_iter().map(|(_, rejected)| rejected.detail).collect();
    Ok(Detected { outcomes, failed })
}

/// What a model is told of a row that it learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Nothing.
    None,
    /// What is known of it, where that is known of every row.
    Known,
    /// How many rows are left: recordings are whole lives.
    Left,
}

/// Writes the features of every row, as the graph computes them, to a Parquet file, with these labels.
///
/// # Errors
/// When a worker fails, the file cannot be written, or there are no features.
pub fn features<M: Method>(
    recordings: &[Recording],
    label: Label,
    file: &Path,
    workers: usize,
) -> Result<usize, DetectError> {
    let items = VecSink::new();
    let (source, sink) = (source(recordings), items.clone());
    run(workers, move |flow| {
        let (readings, _) = flow.source("recordings", source.clone())?;
        flow.sink("features out", trace::<M>(readings)?, sink.clone())
    })?;
    let mut items: Vec<Item<M>> = items.take().into_iter().map(|(_, item)| item).collect();
    items.sort_by_key(|item| (item.part, item.row));
    if items.is_empty() {
        return Err(DetectError::TooShort);
    }
    let (mut rows, mut labels) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for Item { part, row, features, .. } in items {
        let recording = &recordings[part as usize];
        labels.extend(match label {
            Label::None => None,
            Label::Known => recording.labels.as_ref().map(|labels| labels[row as usize]),
            Label::Left => Some((recording.rows.len() - 1) as f64 - row as f64),
        });
        // Cycles of engines are counted from 1.
        let time = EventTime(row as i64 + i64::from(label == Label::Left));
        rows.push(FeatureRow { time, key: recording.name.display().to_string(), features });
    }
    let labels = Some(labels.as_slice()).filter(|labels| labels.len() == rows.len());
    write_features(file, M::FEATURES, &rows, labels)?;
    Ok(rows.len())
}

/// What [`detect`] says, without a graph: a loop over each recording, and the model called with the whole of it.
///
/// # Errors
/// When the model fails.
pub fn offline<M: Method>(
    recordings: &[Recording],
    (id, model): (VersionId, Arc<dyn Model>),
) -> Result<Vec<Outcome>, DetectError> {
    let (mut outcomes, id) = (Emit::default(), Arc::new(id));
    let outputs = model.signature().outputs.len();
    for (part, recording) in (0..).zip(recordings) {
        let (mut trace, mut items) = (M::Trace::default(), Emit::default());
        recording.readings(part).into_iter().for_each(|r| trace.step(r, &mut items));
        let items = items.take();
        let mut verdict = M::Verdict::default();
        for batch in items.chunks(id.batch_rows) {
            let mut rows: Vec<f64> = batch.iter().flat_map(|item| item.features.clone()).collect();
            rows.resize(id.batch_rows * M::FEATURES.len(), 0.0);
            let mut scores = Vec::new();
            model.score(&rows, id.batch_rows, &mut scores)?;
            for (of, scores) in batch.iter().zip(scores.chunks(outputs)) {
                let (score, others) = (scores[0], scores[1..].to_vec());
                let (of, model) = (of.clone(), id.clone());
                let scored = Scored { of, score, others, model, fallback: false };
                verdict.step(scored, &mut outcomes);
            }
        }
    }
    Ok(outcomes.take())
}
