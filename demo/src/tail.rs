//! Reading a result topic back, as any program could.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use tideflow::core::kafka::KafkaConfig;
use tideflow::sources::kafka::{BatchConsumer, MessageRef, Polled, StartOffset};

use crate::broker::dropped;

/// Records taken in one turn.
const BATCH: usize = 1024;
/// Kilobytes fetched ahead.
const QUEUE_KB: u32 = 16_384;
/// The longest wait between two looks, should a wake-up be missed.
const LOOK: Duration = Duration::from_millis(50);

/// One topic, read from its beginning by an ordinary consumer.
pub struct Tail {
    topic: String,
    consumer: BatchConsumer,
    /// By partition, the offset of the next record.
    next: Vec<i64>,
    lost: u64,
}

impl Tail {
    /// A reader of all partitions; `reader` is unparked when records have come.
    ///
    /// # Errors
    /// When the topic is not there.
    pub fn new(kafka: &KafkaConfig, topic: &str, reader: Thread) -> anyhow::Result<Tail> {
        let partitions = kafka.partitions(topic)?;
        let mut consumer = BatchConsumer::new(kafka, topic, "demo-reader", QUEUE_KB)?;
        consumer.set_wake(Box::new(move || reader.unpark()));
        let from: Vec<_> = (0..partitions as i32).map(|partition| (partition, 0)).collect();
        consumer.assign(&from)?;
        Ok(Tail { topic: topic.to_string(), consumer, next: vec![0; partitions], lost: 0 })
    }

    /// Hands over what has come; true when there may be more at once.
    ///
    /// # Errors
    /// When the topic cannot be read further, or a record is not what `f` expects.
    pub fn poll(
        &mut self,
        mut f: impl FnMut(&MessageRef<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let (next, lost, topic) = (&mut self.next, &mut self.lost, &self.topic);
        let mut outcome = Ok(());
        let taken = self.consumer.poll(BATCH, |polled| match polled {
            Polled::Message(message) => {
                let next = &mut next[message.partition as usize];
                *lost += u64::try_from(message.offset - *next).unwrap_or(0);
                *next = message.offset + 1;
                if outcome.is_ok() {
                    let place = || format!("`{topic}` {}:{}", message.partition, message.offset);
                    outcome = f(&message).with_context(place);
                }
            }
            Polled::Eof { .. } => {}
            Polled::Error { error, .. } => outcome = Err(anyhow!("{error}{}", dropped(&error))),
        });
        outcome?;
        Ok(taken == BATCH)
    }

    /// The end of each partition now.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn ends(&self) -> anyhow::Result<Vec<i64>> {
        let latest = (0..self.next.len() as i32).map(|p| (p, StartOffset::Latest));
        let ends = self.consumer.resolve(&latest.collect::<Vec<_>>())?;
        Ok(ends.into_iter().map(|(_, end)| end).collect())
    }

    /// Whether all records before these ends have been handed over.
    pub fn is_past(&self, ends: &[i64]) -> bool {
        self.next.iter().zip(ends).all(|(next, end)| next >= end)
    }

    /// Records that were missing between two others.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Hands over all that is in the topic now.
    ///
    /// # Errors
    /// As for [`Tail::poll`], or when they have not come before `deadline`.
    pub fn read_to_end(
        &mut self,
        deadline: Instant,
        mut f: impl FnMut(&MessageRef<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let ends = self.ends()?;
        while !self.is_past(&ends) {
            if !self.poll(&mut f)? && !self.is_past(&ends) {
                if Instant::now() >= deadline {
                    bail!("topic `{}` was not read to its end in time", self.topic);
                }
                thread::park_timeout(LOOK);
            }
        }
        if self.lost > 0 {
            bail!("topic `{}` has lost {} records", self.topic, self.lost);
        }
        Ok(())
    }
}
