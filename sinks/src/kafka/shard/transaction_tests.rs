//! What no broker of ours does when asked: librdkafka's own stands in.

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tideflow_core::kafka::KafkaConfig;

use super::*;
use crate::kafka::Record;
use crate::kafka::shard::{Note, ShardConfig};

const TIMEOUT_MS: u32 = 3_000;

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("progress", 1, 1).unwrap();
    cluster.create_topic("output", 1, 1).unwrap();
    cluster
}

fn fence(cluster: &Cluster) -> Result<Shard, ShardError> {
    let config = ShardConfig {
        transactional_id: "job-0".to_string(),
        progress_topic: "progress".to_string(),
        shard: 0,
        generation: 1,
        timeout_ms: TIMEOUT_MS,
    };
    Shard::fence(&KafkaConfig::plaintext(cluster.bootstrap_servers()), &config, || false)
}

/// Begins, produces and commits.
fn publish(owner: &mut Shard, give_up: impl Fn() -> bool) -> Result<(), ShardError> {
    let output = owner.topic("output").unwrap();
    owner.begin()?;
    let record = Record { partition: 0, key: None, value: Some(b"x") };
    owner.produce_batch(&output, [record].into_iter(), || false)?;
    owner.commit(&[Note::Published(1)], give_up)
}

#[test]
fn fault_a_transactional_id_that_is_not_ours_to_use_is_named() {
    let cluster = cluster();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refused; 20]);
    let error = fence(&cluster).err().unwrap();
    assert!(matches!(&error, ShardError::Authorization { id, .. } if id == "job-0"), "{error}");
    assert_eq!(error.kind(), tideflow_core::ErrorKind::Invalid);
}

#[test]
fn fault_a_topic_that_may_not_be_written_aborts_and_says_why() {
    let cluster = cluster();
    let mut owner = fence(&cluster).unwrap();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[refused]);
    let error = publish(&mut owner, || false).unwrap_err();
    let why = Code::TopicAuthorizationFailed.to_string();
    let ShardError::Aborted { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("TOPIC_AUTHORIZATION_FAILED"), "{reason} {why}");
    assert!(!owner.is_open());
}

#[test]
fn a_commit_that_is_refused_for_now_is_made_when_it_no_longer_is() {
    let cluster = cluster();
    let mut owner = fence(&cluster).unwrap();
    let busy = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::EndTxn, &[busy; 3]);
    publish(&mut owner, || false).unwrap();
}

#[test]
fn fault_a_commit_without_an_answer_is_neither_done_nor_undone() {
    let cluster = cluster();
    let mut owner = fence(&cluster).unwrap();
    let output = owner.topic("output").unwrap();
    owner.begin().unwrap();
    let record = Record { partition: 0, key: None, value: Some(b"x") };
    owner.produce_batch(&output, [record].into_iter(), || false).unwrap();
    while !owner.producer.flush_slice().unwrap() {}
    let timeout = Duration::from_millis(TIMEOUT_MS.into());
    cluster.broker_round_trip_time(1, timeout + Duration::from_millis(300)).unwrap();
    let error = owner.commit(&[], || false).unwrap_err();
    assert!(matches!(error, ShardError::Unknown { .. }), "{error}");
    // The answer comes after all, to a producer that is still there: librdkafka ends the process over it where
    // the commit was asked for again.
    std::thread::park_timeout(Duration::from_secs(1));
}

#[test]
fn fault_records_that_do_not_leave_are_given_up_and_not_committed() {
    let cluster = cluster();
    let mut owner = fence(&cluster).unwrap();
    let output = owner.topic("output").unwrap();
    cluster.broker_down(1).unwrap();
    owner.begin().unwrap();
    let record = Record { partition: 0, key: None, value: Some(b"x") };
    owner.produce_batch(&output, [record].into_iter(), || false).unwrap();
    let error = owner.commit(&[Note::Published(1)], || true).unwrap_err();
    let given_up = matches!(&error, ShardError::Aborted { reason, .. } if reason.contains("given"));
    assert!(given_up, "{error}");
}

#[test]
fn fault_a_fence_while_committing_is_told() {
    let cluster = cluster();
    let mut owner = fence(&cluster).unwrap();
    let fenced = RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED;
    cluster.request_errors(RDKafkaApiKey::EndTxn, &[fenced]);
    let error = publish(&mut owner, || false).unwrap_err();
    assert!(matches!(error, ShardError::Superseded { timeout_ms: TIMEOUT_MS, .. }), "{error}");
}

#[test]
fn a_transaction_that_outlived_its_timeout_says_so() {
    let error = |open_ms| ShardError::Superseded { id: "j".into(), open_ms, timeout_ms: 30_000 };
    assert_eq!(error(29_999).to_string(), "transactional id `j` was taken over by another process");
    assert_eq!(
        error(31_000).to_string(),
        "transactional id `j` was taken over by another process, or its transaction ended by the brokers: open for 31000 ms of 30000 ms"
    );
}
