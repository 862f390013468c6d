//! The thread that writes manifests, and does what is to be done when they count.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tideflow_core::kafka::{KafkaConfig, KafkaError, delete_records, end_offsets};
use tideflow_core::{Epoch, Failure, OperatorName, crash_point};
use tideflow_sinks::files::Settling;
use tideflow_state::{BindingPlaces, BindingsTopic, Manifest, Store};

/// A running thread. It ends when this is dropped.
pub(crate) struct ManifestThread {
    work: Sender<Work>,
    done: Receiver<()>,
}

/// What the thread works on.
pub(crate) struct Left {
    pub store: Arc<Store>,
    pub topic: BindingsTopic,
    pub progress: Progress,
    pub files: Settling,
}

enum Work {
    Write(Box<Manifest>),
    Show(Epoch),
    CleanUp { kept: Box<Manifest>, before: Box<Manifest>, places: BindingPlaces },
}

/// Progress is deleted so many snapshots after it was written. What was written before a snapshot counted is
/// of epochs up to the next but one; and the manifest kept beside the newest must find what is of later ones.
const PROGRESS_KEPT: usize = 4;

impl ManifestThread {
    /// `wake` is called whenever something is done that it was asked for.
    pub fn start(
        name: OperatorName,
        mut left: Left,
        failure: Failure,
        wake: impl Fn() + Send + 'static,
    ) -> Self {
        // Two at most: one snapshot is under way at a time, and its manifest waits for the cleaning up behind
        // the one before it.
        let (work, todo) = channel();
        let (is_done, done) = channel();
        name.spawn(move || {
            for work in todo {
                match left.act(work, &failure) {
                    None => return,
                    Some(false) => {}
                    Some(true) => {
                        let _ = is_done.send(());
                        wake();
                    }
                }
            }
        });
        ManifestThread { work, done }
    }

    /// Asks for a manifest to be written.
    pub fn write(&self, manifest: Manifest) {
        self.give(Work::Write(Box::new(manifest)));
    }

    /// Asks for the files up to this epoch to be made visible: its manifest counts.
    pub fn show(&self, epoch: Epoch) {
        self.give(Work::Show(epoch));
    }

    /// Whether what was asked for last is done; told once.
    pub fn is_done(&self) -> bool {
        self.done.try_recv().is_ok()
    }

    /// Deletes what neither `kept` nor the manifest that counted before it needs. Nobody waits for it but the
    /// next manifest.
    pub fn clean_up(&self, kept: Manifest, before: Manifest, places: &BindingPlaces) {
        let (kept, before, places) = (Box::new(kept), Box::new(before), places.clone());
        self.give(Work::CleanUp { kept, before, places });
    }

    fn give(&self, work: Work) {
        // Fails after a failure of the run.
        let _ = self.work.send(work);
    }
}

impl Left {
    /// Whether somebody waits for what is done now; none after a failure of the run.
    fn act(&mut self, work: Work, failure: &Failure) -> Option<bool> {
        match work {
            Work::Write(manifest) => {
                let write = || self.store.write_manifest(&manifest);
                failure.until_it_works("writing a manifest", write)?;
                crash_point("manifest written");
                Some(true)
            }
            Work::Show(epoch) => {
                let show = || self.files.counts(epoch);
                failure.until_it_works("making files visible", show)?;
                crash_point("files shown");
                Some(true)
            }
            Work::CleanUp { kept, before, places } => {
                self.clean_up(&kept, &before, &places);
                Some(false)
            }
        }
    }

    fn clean_up(&mut self, kept: &Manifest, before: &Manifest, places: &BindingPlaces) {
        places.forget_before(before.binding_offset);
        if let Err(error) = self.store.collect_garbage(kept, &[before.name()]) {
            tracing::warn!(%error, "old snapshots are left where they are");
        }
        crash_point("old snapshots removed");
        if let Err(error) = self.progress.trim() {
            tracing::warn!(%error, "old progress is left where it is");
        }
        if let Err(error) = self.topic.trim(before.binding_offset) {
            tracing::warn!(%error, "the log of bindings stays long");
        }
        crash_point("cleaned up");
    }
}

/// The topic of the progress of all shards, which ends at these offsets after each of the last snapshots.
#[derive(Clone)]
pub(crate) struct Progress {
    kafka: KafkaConfig,
    topic: String,
    ends: VecDeque<Vec<(i32, i64)>>,
}

impl Progress {
    pub fn of(kafka: &KafkaConfig, topic: String) -> Self {
        Progress { kafka: kafka.clone(), topic, ends: VecDeque::new() }
    }

    /// Called after each snapshot that counts.
    fn trim(&mut self) -> Result<(), KafkaError> {
        // The last offset is left: a start that finds nothing knows that somebody else has deleted it.
        let ends = end_offsets(&self.kafka, &self.topic)?.into_iter();
        self.ends.push_back(ends.map(|(partition, end)| (partition, (end - 1).max(0))).collect());
        if self.ends.len() > PROGRESS_KEPT {
            let before = self.ends.pop_front().expect("it is not empty");
            delete_records(&self.kafka, &self.topic, &before)?;
        }
        Ok(())
    }
}
