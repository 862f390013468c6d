//! A turbofan engine, as C-MAPSS records it: how many cycles it has left.
//!
//! A line is fitted to each sensor over the engine's life, older cycles counting less, twice: over a short
//! memory and over a long one. Where the lines are now and how fast they move is what the model is asked about.

use serde::{Deserialize, Serialize};
use tideflow::core::{Emit, Row};
use tideflow::prelude::*;

use super::graph::{Item, Method, Outcome, Reading};

/// The sensors that say something, by their numbers; the others hardly move.
const SENSORS: [usize; 14] = [2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21];
/// The sensors of a row come behind three settings.
const SETTINGS: usize = 3;
/// Both memories, in cycles: recent wear, and nearly the whole life.
const SPANS: [f64; 2] = [30.0, 100.0];

/// The engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turbofan;

impl Method for Turbofan {
    #[rustfmt::skip]
    const FEATURES: &'static [&'static str] = &[
        "s2.level30", "s3.level30", "s4.level30", "s7.level30", "s8.level30", "s9.level30", "s11.level30",
        "s12.level30", "s13.level30", "s14.level30", "s15.level30", "s17.level30", "s20.level30", "s21.level30",
        "s2.slope30", "s3.slope30", "s4.slope30", "s7.slope30", "s8.slope30", "s9.slope30", "s11.slope30",
        "s12.slope30", "s13.slope30", "s14.slope30", "s15.slope30", "s17.slope30", "s20.slope30", "s21.slope30",
        "s2.level100", "s3.level100", "s4.level100", "s7.level100", "s8.level100", "s9.level100", "s11.level100",
        "s12.level100", "s13.level100", "s14.level100", "s15.level100", "s17.level100", "s20.level100", "s21.level100",
        "s2.slope100", "s3.slope100", "s4.slope100", "s7.slope100", "s8.slope100", "s9.slope100", "s11.slope100",
        "s12.slope100", "s13.slope100", "s14.slope100", "s15.slope100", "s17.slope100", "s20.slope100", "s21.slope100",
        "ln_cycle",
    ];
    const RECIPE: &'static str = "turbofan_rul";
    const TRAINING: &'static [&'static str] = &["--all-engines"];
    type Trace = TurbofanTrace;
    type Verdict = TurbofanVerdict;
}

/// What is kept of an engine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TurbofanTrace {
    /// Sensors are measured from the first row, so that no digits are lost.
    first: Vec<f64>,
    cycles: f64,
    spans: [Memory; 2],
}

/// Sums over an engine's life, each cycle weighing less the older it is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// Of weights, times ages to the power of 0, 1 and 2.
    weights: [f64; 3],
    /// For each sensor, of weighted values, times ages to the power of 0 and 1.
    values: Vec<[f64; 2]>,
}

impl Row for TurbofanTrace {}

impl Scan<Reading> for TurbofanTrace {
    type Out = Item<Turbofan>;

    fn step(&mut self, reading: Reading, out: &mut Emit<Item<Turbofan>>) {
        let sensor = |number: &usize| reading.values[SETTINGS + number - 1];
        let values: Vec<f64> = SENSORS.iter().map(sensor).collect();
        if self.first.is_empty() {
            self.first.clone_from(&values);
        }
        self.cycles += 1.0;
        let mut features = Vec::with_capacity(Turbofan::FEATURES.len());
        for (span, memory) in SPANS.iter().zip(&mut self.spans) {
            let decay = 1.0 - 2.0 / (span + 1.0);
            let lines = memory.fit(&values, &self.first, decay, self.cycles == 1.0);
            features.extend(lines.iter().map(|(level, _)| *level));
            features.extend(lines.iter().map(|(_, slope)| *slope));
        }
        features.push(self.cycles.ln());
        out.push(Item::new(&reading, features, Vec::new()));
    }
}

impl Memory {
    /// Takes a cycle: each sensor's line now, and its rise a cycle. Weighted least squares, as sums that follow
    /// from those of the cycle before.
    fn fit(&mut self, values: &[f64], first: &[f64], decay: f64, begins: bool) -> Vec<(f64, f64)> {
        self.values.resize(values.len(), [0.0; 2]);
        let [a0, a1, a2] = &mut self.weights;
        // All cycles get one older, and the new one comes with age 0.
        *a2 = decay * (*a2 + 2.0 * *a1 + *a0);
        *a1 = decay * (*a1 + *a0);
        *a0 = decay * *a0 + 1.0;
        let determinant = *a0 * *a2 - *a1 * *a1;
        let line = |((value, first), [p, q]): ((&f64, &f64), &mut [f64; 2])| {
            *q = decay * (*q + *p);
            *p = decay * *p + (value - first);
            if begins {
                return (*value, 0.0);
            }
            let level = first + (*a2 * *p - *a1 * *q) / determinant;
            (level, (*a1 * *p - *a0 * *q) / determinant)
        };
        values.iter().zip(first).zip(&mut self.values).map(line).collect()
    }
}

/// The model says it all.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TurbofanVerdict;

impl Row for TurbofanVerdict {}

impl Scan<Scored<Item<Turbofan>>> for TurbofanVerdict {
    type Out = Outcome;

    fn step(&mut self, scored: Scored<Item<Turbofan>>, out: &mut Emit<Outcome>) {
        let (Item { part, row, .. }, score) = (scored.of, scored.score);
        out.push(Outcome { part, row, score, alarm: false });
    }
}
