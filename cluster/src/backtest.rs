//! A graph over a part of the past: the run, and the report.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tideflow_core::{Backtest, Compared, ErrorKind, EventTime, Metrics};

use crate::RunFailure;

/// Between two lines that say how far a run has come.
const PROGRESS: Duration = Duration::from_secs(5);

/// The version of the report's form.
const VERSION: u32 = 1;

/// Says now and then how far a run has come, until what it returns is dropped.
pub(crate) fn show_progress(
    backtest: &Backtest,
    metrics: Arc<Metrics>,
    sources: Vec<String>,
) -> Sender<()> {
    let (backtest, (over, waits)) = (backtest.clone(), channel());
    thread::spawn(move || {
        while waits.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
            let records: u64 = readings(&metrics, &sources).values().sum();
            let Backtest { warm_up_from: from, to, .. } = &backtest;
            let reached = backtest.reached().max(*from);
            let percent = (*to != EventTime::MAX)
                .then(|| 100.0 * (reached.0 - from.0) as f64 / (to.0 - from.0) as f64);
            let percent = percent.map_or_else(String::new, |percent| format!("{percent:.0} %"));
            tracing::info!(records, reached = reached.date(), percent, "replaying");
        }
    });
    over
}

/// How many records each source has yielded.
pub(crate) fn readings(metrics: &Metrics, sources: &[String]) -> BTreeMap<String, u64> {
    let of =
        |name: &String| (name.clone(), metrics.readings.with_label_values(&[name.as_str()]).get());
    sources.iter().map(of).collect()
}

/// What came of a run.
pub(crate) struct Outcome<'a> {
    pub graph: &'a str,
    pub backtest: &'a Backtest,
    pub readings: BTreeMap<String, u64>,
    pub outputs: BTreeMap<String, u64>,
    pub compared: Option<Compared>,
}

impl Outcome<'_> {
    /// Writes the report to the folder, and returns it as text.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn report(self) -> Result<String, RunFailure> {
        let path = self.backtest.folder().join("report.json");
        let failed = |error| RunFailure {
            kind: ErrorKind::Fatal,
            message: format!("writing `{}`: {error}", path.display()),
        };
        fs::write(&path, format!("{:#}\n", self.json())).map_err(failed)?;
        Ok(format!("{}\nreport    {}\n", self.text(), path.display()))
    }

    fn json(&self) -> Value {
        let Backtest { warm_up_from, from, to, .. } = self.backtest;
        let reached = self.backtest.reached();
        json!({
            "v": VERSION,
            "graph": self.graph,
            "warm_up_from": warm_up_from.0,
            "from": from.0,
            "to": (*to != EventTime::MAX).then_some(to.0),
            "reached": reached.0,
            "read": self.readings,
            "written": self.outputs,
            "notes": self.backtest.notes(),
            "comparison": self.compared.as_ref().map(|compared| &compared.json),
        })
    }

    fn text(&self) -> String {
        let counts = |counts: &BTreeMap<String, u64>| {
            let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
            each.collect::<Vec<_>>().join(", ")
        };
        let Backtest { warm_up_from, from, to, .. } = self.backtest;
        let to = if *to == EventTime::MAX { "the end".to_string() } else { to.date() };
        let compared = match &self.compared {
            Some(compared) => format!("{}\n", compared.text),
            None => "nothing to compare: the graph names no outputs for it\n\n".to_string(),
        };
        let notes =
            self.backtest.notes().iter().map(|n| format!("note      {n}\n")).collect::<String>();
        format!(
            "{compared}{notes}time      {} to {to}; state begins empty at {}\nread      {}\nwritten   {}\n          to {}",
            from.date(),
            warm_up_from.date(),
            counts(&self.readings),
            counts(&self.outputs),
            self.backtest.folder().join("outputs").display()
        )
    }
}
