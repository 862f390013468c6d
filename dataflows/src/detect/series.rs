//! A single series, as NAB records them: rows unlike anything before.
//!
//! A network trained on generated series cleans the shape of the last rows. How far the last rows, raw and
//! cleaned, lie from the nearest of those before becomes the share of earlier distances that were as large.

use serde::{Deserialize, Serialize};
use tideflow::core::{Emit, Row};
use tideflow::prelude::*;

use super::graph::{Item, Method, Outcome, Reading};

/// Rows that the network sees.
const WINDOW: usize = 32;
/// Rows that are compared as they are: that reacts at once to spikes.
const RAW: usize = 8;
/// Windows that are remembered: two weeks of five-minute rows.
const MEMORY: usize = 4096;
/// Neighbours lie at least this many rows and one more back, so that they have none in common.
const APART: usize = 16;
/// Rows without a score: there are too few distances to rank against.
const WARM_UP: u64 = 150;
/// Distances are counted in bins of their logarithm, so many a factor of e.
const BINS_PER_E: f64 = 64.0;
/// The logarithms of the least and the greatest distance that are told apart.
const LOG: (f64, f64) = (-35.0, 35.0);
/// A distance below this share of the series' deviation is rounding, and no news.
const NEWS_SHARE: f64 = 1e-4;
/// Decades that the first distance is worth in a series that only ever repeated itself.
const UNSEEN: f64 = 3.0;
/// The mean of both ranks, in decades, that is an anomaly.
const ANOMALY: f64 = 1.5;
/// Rows after one in which there is no other, and the share of the rows so far that are added: what is one
/// event grows with the view.
const QUIET: (f64, f64) = (60.0, 0.02);
/// A window whose deviation is below this share of its mean, or this, stands still.
const STILL: (f64, f64) = (1e-9, 1e-12);

/// The series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series;

impl Method for Series {
    const FEATURES: &'static [&'static str] = &[
        "z[0]", "z[1]", "z[2]", "z[3]", "z[4]", "z[5]", "z[6]", "z[7]", "z[8]", "z[9]", "z[10]",
        "z[11]", "z[12]", "z[13]", "z[14]", "z[15]", "z[16]", "z[17]", "z[18]", "z[19]", "z[20]",
        "z[21]", "z[22]", "z[23]", "z[24]", "z[25]", "z[26]", "z[27]", "z[28]", "z[29]", "z[30]",
        "z[31]",
    ];
    const RECIPE: &'static str = "series_anomaly";
    type Trace = SeriesTrace;
    type Verdict = SeriesVerdict;
}

/// What is kept of a series.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SeriesTrace {
    /// The last rows, the oldest first.
    window: Vec<f64>,
    /// Rows so far, their mean and the sum of squares about it (Welford 1962).
    rows: f64,
    mean: f64,
    squares: f64,
}

impl Row for SeriesTrace {}

impl Scan<Reading> for SeriesTrace {
    type Out = Item<Series>;

    fn step(&mut self, reading: Reading, out: &mut Emit<Item<Series>>) {
        let value = reading.values[0];
        if self.window.is_empty() {
            // Before the beginning it was as it was then.
            self.window = vec![value; WINDOW];
        }
        self.window.rotate_left(1);
        self.window[WINDOW - 1] = value;
        self.rows += 1.0;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.rows;
        self.squares += from_mean * (value - self.mean);
        let running = (self.squares / self.rows).sqrt();

        let (mean, deviation) = moments(&self.window);
        let standing = deviation <= STILL.0 * mean.abs() + STILL.1;
        let deviation = if standing { 0.0 } else { deviation };
        let z = |x: &f64| if standing { 0.0 } else { (x - mean) / deviation };
        let features = self.window.iter().map(z).collect();
        let beside = [&[mean, deviation, running], &self.window[WINDOW - RAW..]].concat();
        out.push(Item::new(&reading, features, beside));
    }
}

