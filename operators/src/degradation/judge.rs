//! What a model has said, against labels that come later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::{BuildError, Event, EventTime, Key, OperatorName, Stream, millis, minutes};
use tideflow_models::VersionId;

use super::figures::{Outcomes, Quality};
use super::joined::Joined;
use super::parts::{Counting, Part};
use super::shown::Shown;
use crate::{KeyBy, Late, Map, Scored, Tumbling, Window};

/// When scores are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgeOptions {
    /// How often there are figures, in event time.
    pub every: Duration,
    /// Of how much time they are; a multiple of `every`.
    pub over: Duration,
    /// How long after the time it is of a label may come, in event time.
    pub labels_within: Duration,
    /// A score above it says yes, and so does a label.
    pub threshold: f64,
    /// Scores with a label that there must be for figures.
    pub labelled_min: u64,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        JudgeOptions {
            every: minutes(60),
            over: minutes(24 * 60),
            labels_within: minutes(24 * 60),
            threshold: 0.5,
            labelled_min: 100,
        }
    }
}

impl JudgeOptions {
    /// That the options fit each other.
    ///
    /// # Errors
    /// What was expected, and found.
    pub fn check(&self) -> Result<(), String> {
        Times::of(*self).map(|_| ())
    }
}

/// What was true of a key for some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label<K> {
    /// The key.
    pub key: K,
    /// The first millisecond that it is of.
    pub from: EventTime,
    /// The first millisecond after these.
    pub to: EventTime,
    /// When it was said. Of a time that has several labels, the one said last holds; of equals the greatest.
    pub said: EventTime,
    /// What a score of that time should have been; a number.
    pub value: f64,
}

/// The outputs of an operator that judges.
pub struct Judged<'s, K: 'static> {
    /// How good each version was.
    pub quality: Stream<'s, Quality>,
    /// Labels that came after all of the time that they are of was judged.
    pub late: Stream<'s, Label<K>>,
}

/// Judges scored windows by labels.
pub trait Judge<'s, K: 'static> {
    /// Yields for each version, `every` so long, how good its scores of the time `over` before were. A label is of
    /// the windows whose last millisecond it covers. Scores are judged when the watermark lies
    /// `labels_within` behind the end of their `every`, so that it does not matter which of a label and a score
    /// comes first. Figures come so much later; those of a version end `over` after its last score.
    ///
    /// State: 16 bytes a score and 32 a label, for `labels_within`, and about 250 for each key in each `every` of
    /// that, under the name with ` joined` behind it. Of a label that is of more time than `labels_within`, the end
    /// counts. Assumes that windows come as a window operator yields them, and labels with numbers that are finite.
    /// Fails: never; a label that is of no time at all is of no score.
    ///
    /// ```
    /// # use tideflow_core::{BuildError, DeviceId, Stream};
    /// # use tideflow_operators::*;
    /// /// An alarm when the model finds too little, or says yes too often.
    /// fn judged<'s>(
    ///     scored: Stream<'s, Scored<Window<DeviceId, Stats>>>,
    ///     labels: Stream<'s, Label<DeviceId>>,
    /// ) -> Result<Stream<'s, Alarm<Aspect>>, BuildError> {
    ///     let judged = scored.judge("quality", labels, JudgeOptions::default())?;
    ///     let when = Hysteresis::raise_below(0.7).clear_above(0.8);
    ///     judged.quality.degraded("f1 fell", |figure| figure == "f1", when)
    /// }
    /// ```
    ///
    /// # Errors
    /// When the name is taken, or the options do not fit each other.
    fn judge(
        self,
        name: &str,
        labels: Stream<'s, Label<K>>,
        options: JudgeOptions,
    ) -> Result<Judged<'s, K>, BuildError>;
}

impl<'s, K, A> Judge<'s, K> for Stream<'s, Scored<Window<K, A>>>
where
    K: Key,
    A: ExchangeData + Clone,
{
    fn judge(
        self,
        name: &str,
        labels: Stream<'s, Label<K>>,
        options: JudgeOptions,
    ) -> Result<Judged<'s, K>, BuildError> {
        let times = Times::of(options).map_err(|what| BuildError::invalid(name, what))?;
        let steps = Tumbling::of(options.every).open_for(options.labels_within);
        let of = |part: &str| format!("{name} {part}");
        let scores = self.flat_map(&of("scores"), Times::score)?;
        let labels = labels.flat_map(&of("labels"), move |label| times.label(label))?;
        let joined = scores
            .and(labels)
            .key_by(|told: &Told<K>| told.key())
            .tumbling_window::<_, Joined>(&of("joined"), steps)?;
        let late = joined.late.flat_map(&of("late"), Times::late)?;

        let windows = counted(joined.on_time, &of("counts"), times)?
            .key_by(|part: &Part<Outcomes>| &part.model)
            .tumbling_window::<_, Outcomes>(&of("windows"), steps)?;
        let gauges = late.flow().job().metrics.model_quality.clone();
        let (mut shown, labelled_min) = (Shown::new(gauges, name), options.labelled_min);
        let quality = windows.on_time.map(name, move |window| {
            let quality = Quality::of(times.over(window), labelled_min);
            shown.show(&quality.model, quality.figures());
            quality
        })?;
        Ok(Judged { quality, late })
    }
}

