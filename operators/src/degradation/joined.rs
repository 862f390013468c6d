//! Scores of one key, and the labels of the same time.

use serde::{Deserialize, Serialize};
use tideflow_core::EventTime;
use tideflow_models::VersionId;

use super::figures::Outcomes;
use super::judge::{Label, Told, What};
use crate::Aggregate;

/// What was told of one key and time, in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Joined {
    /// By the version that has given them: one, but for a time in which another took over.
    scores: Vec<(VersionId, Vec<(EventTime, f64)>)>,
    labels: Vec<Said>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    from: EventTime,
    to: EventTime,
    said: EventTime,
    value: f64,
}

impl Joined {
    /// What came of the scores, by their versions.
    pub fn outcomes(&self, threshold: f64) -> impl Iterator<Item = (&VersionId, Outcomes)> {
        self.scores.iter().map(move |(model, scores)| {
            let mut outcomes = Outcomes::default();
            scores
                .iter()
                .for_each(|(at, score)| outcomes.count(*score, self.label(*at), threshold));
            (model, outcomes)
        })
    }

    /// What holds of a time: what was said of it last, whatever came first.
    fn label(&self, at: EventTime) -> Option<f64> {
        let covers = |label: &&Said| label.from <= at && at < label.to;
        let last =
            |a: &&Said, b: &&Said| a.said.cmp(&b.said).then_with(|| a.value.total_cmp(&b.value));
        self.labels.iter().filter(covers).max_by(last).map(|label| label.value)
    }
}

impl<K> Aggregate<Told<K>> for Joined {
    fn add(&mut self, told: &Told<K>) {
        match &told.what {
            What::Score { at, score, model, .. } => {
                let known = self.scores.iter_mut().find(|(known, _)| known == &**model);
                match known {
                    Some((_, scores)) => scores.push((*at, *score)),
                    None => self.scores.push(((**model).clone(), vec![(*at, *score)])),
                }
            }
            What::Label(Label { from, to, said, value, .. }) => {
                let (from, to, said, value) = (*from, *to, *said, *value);
                self.labels.push(Said { from, to, said, value });
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        let of = |(_, scores): &(VersionId, Vec<(EventTime, f64)>)| {
            size_of::<(VersionId, Vec<(EventTime, f64)>)>()
                + scores.capacity() * size_of::<(EventTime, f64)>()
        };
        let scores: usize = self.scores.iter().map(of).sum();
        scores + self.labels.capacity() * size_of::<Said>()
    }
}
