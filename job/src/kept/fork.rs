//! Another job that goes on from a snapshot of this one.

use std::io::Write;

use tideflow_core::{Binding, Ending, Failure};
use tideflow_sinks::kafka::shard::{self, Note};
use tideflow_state::{
    BindingsTopic, Generation, Manifest, Store, Topics, check_log_topic, open_log_topic,
};

use crate::StartError;
use crate::start::Job;

impl Job {
    /// Makes the other job: its state, its topics, its transactional ids, as a start of it would. From then
    /// on neither knows of the other.
    pub(super) fn fork(
        &self,
        from: &Store,
        manifest: &Manifest,
        name: &str,
        out: &mut dyn Write,
    ) -> Result<(), StartError> {
        let other = Job { name: name.to_string(), ..self.clone() };
        let store = other.store()?;
        let there = StartError::JobIsThere { job: name.to_string() };
        for (topic, partitions) in other.own_topics() {
            if check_log_topic(&self.kafka, &topic, partitions, self.config.copies())? {
                return Err(there);
            }
        }
        if store.generation()? != Generation(0) || store.take_generation()? != Generation(1) {
            return Err(there);
        }
        let made = other.begin_from(from, &store, manifest);
        made.map_err(|error| StartError::HalfForked {
            job: name.to_string(),
            kind: error.kind(),
            reason: error.to_string(),
        })?;
        let epoch = manifest.epoch;
        Ok(writeln!(
            out,
            "job `{name}` goes on from the state after epoch {epoch} of `{}`",
            self.name
        )?)
    }

    /// The first generation: all that its successor expects of one that has taken a snapshot.
    fn begin_from(
        &self,
        from: &Store,
        store: &Store,
        manifest: &Manifest,
    ) -> Result<(), StartError> {
        let (generation, shards) = (Generation(1), self.config.shards);
        let bindings = BindingsTopic::open(&self.kafka, &self.name, self.config.copies())?;
        let copies = self.config.copies();
        open_log_topic(&self.kafka, &self.progress_topic(), shards as usize, copies)?;
        from.copy_parts(manifest, store)?;
        let failure = Failure::default();
        let mut fenced = self.all_shards(|shard| self.fence(shard, generation, &failure))?;
        fenced.iter_mut().try_for_each(|shard| shard.commit_sentinel(|| false).map(drop))?;
        let within = self.kafka.connect_timeout();
        bindings.mark(generation, within)?;
        let Manifest { epoch, watermark, parts, chosen, .. } = manifest.clone();
        let binding = Binding { epoch, parts, watermark, wall_ms: 0, ending: Ending::No, chosen };
        let binding_offset = bindings.begin_behind(generation, binding, within)?;
        // It goes on in what the other has read, on the same cluster, and has written nothing.
        let before = from.topics()?.unwrap_or_default();
        store.write_topics(generation, Topics { outputs: Default::default(), ..before })?;
        let own = Manifest {
            generation,
            binding_offset,
            binding_generation: generation,
            // It has published nothing.
            progress: vec![0; shards as usize],
            ..manifest.clone()
        };
        store.write_manifest(&own)?;
        let first = fenced.first_mut().expect("a job has a shard");
        first.begin()?;
        let (epoch, name) = (own.epoch, own.name());
        let counts = shard::Manifest { generation: generation.0, epoch, name };
        Ok(first.commit(&[Note::Manifest(counts)], || false)?)
    }
}