/// What is told of a key, to be joined with what else is told of the same time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told<K> {
    /// A time that it is of.
    pub at: EventTime,
    pub what: What<K>,
}

/// A score, or a label.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum What<K> {
    Score {
        key: K,
        score: f64,
        model: Arc<VersionId>,
    },
    /// A label, and the first millisecond of which it counts.
    Label {
        label: Label<K>,
        first: EventTime,
    },
}

impl<K> Told<K> {
    fn key(&self) -> &K {
        match &self.what {
            What::Score { key, .. } | What::Label { label: Label { key, .. }, .. } => key,
        }
    }
}

impl<K> Event for Told<K> {
    fn event_time(&self) -> EventTime {
        self.at
    }
}

/// The options, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    every: i64,
    /// How many of these figures are over.
    over: i64,
    within: i64,
    threshold: f64,
}

/// Times `every` at most that labels may come within, and that figures are over.
const STEPS_MAX: i64 = 1_000;

impl Times {
    fn of(options: JudgeOptions) -> Result<Self, String> {
        let JudgeOptions { every, over, labels_within, threshold, .. } = options;
        let (every, over, within) = (millis(every), millis(over), millis(labels_within));
        let fits = |span: i64| span / every <= STEPS_MAX;
        if every < 1 || over < every || over % every != 0 || !fits(over) || !fits(within) {
            return Err(format!(
                "expected `every` of 1 ms at least, `over` a multiple of it, and neither that nor \
                 `labels_within` beyond {STEPS_MAX} times of it; found {every}, {over} and {within} ms"
            ));
        }
        if !threshold.is_finite() {
            return Err(format!("expected a `threshold` that is a number, found {threshold}"));
        }
        Ok(Times { every, over: over / every, within, threshold })
    }

    /// A score, unless it is the one for when the model fails.
    fn score<K, A>(scored: Scored<Window<K, A>>) -> Option<Told<K>> {
        let Scored { of, score, model, fallback, .. } = scored;
        let told = || Told { at: of.event_time(), what: What::Score { key: of.key, score, model } };
        (!fallback).then(told)
    }

    /// The label, once for each `every` that it is of.
    fn label<K: Clone + 'static>(self, label: Label<K>) -> impl Iterator<Item = Told<K>> {
        let first = label.from.0.max(label.to.0.saturating_sub(self.within.max(self.every)));
        let steps =
            first.div_euclid(self.every)..=(label.to.0.saturating_sub(1)).div_euclid(self.every);
        let steps = steps.filter(move |_| first < label.to.0);
        steps.map(move |step| {
            let at = EventTime(step.saturating_mul(self.every));
            Told { at, what: What::Label { label: label.clone(), first: EventTime(first) } }
        })
    }

    /// A label whose last time is judged already. What else comes late is of one that is not, or was told.
    fn late<K>(late: Late<Told<K>>) -> Option<Label<K>> {
        match late.record.what {
            What::Label { label, .. } => {
                let last = EventTime(label.to.0.saturating_sub(1));
                (late.start <= last && last < late.end).then_some(label)
            }
            What::Score { .. } => None,
        }
    }

    /// The parts that the outcomes of one `every` are of the time before each end that they count for.
    fn parts(
        self,
        ((model, start), counts): ((VersionId, EventTime), Outcomes),
    ) -> impl Iterator<Item = Part<Outcomes>> {
        (0..self.over).map(move |later| {
            let at = EventTime(start.0.saturating_add(later.saturating_mul(self.every)));
            Part { model: model.clone(), at, counts: counts.clone() }
        })
    }

    /// The time before the end of an `every`.
    fn over<A>(self, window: Window<VersionId, A>) -> Window<VersionId, A> {
        let over = self.over.saturating_mul(self.every);
        Window { start: EventTime(window.end.0.saturating_sub(over)), ..window }
    }
}

/// What came of this worker's scores, by version and `every`, for each epoch.
fn counted<'s, K: Key>(
    joined: Stream<'s, Window<K, Joined>>,
    name: &str,
    times: Times,
) -> Result<Stream<'s, Part<Outcomes>>, BuildError> {
    let flow = joined.flow();
    let about = "scores, by what came of them".to_string();
    let node = flow.node("operator", name, about, joined.origins())?;
    let name = OperatorName::new(name);
    let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
    let mut joined = builder.new_input(joined.into_timely(), Pipeline);
    let (out, stream) = builder.new_output();
    let mut counting =
        Counting::<BTreeMap<(VersionId, EventTime), Outcomes>, _>::new(OutputBuilder::from(out));
    builder.build(move |capabilities| {
        drop(capabilities);
        move |frontiers| {
            name.run(|| {
                joined.for_each(|capability, windows| {
                    let counted = counting.at(&capability);
                    for Window { start, value, .. } in windows.drain(..) {
                        for (model, outcomes) in value.outcomes(times.threshold) {
                            counted.entry((model.clone(), start)).or_default().include(&outcomes);
                        }
                    }
                });
                counting.end(frontiers, |counted| {
                    counted.into_iter().flat_map(move |outcomes| times.parts(outcomes))
                });
            })
        }
    });
    Ok(Stream::new(&flow, node, "", stream))
}
