//! A topic that says of each key what its value is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tideflow_core::kafka::{KafkaConfig, describe_topic};
use tideflow_core::{Check, CheckFailure, ErrorKind};

use super::{KafkaSourceConfig, Lost, Start, Until};

/// How such a topic is read: from its beginning, since what it says first holds until it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaTableConfig {
    /// The topic.
    pub topic: String,
    /// The number of partitions it must have; 0 takes what is there.
    #[serde(default)]
    pub partitions: usize,
    /// What to do where the offsets to go on at are not there any more: `stop`, or go on with the
    /// `earliest` that are.
    #[serde(default)]
    pub lost: Lost,
    /// Where reading ends: `never`, or `end` for what was there at the start.
    #[serde(default)]
    pub until: Until,
    /// How long the job may be stopped, or be behind, and still go on exactly, in milliseconds; 0 does not
    /// look whether the topic's settings allow that.
    pub away_max_ms: u64,
    /// How often new partitions are looked for, in milliseconds.
    pub refresh_ms: u64,
    /// What a worker fetches ahead, in kilobytes.
    pub queue_kb: u32,
    /// The name that lag tools know the job by.
    pub group: String,
}

impl KafkaTableConfig {
    /// The same as that of a topic of records with a time, of which nothing that is about time matters.
    pub(super) fn as_source(&self) -> KafkaSourceConfig {
        let KafkaTableConfig {
            topic, partitions, lost, until, refresh_ms, queue_kb, group, ..
        } = self.clone();
        KafkaSourceConfig {
            topic,
            partitions,
            start: Start::Earliest,
            lost,
            until,
            out_of_orderness_ms: 0,
            max_future_ms: 0,
            idle_after_ms: 0,
            max_ahead_ms: 0,
            refresh_ms,
            queue_kb,
            group,
        }
    }

    /// Checks, after another check, that the topic keeps its past for long enough.
    pub(super) fn compaction_check(&self, kafka: &KafkaConfig, after: &Check) -> Option<Check> {
        let (kafka, topic, least) = (kafka.clone(), self.topic.clone(), self.away_max_ms);
        let run = move || {
            let failure = |kind, message| CheckFailure { kind, message };
            let found = describe_topic(&kafka, &topic)
                .map_err(|error| failure(error.kind(), error.to_string()))?;
            match too_short(&found.settings, least) {
                None => Ok(format!("all entries, and the past for {least} ms")),
                Some(message) => Err(failure(ErrorKind::Invalid, message)),
            }
        };
        (least > 0).then(|| Check {
            what: format!("what topic `{}` keeps", self.topic),
            key: format!("compaction {least} {}", after.key),
            after: Some(after.key.clone()),
            advisory: false,
            run: Box::new(run),
        })
    }
}

/// Which setting has a topic forget the entry of a key, or a compacted one an older entry within `least`
/// milliseconds.
///
/// Epochs that were published and come after the last snapshot are read again after a crash. If an entry
/// has been compacted away since, the group that had it for an epoch would keep it for ever; and a
/// tombstone that is gone is never heard of.
fn too_short(settings: &BTreeMap<String, String>, least: u64) -> Option<String> {
    let policy = settings.get("cleanup.policy")?;
    let limits = ["retention.ms", "retention.bytes"].into_iter();
    let mut limits = limits.filter_map(|name| Some((name, settings.get(name)?)));
    if policy.contains("delete")
        && let Some((name, found)) = limits.find(|(_, found)| *found != "-1")
    {
        return Some(format!("expected `{name}` of -1, found {found}: entries would be deleted"));
    }
    if !policy.contains("compact") {
        return None;
    }
    let short = |name: &str| {
        let found = settings.get(name)?;
        let short = found.parse().is_ok_and(|found: u64| found < least);
        short.then(|| {
            format!("expected `{name}` of {least} (`away_max_ms`) at least, found {found}")
        })
    };
    short("min.compaction.lag.ms").or_else(|| short("delete.retention.ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(policy: &str, lag: &str, tombstones: &str) -> Option<String> {
        let settings = [
            ("cleanup.policy", policy),
            ("min.compaction.lag.ms", lag),
            ("delete.retention.ms", tombstones),
        ];
        let settings = settings.map(|(name, value)| (name.to_string(), value.to_string()));
        too_short(&settings.into(), 1_000)
    }

    #[test]
    fn a_topic_that_forgets_too_soon_is_refused_by_its_setting() {
        assert_eq!(refused("compact", "1000", "1000"), None);
        assert_eq!(refused("delete", "0", "0"), None);
        let expected = "expected `min.compaction.lag.ms` of 1000 (`away_max_ms`) at least, found 0";
        assert_eq!(refused("compact", "0", "1000").as_deref(), Some(expected));
        let found = refused("compact,delete", "1000", "999").expect("too short");
        assert!(found.contains("`delete.retention.ms`"), "{found}");
        let settings = [("cleanup.policy", "delete"), ("retention.ms", "3600000")];
        let settings = settings.map(|(name, value)| (name.to_string(), value.to_string()));
        let expected = "expected `retention.ms` of -1, found 3600000: entries would be deleted";
        assert_eq!(too_short(&settings.into(), 1_000).as_deref(), Some(expected));
    }
}
