//! Where partitions are begun with, or gone on with.

use std::collections::BTreeMap;

use tideflow_core::kafka::KafkaError;
use tideflow_core::{Resume, ResumePart};

use super::consumer::{BatchConsumer, StartOffset};
use super::source::{KafkaSourceConfig, Lost};

/// Where each of these partitions is read from, and what an earlier start knew of it. On a first start that
/// is where the configuration says; a partition that has appeared since is read from its beginning.
pub(super) fn positions(
    consumer: &BatchConsumer,
    config: &KafkaSourceConfig,
    own: &[i32],
    name: &str,
    resume: &Resume,
) -> Result<Vec<(i32, i64, Option<ResumePart>)>, KafkaError> {
    let mut known = resume.partitions(name);
    let start = if resume.last() == 0 { config.start.into() } else { StartOffset::Earliest };
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
        Lost::Stop => Err(KafkaError::OffsetsLost { topic, partition, offset, first, end }),
        Lost::Earliest => {
            tracing::warn!(topic, partition, offset, first, end, "records are lost: going on");
            Ok(first)
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn fault_lost_records_stop_a_job_with_partition_and_offsets_unless_it_may_go_on() {
        let at = |lost, offset| still_there(&config(lost), 3, offset, 10, 20);
        for offset in [10, 15, 20] {
            assert_eq!(at(Lost::Stop, offset).expect("it is there"), offset);
        }
        let told = at(Lost::Stop, 9).expect_err("it is deleted").to_string();
        let expected = "topic `readings` partition 3: the job goes on at offset 9, but there are only \
                        offsets 10 to 20: deleted by retention, or the topic was made anew";
        assert_eq!(told, expected);
        assert!(at(Lost::Stop, 21).is_err());
        assert_eq!(at(Lost::Earliest, 9).expect("the first there is"), 10);
    }
}
