//! All recordings, one after the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use tideflow::core::Stop;
use tideflow::models::ModelRef;

use super::outcome::Outcome;
use super::plot::write_plot;
use super::recording::Recording;
use super::replay::replay;
use crate::broker::Broker;
use crate::screen::Screen;
use crate::setup::{Surroundings, settings};

/// The last line, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RealSummary {
    /// Recordings replayed.
    pub recordings: usize,
    /// Rows in them.
    pub rows: usize,
    /// Windows scored.
    pub windows: usize,
    /// Labelled anomalies.
    pub labelled: usize,
    /// Those with an alarm raised within them.
    pub hit: usize,
    /// Alarms outside the labels.
    pub outside: usize,
}

/// Replays recordings with their models (one for each name), says what the alarms are worth and
/// writes what a plot shows into `out`.
///
/// # Errors
/// When a recording has no model, a part cannot start or fails, or `stop` was asked: then the
/// recording that was not replayed to its end.
pub fn run(
    recordings: &[Recording],
    models: &BTreeMap<String, ModelRef>,
    around: &Surroundings,
    out: &Path,
    stop: &Stop,
    screen: &mut Screen,
) -> anyhow::Result<RealSummary> {
    fs::create_dir_all(out).with_context(|| format!("making `{}`", out.display()))?;
    let (config, _) = settings(around, &[])?;
    let thresholds = (config.alarm.raise_above, config.alarm.clear_below);
    let mut summary = RealSummary::default();
    Broker::about_each(around.brokers.as_deref()).iter().for_each(|line| screen.say(line));
    for recording in recordings {
        let name = &recording.name;
        let model = models.get(name).with_context(|| format!("no model given for `{name}`"))?;
        let replayed = replay(recording, model.clone(), around, stop)
            .with_context(|| format!("replaying `{name}`"))?;
        let outcome = Outcome::new(recording, &replayed);
        outcome.say(recording, &replayed, screen);
        write_plot(recording, &replayed, &outcome, thresholds, out)?;
        summary.recordings += 1;
        summary.rows += recording.rows.len();
        summary.windows += replayed.windows.len();
        summary.labelled += outcome.labels.len();
        summary.hit += outcome.hit();
        summary.outside += outcome.outside.len();
    }
    screen.say("");
    screen.say(serde_json::to_string(&summary).expect("a struct of numbers"));
    Ok(summary)
}