/// The mean of a window, and its deviation.
fn moments(window: &[f64]) -> (f64, f64) {
    let mean = window.iter().sum::<f64>() / window.len() as f64;
    let squares = window.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    (mean, (squares / window.len() as f64).sqrt())
}

/// What is kept to judge a series.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SeriesVerdict {
    raw: Novelty,
    clean: Novelty,
    last: Option<u64>,
}

impl Row for SeriesVerdict {}

impl Scan<Scored<Item<Series>>> for SeriesVerdict {
    type Out = Outcome;

    fn step(&mut self, scored: Scored<Item<Series>>, out: &mut Emit<Outcome>) {
        let Item { part, row, beside, .. } = scored.of;
        let (moments, raw) = beside.split_at(3);
        let [mean, deviation, running] = moments else { unreachable!("as it was put there") };
        let cleaned = std::iter::once(scored.score).chain(scored.others);
        let cleaned: Vec<f64> = cleaned.map(|y| mean + deviation * y).collect();
        let news = NEWS_SHARE * running;
        let novelty = f64::midpoint(self.raw.step(raw, news), self.clean.step(&cleaned, news));
        let quiet = QUIET.0 + QUIET.1 * row as f64;
        let long_ago = self.last.is_none_or(|last| (row - last) as f64 > quiet);
        let alarm = novelty >= ANOMALY && long_ago;
        let rarity = 1.0 - 10_f64.powf(-novelty.max(0.0));
        if alarm {
            self.last = Some(row);
        }
        out.push(Outcome { part, row, score: if alarm { rarity } else { 0.5 * rarity }, alarm });
    }
}

/// How unlike all before the last rows of a channel are.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Novelty {
    /// What was seen, the oldest first where it began and then round and round.
    past: Vec<f64>,
    rows: u64,
    /// How many distances fell into each bin.
    counts: Vec<u32>,
    most: f64,
}

impl Novelty {
    /// The decades of the share of earlier distances that were as large.
    fn step(&mut self, shape: &[f64], news: f64) -> f64 {
        let distance = self.nearest(shape);
        self.remember(shape);
        if self.counts.is_empty() {
            self.counts = vec![0; ((LOG.1 - LOG.0) * BINS_PER_E) as usize];
        }
        let bin = self.bin(distance);
        let mut decades = 0.0;
        if self.rows >= WARM_UP && distance > news {
            let as_large: u64 = self.counts[bin..].iter().map(|n| u64::from(*n)).sum();
            decades = ((self.rows + 1) as f64 / (as_large + 1) as f64).log10();
            if as_large == 0 {
                decades += if self.most > 0.0 { (distance / self.most).log10() } else { UNSEEN };
            }
        }
        self.counts[bin] += 1;
        self.rows += 1;
        self.most = self.most.max(distance);
        decades
    }

    /// The distance to the nearest of those remembered that have no row in common; 0 where there is none.
    fn nearest(&self, shape: &[f64]) -> f64 {
        let (width, rows) = (shape.len(), self.rows as usize);
        let kept = MEMORY + APART;
        let from = rows.saturating_sub(kept);
        let mut least = f64::INFINITY;
        for row in from..rows.saturating_sub(APART) {
            let at = row % kept * width;
            let past = &self.past[at..at + width];
            let squares: f64 = past.iter().zip(shape).map(|(p, x)| (p - x) * (p - x)).sum();
            least = least.min(squares);
        }
        if least.is_finite() { least.sqrt() } else { 0.0 }
    }

    fn remember(&mut self, shape: &[f64]) {
        let at = self.rows as usize % (MEMORY + APART) * shape.len();
        match at == self.past.len() {
            true => self.past.extend_from_slice(shape),
            false => self.past[at..at + shape.len()].copy_from_slice(shape),
        }
    }

    fn bin(&self, distance: f64) -> usize {
        if distance <= 0.0 {
            return 0;
        }
        let bin = ((distance.ln() - LOG.0) * BINS_PER_E).floor();
        bin.clamp(0.0, (self.counts.len() - 1) as f64) as usize
    }
}
