//! What a model is given and gives, against its training.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::{BuildError, Event, EventTime, OperatorName, Stream, minutes};
use tideflow_models::VersionId;

use super::parts::{Counting, Part};
use super::shown::Shown;
use super::tally::{Columns, Tally};
use crate::infer::Version;
use crate::{Features, Inferred, KeyBy, Map, Scored, Tumbling, Window};

/// Which rows are compared with a model's training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftOptions {
    /// The windows of event time that rows are counted in.
    pub window: Duration,
    /// Rows that a window must have to be compared: the index of few rows is chance.
    pub rows_min: u64,
}

impl Default for DriftOptions {
    fn default() -> Self {
        DriftOptions { window: minutes(60), rows_min: 1_000 }
    }
}

/// How a version's rows of one window lie, against those that it was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// The version.
    pub model: VersionId,
    /// The first millisecond of the window.
    pub start: EventTime,
    /// The first millisecond after it.
    pub end: EventTime,
    /// Rows that the version has scored in it.
    pub rows: u64,
    /// The [`psi`](super::psi) of each feature and output, by its name. Without those that the version's manifest
    /// has no `reference` for, and without any where there are too few rows.
    pub psi: BTreeMap<String, f64>,
}

impl Drift {
    fn of(window: Window<VersionId, Tally>, rows_min: u64) -> Self {
        let Window { key: model, start, end, value: tally } = window;
        let enough = tally.rows >= rows_min;
        let psi = tally.psi().filter(|_| enough).map(|(name, psi)| (name.to_string(), psi));
        Drift { model, start, end, rows: tally.rows, psi: psi.collect() }
    }
}

impl<'s, D: Features + Event + ExchangeData + Clone> Inferred<'s, D> {
    /// Yields how the rows of each version and window lie against those that the version was trained on, when the
    /// watermark reaches the window's end. Rows are counted where they are scored: one record for each epoch,
    /// version and window leaves a worker.
    ///
    /// State: two numbers for each bin of a version's `reference`, for each version and open window, under the
    /// name with ` windows` behind it. Assumes: nothing about order; a row that comes after its window has closed
    /// is not counted, and those of windows never do. Fails: never. A version without a `reference` yields the
    /// number of its rows alone.
    ///
    /// ```
    /// # use tideflow_core::{BuildError, DeviceId, Stream, minutes};
    /// # use tideflow_models::ModelRef;
    /// # use tideflow_operators::*;
    /// # type Minute<S> = Window<DeviceId, S>;
    /// /// An alarm of each feature and output that has moved away, and the scores.
    /// fn watched<'s, S>(
    ///     minutes_of_devices: Stream<'s, Minute<S>>,
    ///     model: &ModelRef,
    /// ) -> Result<(Stream<'s, Alarm<Aspect>>, Stream<'s, Scored<Minute<S>>>), BuildError>
    /// where
    ///     S: Features + tideflow_core::timely::ExchangeData + Clone,
    /// {
    ///     let health = minutes_of_devices.infer("health", model)?;
    ///     let drift = health.drift("drift", DriftOptions::default())?;
    ///     let when = Hysteresis::raise_above(0.2).clear_below(0.1).for_at_least(2);
    ///     Ok((drift.degraded("drifted", |_| true, when)?, health.scored))
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken, or the window is under a millisecond.
    pub fn drift(
        &self,
        name: &str,
        options: DriftOptions,
    ) -> Result<Stream<'s, Drift>, BuildError> {
        let DriftOptions { window, rows_min } = options;
        let windows = self
            .counted(&format!("{name} counts"), Tumbling::of(window))?
            .key_by(|part: &Part<Tally>| &part.model)
            .tumbling_window::<_, Tally>(&format!("{name} windows"), Tumbling::of(window))?;
        let gauges = windows.on_time.flow().job().metrics.model_psi.clone();
        let mut shown = Shown::new(gauges, name);
        windows.on_time.map(name, move |window| {
            let drift = Drift::of(window, rows_min.max(1));
            shown.show(&drift.model, drift.psi.iter().map(|(name, psi)| (name.as_str(), *psi)));
            drift
        })
    }

    /// What this worker's rows add up to, by version and window, for each epoch.
    fn counted(
        &self,
        name: &str,
        windows: Tumbling,
    ) -> Result<Stream<'s, Part<Tally>>, BuildError> {
        let flow = self.scored.flow();
        let about = "rows, by the bins of the training".to_string();
        let node = flow.node("operator", name, about, self.scored.origins())?;
        let name = OperatorName::new(name);
        let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
        let mut by = builder.new_input(self.by.clone(), Pipeline);
        let mut scored = builder.new_input(self.scored.clone().into_timely(), Pipeline);
        let (out, stream) = builder.new_output();
        let mut counting = Counting::<Rows, _>::new(OutputBuilder::from(out));
        builder.build(move |capabilities| {
            drop(capabilities);
            let (mut known, mut row) = (None, Vec::new());
            move |frontiers| {
                name.run(|| {
                    by.for_each(|capability, by| counting.at(&capability).by = by.pop());
                    scored.for_each(|capability, scored| {
                        // A score for when the model fails says nothing of it.
                        let mut scored = scored.drain(..).filter(|scored| !scored.fallback);
                        let Some(first) = scored.next() else { return };
                        let rows = counting.at(&capability);
                        let columns = columns(&mut known, rows.by.as_ref().expect(SAID));
                        for scored in std::iter::once(first).chain(scored) {
                            let start = windows.start_of(scored.of.event_time());
                            put(scored, &mut row);
                            rows.windows.entry(start).or_default().count(columns, &row);
                        }
                    });
                    counting.end(frontiers, Rows::parts);
                })
            }
        });
        Ok(Stream::new(&flow, node, "", stream))
    }
}

const SAID: &str = "who scores an epoch is said before what is scored";

/// The rows of one epoch.
#[derive(Default)]
struct Rows {
    /// Who scored all of them.
    by: Option<Arc<Version>>,
    windows: BTreeMap<EventTime, Tally>,
}

impl Rows {
    fn parts(self) -> impl Iterator<Item = Part<Tally>> {
        let Rows { by, windows } = self;
        windows.into_iter().map(move |(at, counts)| {
            let model = by.as_ref().expect(SAID).id.as_ref().clone();
            Part { model, at, counts }
        })
    }
}

/// The columns of a version, those of the last one kept.
fn columns<'k>(
    known: &'k mut Option<(Arc<VersionId>, Columns)>,
    Version { id, model }: &Version,
) -> &'k Columns {
    known.take_if(|(of, _)| of != id);
    &known.get_or_insert_with(|| (id.clone(), Columns::of(&**model))).1
}

/// A row, and its outputs behind it.
fn put<D: Features>(Scored { of, score, others, .. }: Scored<D>, row: &mut Vec<f64>) {
    row.clear();
    of.row(row);
    row.push(score);
    row.extend(others);
}
