//! The same from the scores, the labels and the bindings alone, in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use tideflow_core::{Binding, EventTime};
use tideflow_models::{Distribution, Model};
use tideflow_operators::{Label, Quality};

use super::registry::linear;
use super::{DRIFT, DRIFT_MS, History, Score};

/// The epoch that closes what ends then.
fn closes(bindings: &[Binding], end: i64) -> u64 {
    let closing = bindings.iter().find(|b| b.watermark >= EventTime(end));
    closing.expect("the end of input closes all").epoch
}

/// Epoch, version and start of a window; rows, and the index of what is known of the training.
type Drifts = BTreeMap<(u64, String, i64), (u64, BTreeMap<String, f64>)>;

pub fn drift(scores: &[(u64, Score)], bindings: &[Binding]) -> Drifts {
    let mut rows: BTreeMap<(String, i64), Vec<[f64; 2]>> = BTreeMap::new();
    for (_, scored) in scores {
        let start = (scored.of.end.0 - 1).div_euclid(DRIFT_MS) * DRIFT_MS;
        let key = (scored.model.version.clone(), start);
        rows.entry(key).or_default().push([scored.of.value.0.summary().mean, scored.score]);
    }
    let of = |((version, start), rows): ((String, i64), Vec<[f64; 2]>)| {
        let model = linear(&version);
        let mut psi = BTreeMap::new();
        for (column, name) in ["value", "score"].into_iter().enumerate() {
            let known = model.reference().get(name).filter(|_| rows.len() as u64 >= DRIFT.rows_min);
            let values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
            psi.extend(known.map(|known| (name.to_string(), index(known, &values))));
        }
        let epoch = closes(bindings, start + DRIFT_MS);
        ((epoch, version, start), (rows.len() as u64, psi))
    };
    rows.into_iter().map(of).collect()
}

fn index(known: &Distribution, values: &[f64]) -> f64 {
    let mut index = 0.0;
    for (bin, expected) in known.shares.iter().enumerate() {
        let above = |v: &f64| bin == 0 || *v >= known.edges[bin - 1];
        let below = |v: &f64| bin == known.edges.len() || *v < known.edges[bin];
        let within = values.iter().filter(|v| above(v) && below(v)).count();
        let actual = (within as f64 / values.len() as f64).max(1e-4);
        let expected = expected.max(1e-4);
        index += (actual - expected) * (actual / expected).ln();
    }
    index
}

/// Epoch, version, start and end; five counts, and five figures as texts of nine digits.
type Qualities = BTreeMap<(u64, String, i64, i64), ([u64; 5], [String; 5])>;

pub struct Judged {
    pub quality: Qualities,
    pub late: Vec<(u64, Label<u64>)>,
}

fn texts(figures: [Option<f64>; 5]) -> [String; 5] {
    figures.map(|figure| figure.map_or("none".to_string(), |figure| format!("{figure:.9}")))
}

/// Epoch, version, and the time that it is of.
type Of = (u64, String, i64, i64);
/// Counts and figures.
type Figures = ([u64; 5], [String; 5]);
/// Scores, each with its label.
type Scored = Vec<(f64, Option<f64>)>;

/// What was published, in the same form.
pub fn shown((epoch, q): &(u64, Quality)) -> (Of, Figures) {
    let counts =
        [q.unlabelled, q.true_positives, q.false_positives, q.false_negatives, q.true_negatives];
    let figures = texts([q.precision, q.recall, q.f1, q.brier, q.rmse]);
    ((*epoch, q.model.version.clone(), q.start.0, q.end.0), (counts, figures))
}

const EVERY: i64 = 100;
const OVER: i64 = 300;

