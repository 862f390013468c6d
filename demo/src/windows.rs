//! Windows without Kafka, to train models on: made by the operator that makes them in the graph.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tideflow::core::timely::{Config, ExchangeData};
use tideflow::core::{Job, LogOnly, RecentBindings, execute};
use tideflow::prelude::*;

/// The windows of these readings, in no particular order.
///
/// # Errors
/// When the graph fails.
pub fn windows_of<D, A, R>(
    readings: Vec<D>,
    bound: Duration,
    windows: Tumbling,
    device: fn(&D) -> &DeviceId,
) -> anyhow::Result<Vec<R>>
where
    D: Event + ExchangeData + Clone + Sync,
    A: Aggregate<D> + ExchangeData + Clone,
    R: From<Window<DeviceId, A>> + Clone + Send + 'static,
{
    let source = VecSource::new(vec![readings]).out_of_orderness(bound);
    let made = VecSink::new();
    let sink = made.clone();
    let build = move |flow: &Flow<'_>| {
        let (readings, _) = flow.source("readings", source.clone())?;
        let windows = readings.key_by(device).tumbling_window::<_, A>("windows", windows)?;
        let records = windows.on_time.map("window records", R::from)?;
        flow.sink("windows out", records, sink.clone())
    };
    let log = LogOnly::new(RecentBindings::new(1));
    execute(Config::thread(), &Job::default(), log, |_| (), build)?;
    Ok(made.take().into_iter().map(|(_, record)| record).collect())
}

/// Writes records as JSON lines.
///
/// # Errors
/// When the file cannot be written.
pub fn write_lines(records: &[impl Serialize], out: &Path) -> anyhow::Result<()> {
    let writing = || format!("writing `{}`", out.display());
    let mut file = BufWriter::new(File::create(out).with_context(writing)?);
    for record in records {
        serde_json::to_writer(&mut file, record).with_context(writing)?;
        file.write_all(b"\n").with_context(writing)?;
    }
    file.flush().with_context(writing)
}
