//! A model of the last rows of a room, which takes them as a tensor of their shape: trained on what the graph's
//! own operators write, it says the same in the graph as in Python.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tideflow::cluster::write_features;
use tideflow::core::{FeatureRows, Job, LogOnly, RecentBindings, TakenRows, execute, timely};
use tideflow::models::{ModelRef, Runtime, load};
use tideflow::prelude::*;

use crate::fleet::Numbers;
use crate::python::training;
use crate::skew::Said;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Room {
    name: String,
    ts: i64,
    celsius: f64,
    lux: f64,
}

impl Event for Room {
    fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }
}

impl Features for Room {
    const NAMES: &'static [&'static str] = &["celsius", "lux"];

    fn row(&self, row: &mut Vec<f64>) {
        row.extend([self.celsius, self.lux]);
    }

    fn whose(&self) -> Option<(String, EventTime)> {
        Some((self.name.clone(), EventTime(self.ts)))
    }
}

/// A hundred rooms that get warmer and cooler, in two parts.
fn rooms() -> Vec<Vec<Room>> {
    let mut numbers = Numbers(5);
    let mut room = |n: u64, part: u64| {
        let (at, name) = (n / 50, format!("r{}", n % 50 * 2 + part));
        let (celsius, lux) =
            (numbers.below(4_000) as f64 / 997.0, numbers.below(1_000) as f64 / 499.0);
        Room { name, ts: 1_000 * at as i64, celsius, lux }
    };
    (0..2).map(|part| (0..1_000).map(|n| room(n, part)).collect()).collect()
}

/// Runs the graph; with `rows` in place of the model. Its scores, by room and time.
fn run(model: &Path, rows: Option<FeatureRows>) -> BTreeMap<(String, i64), f64> {
    let (scored, source) = (VecSink::new(), VecSource::new(rooms()));
    let sink = scored.clone();
    let model = ModelRef::folder(model, None, Runtime::InProcess);
    let graph = move |flow: &Flow<'_>| {
        let (rooms, _) = flow.source("rooms", source.clone())?;
        let last = rooms.key_by(|r: &Room| &r.name).last_rows::<_, 3>("last", minutes(1))?;
        flow.sink("scored", last.infer("next", &model)?.scored, sink.clone())
    };
    let job = Job { rows, ..Job::default() };
    let log = LogOnly::new(RecentBindings::new(1));
    execute(timely::Config::process(2), &job, log, |_| (), graph).expect("the graph runs");
    let scored = scored.take().into_iter();
    scored
        .map(|(_, s): (_, Scored<LastRows<Room, 3>>)| ((s.of.of.name, s.of.of.ts), s.score))
        .collect()
}

#[test]
fn oracle_a_model_of_the_last_three_rows_scores_in_the_graph_as_in_python() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let [file, model] = ["features.parquet", "model"].map(|name| folder.path().join(name));
    let rows = FeatureRows::default();
    assert_eq!(run(&model, Some(rows.clone())), BTreeMap::new());
    let TakenRows { names, rows, unfit } = rows.finish();
    let expected = ["celsius[-2]", "lux[-2]", "celsius[-1]", "lux[-1]", "celsius[0]", "lux[0]"];
    assert_eq!((names.as_slice(), unfit), (expected.map(String::from).as_slice(), 0));
    assert_eq!(rows.len(), 100 * (20 - 2));
    write_features(&file, &names, &rows, None).expect("the folder is ours");

    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/trend.py");
    let text = |path: &Path| path.to_str().expect("plain").to_owned();
    let (recipe, data, out) = (text(&recipe), text(&file), text(&model));
    training(&["train", &recipe, "--data", &data, "--out", &out]);
    let signature = load(&model).expect("it is a model").signature().clone();
    signature.expect_features(&expected).expect("the graph's own");

    let said = Said::of(&model, &file);
    let scores = run(&model, None);
    assert_eq!(scores.len(), said.scores.len());
    let places = said.keys.into_iter().zip(said.times);
    for (place, expected) in places.zip(said.scores) {
        assert_eq!(scores[&place], expected, "{place:?}");
    }
}