/// Labels with the epoch in which each came, and the watermark before that.
fn labels<'h>(
    history: &'h History,
    bindings: &'h [Binding],
) -> impl Iterator<Item = (u64, EventTime, &'h Label<u64>)> {
    let all = history.labels.iter().enumerate();
    let all = all.flat_map(|(p, labels)| labels.iter().enumerate().map(move |(o, l)| (p, o, l)));
    all.map(|(partition, offset, label)| {
        let holds = |b: &Binding| {
            let mut parts = b.parts.iter().filter(|part| part.source == "labels");
            parts.any(|part| part.partition == partition as i32 && part.next > offset as i64)
        };
        let at = bindings.iter().position(holds).expect("every label is in an epoch");
        let before = if at == 0 { EventTime::MIN } else { bindings[at - 1].watermark };
        (bindings[at].epoch, before, &label.0)
    })
}

pub fn judge(scores: &[(u64, Score)], history: &History, bindings: &[Binding]) -> Judged {
    let within = history.labels_within_ms as i64;
    let slot = |at: i64| at.div_euclid(EVERY) * EVERY;
    let judged = |at: i64| EventTime(slot(at) + EVERY + within);
    let labels: Vec<_> = labels(history, bindings).collect();

    // The score and the label of each, by version and slot.
    let mut outcomes: BTreeMap<(String, i64), Scored> = BTreeMap::new();
    for (_, scored) in scores {
        let at = scored.of.end.0 - 1;
        let of = |(_, before, label): &&(u64, EventTime, &Label<u64>)| {
            let from = label.from.0.max(label.to.0 - within.max(EVERY));
            let covers = label.key == scored.of.key && from <= at && at < label.to.0;
            covers && judged(at) > *before
        };
        let mut found: Vec<_> = labels.iter().filter(of).map(|(_, _, label)| *label).collect();
        found.sort_by(|a, b| a.said.cmp(&b.said).then(a.value.total_cmp(&b.value)));
        let label = found.last().map(|label| label.value);
        let key = (scored.model.version.clone(), slot(at));
        outcomes.entry(key).or_default().push((scored.score, label));
    }
    let mut quality = Qualities::new();
    let slots: BTreeSet<_> = outcomes.keys().cloned().collect();
    for (version, first) in slots {
        for end in (0..OVER / EVERY).map(|later| first + EVERY * (later + 1)) {
            let of = outcomes.range((version.clone(), end - OVER)..(version.clone(), end));
            let said: Vec<_> = of.flat_map(|(_, said)| said).copied().collect();
            let epoch = closes(bindings, end + within);
            quality.insert((epoch, version.clone(), end - OVER, end), figures(&said));
        }
    }
    let late = labels
        .iter()
        .filter(|(_, before, label)| label.from < label.to && judged(label.to.0 - 1) <= *before);
    Judged { quality, late: late.map(|(epoch, _, label)| (*epoch, (*label).clone())).collect() }
}

fn figures(said: &[(f64, Option<f64>)]) -> ([u64; 5], [String; 5]) {
    let labelled: Vec<_> = said.iter().filter_map(|(s, label)| Some((*s, (*label)?))).collect();
    let count = |score: bool, label: bool| {
        labelled.iter().filter(|(s, l)| (*s > 0.5) == score && (*l > 0.5) == label).count() as u64
    };
    let (tp, fp, fn_) = (count(true, true), count(true, false), count(false, true));
    let share =
        |part: u64, all: u64| (labelled.len() >= 2 && all > 0).then(|| part as f64 / all as f64);
    let squares: f64 = labelled.iter().map(|(s, l)| (s - l).powi(2)).sum();
    let brier = (labelled.len() >= 2).then(|| squares / labelled.len() as f64);
    let unlabelled = (said.len() - labelled.len()) as u64;
    let counts = [unlabelled, tp, fp, fn_, count(false, false)];
    let (precision, recall) = (share(tp, tp + fp), share(tp, tp + fn_));
    let f1 = share(2 * tp, 2 * tp + fp + fn_);
    (counts, texts([precision, recall, f1, brier, brier.map(f64::sqrt)]))
}
