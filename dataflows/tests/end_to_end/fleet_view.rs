//! `fleet_view`: its topics, and what it refuses.

use std::path::{Path, PathBuf};
use std::process::Command;

use tideflow::core::kafka::testing::{TestBroker, unique_name};
use tideflow::core::kafka::{KafkaConfig, NewTopic, create_topics};

use crate::crash::start::Killed;
use crate::crash::view::View;
use crate::program::{of, run};
use crate::python::python;
use crate::topics::{dump, read};

/// Topics that keep of each key what was said last, and for a day what was said before.
const COMPACTED: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "86400000")];

/// The topics of one fleet.
pub struct Fleet {
    pub kafka: KafkaConfig,
    pub registry: String,
    pub readings: String,
    pub sites: String,
    pub regions: String,
    pub rejects: String,
}

impl Fleet {
    /// Partitions of its inputs.
    pub const PARTITIONS: usize = 4;

    /// New topics.
    pub fn new(broker: &TestBroker) -> Fleet {
        let registry = broker.topic_with("registry", Self::PARTITIONS, COMPACTED);
        Fleet::reading(broker, &registry, &broker.topic("readings", Self::PARTITIONS))
    }

    /// New topics for a further job over the same inputs.
    pub fn reading(broker: &TestBroker, registry: &str, readings: &str) -> Fleet {
        Fleet {
            kafka: broker.config(),
            registry: registry.to_string(),
            readings: readings.to_string(),
            sites: broker.topic_with("sites", 3, COMPACTED),
            regions: broker.topic_with("regions", 3, COMPACTED),
            rejects: broker.topic("rejects", 1),
        }
    }

    /// `fleet_view ACTION` with these topics.
    pub fn program(&self, action: &str) -> Command {
        let mut command = of(Path::new(env!("CARGO_BIN_EXE_fleet_view")), &[action]);
        for (key, value) in [
            ("kafka.brokers", &self.kafka.brokers),
            ("registry.topic", &self.registry),
            ("readings.topic", &self.readings),
            ("topics.sites", &self.sites),
            ("topics.regions", &self.regions),
            ("topics.rejects", &self.rejects),
        ] {
            command.arg(format!("--{key}={value}"));
        }
        command
    }
}

#[test]
fn oracle_changelogs_say_after_every_cut_what_is_recomputed_in_records_as_their_schemas_say() {
    let view = View::shared();
    view.start((1, 2)).end_well();
    view.check();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut files = Vec::new();
    for (name, topic) in [("sites", &view.fleet.sites), ("regions", &view.fleet.regions)] {
        let mut records = read(&view.fleet.kafka, topic);
        let all = records.len();
        records.retain(|record| record.value.is_some());
        println!("{name}: {all} records, {} of them tombstones", all - records.len());
        assert!(name == "regions" || records.len() < all, "the site of one device has gone");
        let path = folder.path().join(name);
        dump(&path, &records);
        files.extend([schemas.join(format!("{name}.json")), path]);
    }
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    println!("{}", python("conform.py", &files));
}

#[test]
fn a_registry_that_is_compacted_too_soon_is_refused_with_its_setting() {
    let broker = TestBroker::shared();
    let registry = unique_name("registry");
    let config = &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "1000")];
    create_topics(&broker.config(), &[NewTopic { config, ..NewTopic::new(&registry, 1) }])
        .unwrap_or_else(|error| panic!("{error}"));
    let fleet = Fleet { registry, ..Fleet::new(broker) };
    let check = |away: u64| {
        let mut command = fleet.program("check");
        run(command.arg(format!("--registry.away_max_ms={away}")))
    };
    let ended = check(60_000);
    let expected = "expected `min.compaction.lag.ms` of 60000 (`away_max_ms`) at least, found 1000";
    assert!(ended.code == 2 && (ended.out + &ended.err).contains(expected), "{}", ended.err);
    for good in [1_000, 0] {
        let ended = check(good);
        ended.with_code(0);
    }
}
