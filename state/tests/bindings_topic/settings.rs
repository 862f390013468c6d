//! The topic is made when missing, and refused when it could lose bindings.

use tideflow_core::ErrorKind;
use tideflow_core::kafka::{NewTopic, create_topics, describe_topic};
use tideflow_state::LogTopicError;

use super::*;

#[test]
fn a_missing_topic_is_made_to_keep_everything_and_found_again() {
    let broker = TestBroker::shared();
    let job = unique_name("job");
    for _ in 0..2 {
        let topic = BindingsTopic::open(&broker.config(), &job, ONE).unwrap();
        assert_eq!(topic.name(), format!("{job}.bindings"));
    }
    let found = describe_topic(&broker.config(), &format!("{job}.bindings")).unwrap();
    assert_eq!((found.partitions, found.replication), (1, 1));
    for (setting, value) in [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "false"),
    ] {
        assert_eq!(found.settings[setting], value, "{setting}");
    }
}

#[test]
fn a_topic_that_could_lose_bindings_is_refused_by_setting_expected_and_found() {
    let broker = TestBroker::shared();
    for (config, expected) in [
        (("cleanup.policy", "compact"), "`delete`"),
        (("cleanup.policy", "compact,delete"), "`delete`"),
        (("retention.ms", "604800000"), "`-1`"),
        (("retention.bytes", "1000000"), "`-1`"),
        (("max.message.bytes", "1000000"), "`1048588` or more"),
        (("unclean.leader.election.enable", "true"), "`false`"),
    ] {
        let job = unique_name("job");
        let name = format!("{job}.bindings");
        let topic = NewTopic { config: &[config], ..NewTopic::new(&name, 1) };
        create_topics(&broker.config(), &[topic]).unwrap();
        let error = BindingsTopic::open(&broker.config(), &job, ONE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let (setting, found) = config;
        // The broker has its own order of the two policies.
        let [one, other] = [found.to_string(), "delete,compact".to_string()];
        let says = |found| format!("topic `{name}` has {setting} `{found}`, expected {expected}: ");
        let error = error.to_string();
        assert!(error.starts_with(&says(one)) || error.starts_with(&says(other)), "{error}");
    }
}

#[test]
fn a_topic_of_two_partitions_is_refused() {
    let broker = TestBroker::shared();
    let job = unique_name("job");
    let name = format!("{job}.bindings");
    create_topics(&broker.config(), &[NewTopic::new(&name, 2)]).unwrap();
    let error = BindingsTopic::open(&broker.config(), &job, ONE).unwrap_err().to_string();
    let expected = format!("topic `{name}` has partitions `2`, expected `1`: ");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn copies_that_never_acknowledge_are_refused() {
    let copies = Copies { replication: 1, insync_min: 2 };
    let config = tideflow_core::kafka::KafkaConfig::plaintext("h:1");
    let error = BindingsTopic::open(&config, "job", copies).unwrap_err();
    assert!(matches!(error, LogTopicError::Copies { replication: 1, insync_min: 2 }), "{error}");
}
