//! A candidate that scores beside the champion.

use serde::{Deserialize, Serialize};
use tideflow_core::prometheus::{Histogram, IntCounter};
use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::operators::core::OkErr;
use tideflow_core::timely::dataflow::operators::vec::Map as _;
use tideflow_core::{BuildError, EventTime, Flow, Key, OperatorName, Stream};
use tideflow_models::VersionId;

use super::build::infer_into;
use super::settle::{Split, Tried};
use super::{Features, OnFailure, Scored, Scorer, failed};

/// Which keys a candidate scores, and whether its scores count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// The share of all keys, from 0 to 1: by their stable hash, so that a larger share has those of a smaller one.
    pub share: f64,
    /// Whether its scores take the place of the champion's.
    pub publish: bool,
}

impl Slice {
    /// All keys, and nothing is changed: a shadow.
    pub const SHADOW: Slice = Slice { share: 1.0, publish: false };

    /// Whether a key is in it.
    ///
    /// ```
    /// use tideflow_operators::Slice;
    /// let of = |share| Slice { share, publish: false };
    /// let keys: Vec<String> = (0..1_000).map(|n| format!("d{n}")).collect();
    /// let within = |share| keys.iter().filter(|key| of(share).holds(*key)).count();
    /// assert_eq!((within(0.0), within(1.0)), (0, 1_000));
    /// assert!((50..150).contains(&within(0.1)));
    /// ```
    pub fn holds<K: Key>(&self, key: &K) -> bool {
        // The lower half of the hash: the upper one says which worker has the key.
        let place = f64::from(key.stable_hash() as u32) / 2f64.powi(32);
        place < self.share
    }
}

/// A score of the champion, and the candidate's.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Compared<D> {
    /// The record, with the champion's score.
    pub champion: Scored<D>,
    /// The candidate's version.
    pub candidate: std::sync::Arc<VersionId>,
    /// Its first output; or why there is none: then the champion's counts.
    pub outcome: Result<f64, String>,
    /// Whether the candidate's score is the one that counts.
    pub published: bool,
}

/// The outputs of a candidate.
pub struct Candidate<'s, D: 'static> {
    /// The scores that count.
    pub scored: Stream<'s, Scored<D>>,
    /// Both scores of each record in the slice.
    pub compared: Stream<'s, Compared<D>>,
}

impl<D: Features> Features for Scored<D> {
    const NAMES: &'static [&'static str] = D::NAMES;
    const ROWS: usize = D::ROWS;

    fn row(&self, row: &mut Vec<f64>) {
        self.of.row(row);
    }

    fn whose(&self) -> Option<(String, EventTime)> {
        self.of.whose()
    }
}

impl<'s, D: Features + ExchangeData + Clone> Candidate<'s, D> {
    /// Has a second model score the records of a slice of all keys, as [`Infer`](super::Infer) does, and compares.
    /// Unless the slice is to be published, the scores that count are the champion's, and do not wait for it. Epochs
    /// are in flight until it has scored, whatever becomes of that.
    ///
    /// State: as that of [`Infer`](super::Infer). Fails, if it is published: in an epoch that is replayed, and in which
    /// its scores have counted. A row that the candidate cannot score, and all of any other epoch in which it fails,
    /// keep the champion's score; what its [`OnFailure`] says does not matter.
    ///
    /// # Errors
    /// When the name is taken, an option is 0, or the model cannot be loaded or takes other features.
    pub fn beside<K: Key>(
        champion: Stream<'s, Scored<D>>,
        name: &str,
        candidate: &impl Scorer,
        slice: Slice,
        key: impl Fn(&D) -> &K + 'static,
    ) -> Result<Self, BuildError> {
        let flow = champion.flow();
        if flow.job().rows.is_some() {
            // Nothing is scored where rows are only written down.
            let compared = champion.clone().into_timely().flat_map(|_| None);
            let (node, label) = champion.origins()[0];
            let compared = Stream::new(&flow, node, label, compared);
            return Ok(Candidate { scored: champion, compared });
        }
        let (model, mut options) = candidate.scorer().map_err(|e| failed(name, e))?;
        options.on_failure = OnFailure::Reject;
        let origins = champion.origins().to_vec();
        let within = move |scored: Scored<D>| match slice.holds(key(&scored.of)) {
            true => Ok(scored),
            false => Err(scored),
        };
        let (within, others) = champion.clone().into_timely().ok_err(within);
        let (node, label) = origins.first().copied().expect("a stream comes from somewhere");
        let within = Stream::new(&flow, node, label, within);
        let compare = |name, flow: &Flow<'s>| Compare::new(name, slice.publish, flow);
        // Nothing rests on the scores of a shadow.
        let published = if slice.publish { flow.resume().published } else { 0 };
        let built = infer_into(within, name, (model, options), published, compare)?;
        let (node, (counts, compared)) = (built.node, built.streams);
        let scored = match slice.publish {
            true => {
                let others = Stream::new(&flow, node, "others", others);
                Stream::new(&flow, node, "", counts).and(others)
            }
            false => champion,
        };
        flow.hold_until(built.by);
        Ok(Candidate { scored, compared: Stream::new(&flow, node, "compared", compared) })
    }
}

/// Puts the two scores of each record side by side.
struct Compare {
    publish: bool,
    rows: IntCounter,
    failures: IntCounter,
    difference: Histogram,
}

impl Compare {
    fn new(name: OperatorName, publish: bool, flow: &Flow<'_>) -> Self {
        let (metrics, label) = (&flow.job().metrics, [name.as_str()]);
        Compare {
            publish,
            rows: metrics.inference_rows.with_label_values(&label),
            failures: metrics.candidate_unscored.with_label_values(&label),
            difference: metrics.candidate_difference.with_label_values(&label),
        }
    }
}

impl<D: ExchangeData + Clone> Split<Scored<D>> for Compare {
    type Well = Scored<D>;
    type Ill = Compared<D>;

    fn split(
        &mut self,
        Tried { of: champion, model, outcome }: Tried<Scored<D>>,
        _: bool,
        counts: &mut Vec<Scored<D>>,
        compared: &mut Vec<Compared<D>>,
    ) {
        let published = self.publish && outcome.is_ok();
        match &outcome {
            Ok((score, others)) => {
                self.rows.inc();
                self.difference.observe((score - champion.score).abs());
                if published {
                    let (of, score, others) = (champion.of.clone(), *score, others.clone());
                    counts.push(Scored {
                        of,
                        score,
                        others,
                        model: model.clone(),
                        fallback: false,
                    });
                }
            }
            Err(_) => self.failures.inc(),
        }
        if self.publish && !published {
            counts.push(champion.clone());
        }
        let outcome = outcome.map(|(score, _)| score);
        compared.push(Compared { champion, candidate: model, outcome, published });
    }
}
