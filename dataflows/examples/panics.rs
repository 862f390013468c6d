//! A graph with a mistake in it, for the tests: an operator that panics on a value, or hangs.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use tideflow::core::{LogOnly, RecentBindings};
use tideflow::models::{DType, Feature, Model, ScoreError, Signature};
use tideflow::prelude::*;

const DEFAULTS: &str = r#"
# What goes wrong.
[panics]
# The operator that panics: `windows` on a worker's thread, `scores` on the thread beside it, or
# `none`.
# @choices windows | scores | none
place = "none"

# Whether `windows` hangs in place of that.
hangs = false
"#;

#[derive(Clone, Deserialize)]
struct Config {
    panics: Panics,
}

#[derive(Clone, Deserialize)]
struct Panics {
    place: String,
    hangs: bool,
}

static HANGS: AtomicBool = AtomicBool::new(false);

#[derive(Clone, Serialize, Deserialize)]
struct Number {
    key: u64,
    at: EventTime,
}

impl Event for Number {
    fn event_time(&self) -> EventTime {
        self.at
    }
}

/// A sum with a value that nobody thought of.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Sum<const UNLUCKY: u64>(u64);

impl<const UNLUCKY: u64> Aggregate<Number> for Sum<UNLUCKY> {
    fn add(&mut self, number: &Number) {
        while number.key == UNLUCKY && HANGS.load(Ordering::Acquire) {
            thread::park();
        }
        assert!(number.key != UNLUCKY, "nobody thought of this number");
        self.0 += number.key;
    }
}

impl<const UNLUCKY: u64> Features for Sum<UNLUCKY> {
    const NAMES: &'static [&'static str] = &["sum"];
    fn row(&self, row: &mut Vec<f64>) {
        row.push(self.0 as f64);
    }
}

struct Scores {
    signature: Signature,
    panics: bool,
}

impl Model for Scores {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn score(&self, rows: &[f64], count: usize, out: &mut Vec<f64>) -> Result<(), ScoreError> {
        assert!(!self.panics, "no score today");
        out.clear();
        out.extend_from_slice(&rows[..count]);
        Ok(())
    }

    /// It panics when it counts, on the operator's thread.
    fn warm(&self, _: usize) -> Result<(), ScoreError> {
        Ok(())
    }
}

fn model(panics: bool) -> ModelRef {
    let signature = Signature {
        name: "sum".into(),
        version: "1".into(),
        digest: String::new(),
        features: vec![Feature { name: "sum".into(), unit: "1".into() }],
        dtypes: vec![DType::Float64],
        outputs: vec!["score".into()],
        batch_rows: 256,
    };
    Scores { signature, panics }.into()
}

fn build<const UNLUCKY: u64>(flow: &Flow<'_>, panics: bool) -> Result<(), BuildError> {
    let numbers = |from: u64| {
        (from..from + 100).map(|key| Number { key, at: EventTime(key as i64) }).collect()
    };
    let source = VecSource::new(vec![numbers(0), numbers(100), numbers(200), numbers(300)]);
    let (numbers, _) = flow.source("numbers", source.chunk(1))?;
    let sums = numbers
        .key_by(|n: &Number| &n.key)
        .tumbling_window::<_, Sum<UNLUCKY>>("windows", Tumbling::of(minutes(1)))?;
    let scored = sums.on_time.infer("scores", &model(panics))?;
    flow.sink("out", scored.scored, VecSink::new())
}

fn panics(flow: &Flow<'_>, config: &Config) -> Result<(), BuildError> {
    HANGS.store(config.panics.hangs, Ordering::Release);
    match config.panics.place.as_str() {
        "windows" => build::<213>(flow, false),
        place => build::<{ u64::MAX }>(flow, place == "scores"),
    }
}

fn main() -> ExitCode {
    tideflow::main(Graph {
        name: "panics",
        about: "Panics.",
        version: env!("CARGO_PKG_VERSION"),
        defaults: &[DEFAULTS],
        validate: |_| Vec::new(),
        durability: |_, _| Arc::new(LogOnly::new(RecentBindings::new(100))),
        build: panics,
        model: None,
        compare: None,
    })
}
