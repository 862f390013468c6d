//! A folder of files as a sink.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tideflow_core::timely::dataflow::StreamVec;
use tideflow_core::{
    Backtest, BuildError, Check, CheckFailure, Epoch, Outlet, Sink, SinkSpec, SinkStart,
};

use super::FolderError;
use super::folder::is_there;
use super::folders::Folders;
use super::writer::{Lines, Told, Writer};
use crate::recorded::Recorded;

/// A folder to write to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSinkConfig {
    /// The folder, which must be there, and which all processes of the job share.
    pub folder: String,
}

/// Appends a record's line.
type Encode<D> = fn(&D, &mut Vec<u8>);

/// A folder that a stream is published to, a file for each epoch and worker: exactly once in a job that takes
/// snapshots, else at least once. When a file becomes visible, and what it is called, is told
/// [above](super).
///
/// The records of a file are in the order in which they came. One folder is one sink's, of one job.
///
/// ```
/// use tideflow_sinks::files::{FileSink, FileSinkConfig};
/// #[derive(serde::Serialize)]
/// struct Total { device: String, total: u64 }
/// let config = FileSinkConfig { folder: "/var/lib/totals".to_string() };
/// let sink = FileSink::<Total>::json_lines(&config);
/// // flow.sink("totals out", totals, sink)?;
/// ```
pub struct FileSink<D> {
    config: FileSinkConfig,
    encode: Encode<D>,
}

impl<D: Serialize> FileSink<D> {
    /// JSON records, a line each.
    pub fn json_lines(config: &FileSinkConfig) -> Self {
        let encode: Encode<D> = |record, bytes| {
            serde_json::to_writer(&mut *bytes, record).expect("records are structs with text keys");
            bytes.push(b'\n');
        };
        FileSink { config: config.clone(), encode }
    }
}

impl<D: Clone + 'static> SinkSpec<D> for FileSink<D> {
    type Sink = FileWriter<D>;

    fn about(&self) -> String {
        format!("files in {}", self.config.folder)
    }

    fn checks(&self) -> Vec<Check> {
        let what = format!("folder `{}`", self.config.folder);
        let folder = self.config.folder.clone();
        let run = move || {
            let there = is_there(&folder).and_then(|()| can_write(&folder));
            there.map_err(|e| CheckFailure { kind: e.kind(), message: e.to_string() })?;
            Ok("can be written in".to_string())
        };
        vec![Check { key: what.clone(), what, after: None, advisory: false, run: Box::new(run) }]
    }

    fn start(self, start: SinkStart<'_, '_>) -> Result<FileWriter<D>, BuildError> {
        let (name, job) = (start.name, start.flow.job());
        let folders = start.flow.local(|| Ok::<_, BuildError>(Folders::default()))?;
        let (worker, _) = start.flow.worker();
        let place = folders
            .open(name.as_str(), &self.config.folder, worker)
            .map_err(|error| error.of(name.as_str()))?;
        let told = Told {
            waker: start.waker,
            records: job.metrics.sink_records.with_label_values(&[name.as_str()]),
            seconds: job.metrics.sink_seconds.with_label_values(&[name.as_str()]),
        };
        let writer = Writer::start(name, place, told, job.failure.clone());
        let (encode, published) = (self.encode, folders.published());
        Ok(FileWriter { writer, encode, published, open: BTreeMap::new() })
    }

    fn record<'s>(
        self,
        outlet: Outlet<'s>,
        stream: StreamVec<'s, Epoch, D>,
        backtest: &Backtest,
    ) -> Result<(), BuildError> {
        let (name, encode) = (outlet.name(), self.encode);
        let append = move |items: &mut Vec<D>, lines: &mut Vec<u8>| {
            items.iter().for_each(|item| encode(item, lines));
        };
        Recorded::connect(outlet, stream, backtest, name.as_str(), Box::new(append))
    }
}

/// Asks without trying: a check leaves nothing behind.
fn can_write(folder: &str) -> Result<(), FolderError> {
    use rustix::fs::{Access, access};
    let asked = access(folder, Access::WRITE_OK | Access::EXEC_OK);
    asked.map_err(|error| FolderError::io("writing in folder", folder.as_ref())(error.into()))
}

/// A [`FileSink`] as it runs on one worker.
pub struct FileWriter<D> {
    writer: Writer,
    encode: Encode<D>,
    /// All epochs up to this one are out, by earlier starts: this one only replays them.
    published: Epoch,
    open: BTreeMap<Epoch, Lines>,
}

impl<D: 'static> Sink<D> for FileWriter<D> {
    fn take(&mut self, epoch: Epoch, items: &mut Vec<D>) {
        if epoch <= self.published {
            items.clear();
            return;
        }
        let lines = self.open.entry(epoch).or_default();
        lines.records += items.len() as u64;
        items.drain(..).for_each(|item| (self.encode)(&item, &mut lines.bytes));
    }

    fn close(&mut self, epoch: Epoch) {
        if let Some(lines) = self.open.remove(&epoch) {
            self.writer.write(epoch, lines);
        }
    }

    fn published(&mut self) -> Epoch {
        self.writer.written().max(self.published)
    }
}
