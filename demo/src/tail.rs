//! Reading a result topic back, as any program could: with librdkafka's consumer, and none of what the graph
//! itself reads with.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset, TopicPartitionList};
use tideflow::core::kafka::{ClientLog, KafkaConfig, Role};

use crate::broker::DROPPED;

/// Records taken in one turn.
const BATCH: usize = 1024;
/// Kilobytes fetched ahead.
const QUEUE_KB: u32 = 16_384;
/// The longest wait between two looks, should a wake-up be missed.
const LOOK: Duration = Duration::from_millis(50);

/// One topic, read from its beginning by an ordinary consumer.
pub struct Tail {
    topic: String,
    consumer: BaseConsumer<ClientLog>,
    partitions: Vec<Partition>,
    gaps: u64,
}

#[derive(Clone, Copy, Default)]
struct Partition {
    /// The offset of the next record.
    next: i64,
    /// Whether all that is there has been handed over since it was last asked.
    at_end: bool,
}

impl Tail {
    /// A reader of all partitions; `reader` is unparked when records have come.
    ///
    /// # Errors
    /// When the topic is not there.
    pub fn new(kafka: &KafkaConfig, topic: &str, reader: Thread) -> anyhow::Result<Tail> {
        let count = kafka.partitions(topic)?;
        let role = Role::Consumer { group: "demo-reader", queue_kb_max: QUEUE_KB };
        let log = ClientLog::new("demo-reader");
        let mut consumer: BaseConsumer<_> = kafka.client(role)?.create_with_context(log)?;
        consumer.set_nonempty_callback(move || reader.unpark());
        let partitions = vec![Partition::default(); count];
        let tail = Tail { topic: topic.to_string(), consumer, partitions, gaps: 0 };
        tail.assign()?;
        Ok(tail)
    }

    fn assign(&self) -> anyhow::Result<()> {
        let mut from = TopicPartitionList::new();
        for (number, partition) in (0..).zip(&self.partitions) {
            from.add_partition_offset(&self.topic, number, Offset::Offset(partition.next))?;
        }
        Ok(self.consumer.assign(&from)?)
    }

    /// Hands over what has come; true when there may be more at once.
    ///
    /// # Errors
    /// When the topic cannot be read further, or a record is not what `f` expects.
    pub fn poll(
        &mut self,
        mut f: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        for _ in 0..BATCH {
            match self.consumer.poll(Duration::ZERO) {
                None => return Ok(false),
                Some(Ok(message)) => {
                    let (number, offset) = (message.partition(), message.offset());
                    let partition = &mut self.partitions[number as usize];
                    self.gaps += u64::try_from(offset - partition.next).unwrap_or(0);
                    partition.next = offset + 1;
                    f(&message).with_context(|| format!("`{}` {number}:{offset}", self.topic))?;
                }
                Some(Err(RdError::PartitionEOF(number))) => {
                    self.partitions[number as usize].at_end = true;
                }
                Some(Err(error)) => self.bear(&error)?,
            }
        }
        Ok(true)
    }

    /// What librdkafka deals with itself is borne.
    fn bear(&self, error: &RdError) -> anyhow::Result<()> {
        use RDKafkaErrorCode::{AllBrokersDown, AutoOffsetReset, BrokerTransportFailure};
        let told = |more: &str| Err(anyhow!("topic `{}`: {error}{more}", self.topic));
        match error.rdkafka_error_code() {
            Some(BrokerTransportFailure | AllBrokersDown) => Ok(()),
            Some(AutoOffsetReset) => told(DROPPED),
            _ => told(""),
        }
    }

    /// Asks to be told anew when all that is there has been handed over.
    ///
    /// # Errors
    /// When the consumer refuses.
    pub fn look_for_ends(&mut self) -> anyhow::Result<()> {
        self.partitions.iter_mut().for_each(|partition| partition.at_end = false);
        self.assign()
    }

    /// Whether all that was there when [`Tail::look_for_ends`] was called has been handed over.
    pub fn is_at_its_ends(&self) -> bool {
        self.partitions.iter().all(|partition| partition.at_end)
    }

    /// Offsets between two records that had none: lost, or the marks of transactions.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Hands over all that is in the topic now, which was written without transactions.
    ///
    /// # Errors
    /// As for [`Tail::poll`], when records are missing, or have not come before `deadline`.
    pub fn read_to_end(
        &mut self,
        deadline: Instant,
        mut f: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.look_for_ends()?;
        while !self.is_at_its_ends() {
            if !self.poll(&mut f)? && !self.is_at_its_ends() {
                if Instant::now() >= deadline {
                    bail!("topic `{}` was not read to its end in time", self.topic);
                }
                thread::park_timeout(LOOK);
            }
        }
        match self.gaps {
            0 => Ok(()),
            gaps => bail!("topic `{}` has lost {gaps} records", self.topic),
        }
    }
}
