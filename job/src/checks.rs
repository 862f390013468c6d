//! What must hold before a job starts: its store is there, and its topics would lose nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use tideflow_core::kafka::{KafkaError, offsets};
use tideflow_core::{Check, CheckFailure, Inputs, Part, Plan, StateForm};
use tideflow_state::{Generation, Manifest, Store, check_brokers, check_log_topic};

use crate::StartError;
use crate::changes::{Changes, same_as_before};
use crate::start::Job;

impl Job {
    /// In the order in which a start would find out.
    pub fn checks(&self, plan: &Plan) -> Vec<Check> {
        let broker = self.kafka.broker_check();
        let after = Some(broker.key.clone());
        let topics = self.own_topics().map(|(name, partitions)| {
            let (job, topic) = (self.clone(), name.clone());
            let run = move || job.own_topic(&topic, partitions).map_err(failure);
            let what = format!("topic `{name}`");
            Check {
                key: what.clone(),
                what,
                after: after.clone(),
                advisory: false,
                run: Box::new(run),
            }
        });
        let job = self.clone();
        let store = move || {
            let writable = Store::expect_writable(&job.config.state, &job.name);
            writable.map_err(|error| failure(error.into()))?;
            let generation = |store: Arc<Store>| Ok(store.generation()?);
            let found = job.find_store().and_then(|found| found.map(generation).transpose());
            match found.map_err(failure)? {
                None => Ok("will be made".to_string()),
                Some(Generation(0)) => Ok(format!("nothing yet of job `{}`", job.name)),
                Some(last) => Ok(format!("job `{}`, generation {last}", job.name)),
            }
        };
        let what = format!("state store `{}`", self.config.state);
        let store = Check { key: what.clone(), what, after, advisory: false, run: Box::new(store) };
        let (job, inputs, states) = (self.clone(), plan.inputs.clone(), plan.states.clone());
        let may_lose = plan.may_lose.clone();
        let changes = move || job.changes(&inputs, &may_lose, &states).map_err(failure);
        let what = "state of the operators".to_string();
        let after = Some(store.key.clone());
        let changes =
            Check { key: what.clone(), what, after, advisory: false, run: Box::new(changes) };
        [broker].into_iter().chain(topics).chain([store, changes]).collect()
    }

    /// What there is of a topic of the job's own, in words.
    fn own_topic(&self, topic: &str, partitions: usize) -> Result<String, StartError> {
        let (kafka, copies) = (&self.kafka, self.config.copies());
        if check_log_topic(kafka, topic, partitions, copies)? {
            return Ok("keeps all".to_string());
        }
        check_brokers(kafka, topic, copies)?;
        Ok("will be made".to_string())
    }

    /// That the records are there from where each source goes on, unless it goes on without.
    fn still_there(
        &self,
        manifest: &Manifest,
        inputs: &Inputs,
        may_lose: &BTreeSet<String>,
    ) -> Result<(), StartError> {
        for (source, topic) in inputs {
            let mut parts = manifest.parts.iter().filter(|part| part.source == *source).peekable();
            let (Some(topic), Some(_)) = (topic, parts.peek()) else { continue };
            let there = BTreeMap::from_iter(offsets(&self.kafka, topic)?);
            for Part { partition, next: offset, .. } in parts {
                let Some(Range { start: first, end }) = there.get(partition).cloned() else {
                    continue;
                };
                let behind = *offset < first && !may_lose.contains(source);
                if behind || *offset > end {
                    let (topic, partition, offset) = (topic.clone(), *partition, *offset);
                    let lost = KafkaError::OffsetsLost { topic, partition, offset, first, end };
                    return Err(lost.into());
                }
            }
        }
        Ok(())
    }

    /// What becomes of what was kept, in words.
    fn changes(
        &self,
        inputs: &Inputs,
        may_lose: &BTreeSet<String>,
        states: &[StateForm],
    ) -> Result<String, StartError> {
        let begins_empty = Ok("begins empty".to_string());
        let Some(kept) = self.kept()? else { return begins_empty };
        if let Some(before) = kept.store.topics()? {
            same_as_before(&before, inputs, states)?;
        }
        let Some(manifest) = kept.next()? else { return begins_empty };
        let changes = Changes::between(&manifest, inputs, states);
        changes.allowed(&self.config.drop_state)?;
        kept.expect_whole(&manifest)?;
        self.still_there(&manifest, inputs, may_lose)?;
        let named = self.config.drop_state.iter();
        let unknown: Vec<_> = named.filter(|name| !changes.drops(name)).cloned().collect();
        Ok(match unknown[..] {
            [] => changes.to_string(),
            _ => {
                format!("{changes}; `job.drop_state`: nothing is dropped of {}", unknown.join(", "))
            }
        })
    }
}

fn failure(error: StartError) -> CheckFailure {
    CheckFailure { kind: error.kind(), message: error.to_string() }
}
