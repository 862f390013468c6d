//! Puts inference into a graph: an operator that has the model score, and one that gives out what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tideflow_core::timely::ExchangeData;
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::timely::dataflow::channels::pact::Pipeline;
use tideflow_core::timely::dataflow::operators::generic::OutputBuilder;
use tideflow_core::timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tideflow_core::{BuildError, Check, CheckFailure, Epoch, Flow, Mode, OperatorName, Stream};
use tideflow_models::{ModelLoadError, ModelRef, Shelf, VersionId};

use super::pool::Version;
use super::run::{Outputs, Run};
use super::settle::{Ruled, Split, Streams, Tried, settle};
use super::versions::Versions;
use super::{Features, InferOptions, OnFailure, failed, features, follow};

/// An operator that has a model score.
pub(super) struct Built<'s, D: 'static, S: Split<D>> {
    /// Its node in the graph.
    pub node: usize,
    /// What is made of what comes of its records.
    pub streams: Streams<'s, D, S>,
    /// Which version has scored an epoch.
    pub by: StreamVec<'s, Epoch, Arc<Version>>,
}

/// Has a model score a stream, and makes two streams of what comes of its records. Where something has been published
/// that rests on its scores, the epochs up to `published`, they are scored again in a replay, or the run ends.
///
/// # Errors
/// When the name is taken, an option is 0, or the model cannot be loaded or takes other features.
pub(super) fn infer_into<'s, D: Features + ExchangeData + Clone, S: Split<D>>(
    records: Stream<'s, D>,
    name: &str,
    (model, options): (ModelRef, InferOptions),
    published: Epoch,
    split: impl FnOnce(OperatorName, &Flow<'s>) -> S,
) -> Result<Built<'s, D, S>, BuildError> {
    let flow = records.flow();
    check_options(name, options)?;
    let about = format!("model {}", model.as_str());
    let node = flow.node("operator", name, about, records.origins())?;
    add_check::<D>(&flow, name, model.clone());
    let name = OperatorName::new(name);
    let shelf = match flow.mode() {
        Mode::Plan => None,
        Mode::Run => {
            // A model that panics does so by its operator's name.
            let open = || follow::open(&flow, name, &model, options, features::names::<D>());
            Some(name.run(open).map_err(|e| failed(name.as_str(), e))?)
        }
    };
    let ruled = recorded(&flow, name)?;
    let Tries { tried, failures, by } =
        score(&flow, name, records.into_timely(), shelf, options, (ruled.clone(), published));
    let rulings =
        (options.on_failure != OnFailure::Stop).then(|| flow.rule(name.as_str(), failures));
    let split = split(name, &flow);
    let streams = settle(&flow, name, tried, rulings, ruled, split);
    Ok(Built { node, streams, by })
}

/// What earlier starts have ruled upon epochs that are replayed.
fn recorded(flow: &Flow<'_>, name: OperatorName) -> Result<BTreeMap<Epoch, Ruled>, BuildError> {
    let ruled = flow.resume().ruled(name.as_str()).into_iter();
    let parsed = ruled.map(|(epoch, text)| match Ruled::parse(&text) {
        Ok(ruled) => Ok((epoch, ruled)),
        Err(error) => {
            let what = format!("what was ruled upon epoch {epoch} makes no sense here: {error}");
            Err(BuildError::invalid(name.as_str(), what))
        }
    });
    parsed.collect()
}

/// What comes of records, what is to be ruled upon epochs that the model has failed in, and who scored them.
struct Tries<'s, D: 'static> {
    tried: StreamVec<'s, Epoch, Tried<D>>,
    failures: StreamVec<'s, Epoch, String>,
    by: StreamVec<'s, Epoch, Arc<Version>>,
}

/// Has the model score records.
fn score<'s, D: Features + ExchangeData + Clone>(
    flow: &Flow<'s>,
    name: OperatorName,
    records: StreamVec<'s, Epoch, D>,
    shelf: Option<Arc<Shelf>>,
    options: InferOptions,
    ruled: (BTreeMap<Epoch, Ruled>, Epoch),
) -> Tries<'s, D> {
    let openings = shelf.clone().map(|shelf| follow::choose(flow, name, shelf));
    let mut builder = OperatorBuilder::new(name.as_str().to_string(), flow.scope());
    let mut data = builder.new_input(records, Pipeline);
    let (tried, tried_stream) = builder.new_output();
    let (failures, failures_stream) = builder.new_output();
    let (by, by_stream) = builder.new_output();
    // Leads to no output: records that wait for an opening hold their epochs themselves.
    let mut openings =
        openings.map(|openings| builder.new_input_connection(openings, Pipeline, []));
    let mut run = shelf.map(|shelf| {
        let address = builder.operator_info().address.to_vec();
        let again = flow.scope().activator_for(address.clone().into());
        let waker = || flow.scope().worker().sync_activator_for(address.clone());
        let opened = waker();
        shelf.wake_with(move || {
            let _ = opened.activate();
        });
        let versions = Versions::new(name, shelf, flow.job());
        Run::new(name, versions, options, ruled, (waker(), again), flow)
    });
    let mut out = Outputs {
        tried: OutputBuilder::from(tried),
        failures: OutputBuilder::from(failures),
        by: OutputBuilder::from(by),
    };
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        move |frontiers| {
            name.run(|| {
                let (Some(run), Some(openings)) = (run.as_mut(), openings.as_mut()) else {
                    return false;
                };
                openings.for_each(|_, opened| opened.drain(..).for_each(|o| run.open(&o)));
                run.release(&mut out);
                data.for_each(|capability, items| run.take(&capability, items, &mut out));
                run.end_epochs(&frontiers[0]);
                run.receive(&mut out);
                run.dispatch(&mut out)
            })
        }
    });
    Tries { tried: tried_stream, failures: failures_stream, by: by_stream }
}

fn check_options(name: &str, options: InferOptions) -> Result<(), BuildError> {
    let InferOptions { batch_rows, threads, inflight_max, timeout, poll, .. } = options;
    if let OnFailure::Score(score) = options.on_failure
        && !score.is_finite()
    {
        return Err(BuildError::invalid(name, format!("expected a finite score, found {score}")));
    }
    let none = batch_rows == Some(0) || threads == 0 || timeout.is_zero() || poll.is_zero();
    if none || inflight_max < threads {
        let what = format!(
            "expected `batch_rows`, `threads`, `timeout` and `poll` over 0, and `inflight_max` not below \
             `threads`; found {options:?}"
        );
        return Err(BuildError::invalid(name, what));
    }
    Ok(())
}

fn add_check<D: Features>(flow: &Flow<'_>, name: &str, model: ModelRef) {
    // A job that goes on does so with the version that it had, where another cannot be had.
    let advisory = model.may_change();
    let look = move || {
        let (id, model) = model.current()?;
        model.signature().expect_features(&features::names::<D>())?;
        Ok((id, model.signature().width()))
    };
    let run = move || {
        let found: Result<_, ModelLoadError> = look();
        let (id, width) =
            found.map_err(|e| CheckFailure { kind: e.kind(), message: e.to_string() })?;
        let VersionId { name, version, batch_rows, .. } = id;
        Ok(format!("{name} version {version}, {width} features, {batch_rows} rows a call"))
    };
    let what = format!("model of `{name}`");
    flow.check(Check { key: what.clone(), what, after: None, advisory, run: Box::new(run) });
}
