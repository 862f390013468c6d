//! What becomes of an epoch in which the model fails: decided once, and recorded before it is used.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::timely::dataflow::operators::{Capability, InputCapability};
use tideflow_core::{Epoch, Flow, OperatorName, Ruling};
use tideflow_models::VersionId;

use super::run::Output;

/// What becomes of the rows of an epoch in which the model fails on a batch twice, or is too slow twice. All of the
/// epoch's rows: which of them were in that batch differs from run to run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OnFailure {
    /// The run ends, and another start scores them anew.
    Stop,
    /// They are dead letters.
    Reject,
    /// They get this score, for each output of the model.
    Score(f64),
}

/// A record, and what came of it: the model's outputs, or why there are none.
#[derive(Clone, Debug)]
pub(super) struct Tried<D> {
    pub of: D,
    pub model: Arc<VersionId>,
    pub outcome: Result<(f64, Vec<f64>), String>,
}

/// A ruling upon an epoch of a model, as it is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ruled {
    /// The outputs that all rows get; null: they are dead letters.
    pub scores: Option<Vec<f64>>,
    /// Why the model has failed.
    pub why: String,
}

impl Ruled {
    /// What the policy makes of a failure; none: the run ends.
    pub fn by(policy: OnFailure, outputs: usize, why: String) -> Option<Ruled> {
        match policy {
            OnFailure::Stop => None,
            OnFailure::Reject => Some(Ruled { scores: None, why }),
            OnFailure::Score(score) => Some(Ruled { scores: Some(vec![score; outputs]), why }),
        }
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers and a text are JSON")
    }

    pub fn parse(text: &str) -> Result<Ruled, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// What becomes of records in the graph: two streams are made of them.
pub(super) trait Split<D>: 'static {
    /// Records of the first stream.
    type Well: Clone + 'static;
    /// Records of the second.
    type Ill: Clone + 'static;
    /// Adds to the streams what came of a record; `ruled`: by a ruling upon its epoch.
    fn split(
        &mut self,
        tried: Tried<D>,
        ruled: bool,
        well: &mut Vec<Self::Well>,
        ill: &mut Vec<Self::Ill>,
    );
    /// Counts records that were added: at once, since a figure that threads share costs as much as a record.
    fn count(&mut self, _well: usize, _ill: usize, _ruled: bool) {}
}

pub(super) type Streams<'s, D, S> =
    (StreamVec<'s, Epoch, <S as Split<D>>::Well>, StreamVec<'s, Epoch, <S as Split<D>>::Ill>);

/// Gives out what came of each epoch's records when it is known whether something was ruled upon it: at once,
/// without `rulings`. `ruled` is what earlier starts have recorded.
pub(super) fn settle<'s, D: Clone + 'static, S: Split<D>>(
    flow: &Flow<'s>,
    name: OperatorName,
    tried: StreamVec<'s, Epoch, Tried<D>>,
    rulings: Option<StreamVec<'s, Epoch, Ruling>>,
    ruled: BTreeMap<Epoch, Ruled>,
    split: S,
) -> Streams<'s, D, S> {
    let what = format!("{}: settled", name.as_str());
    let mut builder = OperatorBuilder::new(what, flow.scope());
    let mut tried = builder.new_input(tried, Pipeline);
    let mut rulings = rulings.map(|rulings| builder.new_input(rulings, Pipeline));
    let (well, well_stream) = builder.new_output();
    let (ill, ill_stream) = builder.new_output();
    let mut out = (OutputBuilder::from(well), OutputBuilder::from(ill));
    let mut settle = Settle { rulings: ruled, held: BTreeMap::new(), split };
    builder.build(move |_| {
        move |frontiers| {
            name.run(|| {
                if let Some(rulings) = &mut rulings {
                    rulings.for_each(|_, ruling| ruling.drain(..).for_each(|r| settle.rule(&r)));
                }
                tried.for_each(|capability, items| settle.hold(&capability, items));
                let is_over = |epoch| frontiers.iter().all(|f| !f.less_equal(&epoch));
                settle.give(&mut out, |epoch| rulings.is_none() || is_over(epoch));
                settle.forget(is_over);
            });
        }
    });
    (well_stream, ill_stream)
}

struct Held<D> {
    /// Of both streams.
    at: [Capability<Epoch>; 2],
    items: Vec<Tried<D>>,
}

struct Settle<D, S> {
    rulings: BTreeMap<Epoch, Ruled>,
    held: BTreeMap<Epoch, Held<D>>,
    split: S,
}

impl<D: Clone + 'static, S: Split<D>> Settle<D, S> {
    fn rule(&mut self, ruling: &Ruling) {
        let ruled = Ruled::parse(&ruling.ruled).expect("as this operator has said");
        self.rulings.insert(ruling.epoch, ruled);
    }

    fn hold(&mut self, capability: &InputCapability<Epoch>, items: &mut Vec<Tried<D>>) {
        let epoch = *capability.least().expect("records carry one epoch");
        let held = self.held.entry(epoch).or_insert_with(|| {
            let at = [0, 1].map(|port| capability.delayed(&epoch, port));
            Held { at, items: Vec::new() }
        });
        held.items.append(items);
    }

    /// Gives out the records of epochs about which no more is heard.
    fn give(
        &mut self,
        (well_out, ill_out): &mut (Output<S::Well>, Output<S::Ill>),
        is_settled: impl Fn(Epoch) -> bool,
    ) {
        while let Some(first) = self.held.first_entry()
            && is_settled(*first.key())
        {
            let (epoch, Held { at, items }) = first.remove_entry();
            let ruled = self.rulings.get(&epoch);
            let (mut well, mut ill) = (Vec::with_capacity(items.len()), Vec::new());
            for mut tried in items {
                match ruled {
                    None => {}
                    Some(Ruled { scores: Some(all), .. }) => {
                        tried.outcome = Ok((all[0], all[1..].to_vec()));
                    }
                    Some(Ruled { scores: None, why }) => tried.outcome = Err(why.clone()),
                }
                self.split.split(tried, ruled.is_some(), &mut well, &mut ill);
            }
            self.split.count(well.len(), ill.len(), ruled.is_some());
            well_out.activate().session(&at[0]).give_container(&mut well);
            ill_out.activate().session(&at[1]).give_container(&mut ill);
        }
    }

    /// Rulings are of no use when their epochs are over.
    fn forget(&mut self, is_over: impl Fn(Epoch) -> bool) {
        while let Some(first) = self.rulings.first_entry()
            && is_over(*first.key())
        {
            first.remove();
        }
    }
}
