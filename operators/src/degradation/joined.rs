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
            What::Score { score, model, .. } => {
                let known = self.scores.iter_mut().find(|(known, _)| known == &**model);
                match known {
                    Some((_, scores)) => scores.push((told.at, *score)),
                    None => self.scores.push(((**model).clone(), vec![(told.at, *score)])),
                }
            }
            What::Label { label, first } => {
                let Label { to, said, value, .. } = *label;
                self.labels.push(Said { from: *first, to, said, value });
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

#[cfg(test)]
mod tests {
    use tideflow_core::form::put_entry;

    use super::*;

    fn said(from: i64, to: i64, said: i64, value: f64) -> Said {
        Said { from: EventTime(from), to: EventTime(to), said: EventTime(said), value }
    }

    #[test]
    fn what_was_said_last_holds_and_of_equals_the_greatest() {
        let labels = vec![said(0, 10, 7, 0.0), said(5, 20, 6, 1.0), said(8, 12, 7, 1.0)];
        let mut joined = Joined { scores: Vec::new(), labels };
        for _ in 0..2 {
            let found = [-1, 0, 7, 8, 9, 10, 19, 20].map(|at| joined.label(EventTime(at)));
            let (no, yes) = (Some(0.0), Some(1.0));
            assert_eq!(found, [None, no, no, yes, yes, yes, yes, None]);
            joined.labels.reverse();
        }
    }

    #[test]
    fn golden_what_is_joined_has_this_form_in_snapshots() {
        let model = VersionId {
            name: "m".into(),
            version: "7".into(),
            digest: "d".into(),
            batch_rows: 256,
        };
        let scores = vec![(model, vec![(EventTime(-1), 0.5)])];
        let mut bytes = Vec::new();
        put_entry(&(), &Joined { scores, labels: vec![said(1, 2, 3, 0.5)] }, &mut bytes);
        let half = 0.5_f64.to_le_bytes();
        let version = [1, b'm', 1, b'7', 1, b'd', 0x80, 2];
        let expected: [&[u8]; 6] = [&[1], &version, &[1, 1], &half, &[1, 2, 4, 6], &half];
        assert_eq!(bytes[4..], expected.concat());
    }
}
