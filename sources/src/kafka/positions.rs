//! Where partitions are begun with, or gone on with.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tideflow_core::ResumePart;
use tideflow_core::kafka::{KafkaConfig, KafkaError};

use super::consumer::{BatchConsumer, StartOffset};
use super::source::{KafkaSourceConfig, Lost};

/// How soon the number of partitions is asked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// How many partitions the topic has: no fewer than the job has read of it. A broker that has just started
/// may not know all of them yet.
pub(super) fn partitions(
    kafka: &KafkaConfig,
    topic: &str,
    known: &BTreeMap<i32, ResumePart>,
) -> Result<usize, KafkaError> {
    let known = known.last_key_value().map_or(0, |(last, _)| *last as usize + 1);
    let deadline = Instant::now() + kafka.connect_timeout();
    loop {
        match kafka.partitions(topic)? {
            found if found >= known => return Ok(found),
            found if Instant::now() >= deadline => {
                return Err(KafkaError::PartitionsGone { topic: topic.to_string(), found, known });
            }
            _ => std::thread::park_timeout(AGAIN),
        }
    }
}

/// Where each of these partitions is read from, and what an earlier start knew of it. Of a source that none
/// has known, that is where the configuration says; a partition that has appeared since is read from its
/// beginning.
pub(super) fn positions(
    consumer: &BatchConsumer,
    config: &KafkaSourceConfig,
    own: &[i32],
    mut known: BTreeMap<i32, ResumePart>,
) -> Result<Vec<(i32, i64, Option<ResumePart>)>, KafkaError> {
    let start = if known.is_empty() { config.start.into() } else { StartOffset::Earliest };
    let at = |partitions: &[i32], what| partitions.iter().map(|p| (*p, what)).collect::<Vec<_>>();
    let (old, new): (Vec<i32>, Vec<i32>) = own.iter().partition(|p| known.contains_key(p));
    let mut found: BTreeMap<i32, (i64, Option<ResumePart>)> = consumer
        .resolve(&at(&new, start))?
        .into_iter()
        .map(|(partition, from)| (partition, (from, None)))
        .collect();
    let firsts = consumer.resolve(&at(&old, StartOffset::Earliest))?;
    let ends = consumer.resolve(&at(&old, StartOffset::Latest))?;
    for ((partition, first), (_, end)) in firsts.into_iter().zip(ends) {
        let part = known.remove(&partition).expect("an old one is known");
        let from = still_there(config, partition, part.from, first, end)?;
        found.insert(partition, (from, Some(part)));
    }
    Ok(found.into_iter().map(|(partition, (from, part))| (partition, from, part)).collect())
}

/// `offset`, if a partition that holds `first` to `end` can be read from there.
fn still_there(
    config: &KafkaSourceConfig,
    partition: i32,
    offset: i64,
    first: i64,
    end: i64,
) -> Result<i64, KafkaError> {
    let topic = config.topic.clone();
    match config.lost {
        _ if (first..=end).contains(&offset) => Ok(offset),
        // Where a topic ends before that, what is there now may be what was read before.
        Lost::Earliest if offset < first => {
            tracing::warn!(topic, partition, offset, first, end, "records are lost: going on");
            Ok(first)
        }
        _ => Err(KafkaError::OffsetsLost { topic, partition, offset, first, end }),
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::kafka::EmbeddedBroker;
    use tideflow_core::{Cuts, EventTime};

    use super::*;
    use crate::kafka::{Start, Until};

    fn config(lost: Lost) -> KafkaSourceConfig {
        KafkaSourceConfig {
            topic: "readings".to_string(),
            partitions: 0,
            start: Start::Earliest,
            lost,
            until: Until::Never,
            out_of_orderness_ms: 0,
            max_future_ms: 0,
            idle_after_ms: 1,
            max_ahead_ms: 1_000,
            refresh_ms: 1_000,
            queue_kb: 1_024,
            group: "tests".to_string(),
        }
    }

    #[test]
    fn fault_a_topic_with_fewer_partitions_than_were_read_is_refused() {
        let broker = EmbeddedBroker::start(&[("readings", 2)]).expect("it starts");
        let kafka =
            KafkaConfig { connect_timeout_ms: 300, ..KafkaConfig::plaintext(broker.brokers()) };
        let at = |known: &[i32]| {
            let part = || ResumePart { from: 7, watermark: EventTime(0), cuts: Cuts::default() };
            let known = known.iter().map(|partition| (*partition, part())).collect();
            partitions(&kafka, "readings", &known)
        };
        assert_eq!(at(&[]).expect("a first start"), 2);
        assert_eq!(at(&[0, 1]).expect("they are there"), 2);
        let told = at(&[0, 2]).expect_err("one is gone").to_string();
        let expected =
            "topic `readings` has 2 partitions, and the job has read 3: was it made anew?";
        assert_eq!(told, expected);
    }

    #[test]
    fn fault_lost_records_stop_a_job_with_partition_and_offsets_unless_it_may_go_on() {
        let at = |lost, offset| still_there(&config(lost), 3, offset, 10, 20);
        for offset in [10, 15, 20] {
            assert_eq!(at(Lost::Stop, offset).expect("it is there"), offset);
        }
        let told = at(Lost::Stop, 9).expect_err("it is deleted").to_string();
        let expected = "topic `readings` partition 3: the job goes on at offset 9, but there are only \
                        offsets 10 to 20: deleted by retention; with `lost = \"earliest\"` the source goes \
                        on without";
        assert_eq!(told, expected);
        for lost in [Lost::Stop, Lost::Earliest] {
            let told = at(lost, 21).expect_err("it ends before that").to_string();
            assert!(told.ends_with("was made anew, or the brokers have lost its end"), "{told}");
        }
        assert_eq!(at(Lost::Earliest, 9).expect("the first there is"), 10);
    }
}
