//! Where a consumer reads: from which offsets, which partitions, and how far it has come.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError as RdError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tideflow_core::ErrorKind;
use tideflow_core::kafka::KafkaError;

use super::BatchConsumer;

/// One request for offsets, before it is asked again.
const QUESTION: Duration = Duration::from_millis(1_000);

/// Between two requests.
const AGAIN: Duration = Duration::from_millis(20);

/// Where to begin to read a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOffset {
    /// At the oldest record there is.
    Earliest,
    /// Behind the newest record there is.
    Latest,
    /// At the first record with this Kafka timestamp, in milliseconds since 1970, or a later one;
    /// behind the newest record where none is.
    Timestamp(i64),
}

impl BatchConsumer {
    /// Turns the start of each partition into an offset, so that where a job began is a fact and
    /// not a race with what is being written. Each partition once. Waits for the brokers at most
    /// `connect_timeout_ms`.
    ///
    /// With transactions `Latest` is behind the newest record that can be read.
    pub fn resolve(&self, starts: &[(i32, StartOffset)]) -> Result<Vec<(i32, i64)>, KafkaError> {
        let ends = self.ask(starts, |start| match start {
            StartOffset::Earliest => Some(Offset::Beginning),
            // The end is asked first: a record that comes between the questions is found by time.
            StartOffset::Latest | StartOffset::Timestamp(_) => Some(Offset::End),
        })?;
        let times = self.ask(starts, |start| match start {
            StartOffset::Timestamp(ms) => Some(Offset::Offset(ms.max(0))),
            _ => None,
        })?;
        let (mut ends, mut times) = (ends.into_iter(), times.into_iter());
        let mut resolve_one = |start| match start {
            StartOffset::Earliest | StartOffset::Latest => ends.next().flatten(),
            StartOffset::Timestamp(_) => {
                let end = ends.next().flatten();
                times.next().flatten().or(end)
            }
        };
        let resolved = starts.iter().map(|(partition, start)| {
            let offset = resolve_one(*start).ok_or_else(|| KafkaError::Client {
                doing: format!("looking up offsets of topic `{}`", self.topic),
                reason: format!("no answer for partition {partition}"),
                kind: ErrorKind::Unavailable,
            })?;
            Ok((*partition, offset))
        });
        resolved.collect()
    }

    /// Asks about those partitions for which `what` says so: an offset each, `None` where no
    /// record is late enough.
    fn ask(
        &self,
        starts: &[(i32, StartOffset)],
        what: impl Fn(StartOffset) -> Option<Offset>,
    ) -> Result<Vec<Option<i64>>, KafkaError> {
        let asked: Vec<_> =
            starts.iter().filter_map(|(p, start)| Some((*p, what(*start)?))).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let since = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(since.elapsed());
            let answer = self
                .consumer
                .offsets_for_times(self.list(&asked)?, left.min(QUESTION))
                .and_then(|list| {
                    let answers = asked.iter().map(|(partition, _)| {
                        let one = list.find_partition(&self.topic, *partition);
                        let one = one.ok_or(RdError::MetadataFetch(RDKafkaErrorCode::Fail))?;
                        one.error()?;
                        Ok(one.offset().to_raw().filter(|offset| *offset >= 0))
                    });
                    answers.collect::<Result<Vec<_>, RdError>>()
                });
            self.hear();
            let log = self.consumer.context();
            if let Some(reason) = log.refused_login() {
                return Err(KafkaError::Authentication { brokers: self.brokers.clone(), reason });
            }
            match answer {
                Ok(offsets) => return Ok(offsets),
                Err(error) => match self.failed("looking up offsets of", &error) {
                    KafkaError::Client { kind: ErrorKind::Unavailable, reason, .. } => {
                        if left.is_zero() {
                            let last = log.last_error().unwrap_or(reason);
                            let (brokers, after) = (self.brokers.clone(), self.timeout);
                            let after_ms = after.as_millis() as u64;
                            return Err(KafkaError::Unreachable { brokers, after_ms, last });
                        }
                        std::thread::park_timeout(AGAIN.min(left));
                    }
                    other => return Err(other),
                },
            }
        }
    }

    /// Reads these partitions and no others from now on, each from an offset.
    pub fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let list = self.list(&offsets(positions))?;
        self.consumer.assign(&list).map_err(|error| self.failed("assigning", &error))
    }

    /// Reads these partitions too.
    pub fn incremental_assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let list = self.list(&offsets(positions))?;
        self.consumer.incremental_assign(&list).map_err(|error| self.failed("assigning", &error))
    }

    /// Stops reading these partitions; nothing of them comes out of the next poll.
    ///
    /// Not librdkafka's own pause: after a partition's end was told, that goes on one offset too far,
    /// because a batch counts the end as a record.
    pub fn pause(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let list = self.list(&anywhere(partitions))?;
        self.consumer.incremental_unassign(&list).map_err(|error| self.failed("pausing", &error))
    }

    /// Goes on with paused partitions, each from an offset.
    pub fn resume(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        self.incremental_assign(positions)
    }

    /// Tells the end of these partitions anew once a broker has answered for it: otherwise it is told
    /// once. Reads on from the offsets given; what was fetched ahead of them is fetched again.
    pub fn ask_for_ends(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let partitions: Vec<i32> = positions.iter().map(|(partition, _)| *partition).collect();
        self.pause(&partitions)?;
        self.resume(positions)
    }

    /// How many offsets lie between `position` and the partition's end, as of the last fetch.
    pub fn lag(&self, partition: i32, position: i64) -> Option<u64> {
        self.high_watermark(partition).map(|high| high.saturating_sub(position).max(0) as u64)
    }

    /// Commits the next offset of each partition under the group's name, for tools that show lag;
    /// nothing here reads it back. Does not wait, and a failure is only logged.
    pub fn commit_for_lag_tools(&mut self, positions: &[(i32, i64)]) {
        let committed = self.list(&offsets(positions)).and_then(|list| {
            let result = self.consumer.commit(&list, CommitMode::Async);
            result.map_err(|error| self.failed("committing", &error))
        });
        if let Err(error) = committed {
            self.consumer.context().log(RDKafkaLogLevel::Debug, "COMMIT", &error.to_string());
        }
    }

    pub(super) fn list(
        &self,
        positions: &[(i32, Offset)],
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, *partition, *offset)
                .map_err(|error| self.failed("naming partitions of", &error))?;
        }
        Ok(list)
    }

    fn failed(&self, doing: &str, error: &RdError) -> KafkaError {
        use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
        match error.rdkafka_error_code() {
            Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition) => {
                let (topic, brokers) = (self.topic.clone(), self.brokers.clone());
                KafkaError::TopicMissing { topic, brokers }
            }
            _ => KafkaError::client(format!("{doing} topic `{}`", self.topic), error),
        }
    }
}

fn offsets(positions: &[(i32, i64)]) -> Vec<(i32, Offset)> {
    positions.iter().map(|(partition, offset)| (*partition, Offset::Offset(*offset))).collect()
}

fn anywhere(partitions: &[i32]) -> Vec<(i32, Offset)> {
    partitions.iter().map(|partition| (*partition, Offset::Invalid)).collect()
}
