use super::*;
use crate::Secret;
use crate::kafka::testing::{SecureBroker, TestBroker, unique_name};
use crate::kafka::{EmbeddedBroker, SaslMechanism, Security};

#[test]
fn a_topic_is_made_with_its_partitions_and_only_once() {
    let broker = TestBroker::shared();
    let name = unique_name("made");
    let topic = NewTopic { config: &[("retention.ms", "-1")], ..NewTopic::new(&name, 3) };
    create_topics(&broker.config(), std::slice::from_ref(&topic)).unwrap();
    assert_eq!(broker.config().partitions(&name).unwrap(), 3);
    let error = create_topics(&broker.config(), &[topic]).unwrap_err();
    assert!(matches!(&error, KafkaError::TopicExists { topic } if *topic == name), "{error}");
}

#[test]
fn a_topic_gets_further_partitions_and_never_fewer() {
    let broker = TestBroker::shared();
    let name = broker.topic("grown", 1);
    add_partitions(&broker.config(), &name, 3).unwrap();
    assert_eq!(broker.config().partitions(&name).unwrap(), 3);
    let error = add_partitions(&broker.config(), &name, 2).unwrap_err().to_string();
    assert!(error.starts_with(&format!("adding partitions to topic `{name}`: ")), "{error}");
}

#[test]
fn a_missing_topic_is_named_and_not_made() {
    let broker = TestBroker::shared();
    let name = unique_name("missing");
    for _ in 0..2 {
        let error = broker.config().partitions(&name).unwrap_err();
        let expected = format!("topic `{name}` does not exist on `{}`", broker.brokers());
        assert_eq!((error.to_string(), error.kind()), (expected, ErrorKind::Invalid));
    }
}

#[test]
fn fault_a_deleted_topic_is_found_by_asking() {
    let broker = TestBroker::shared();
    let name = broker.topic("deleted", 2);
    broker.delete_topic(&name);
    let deadline = Instant::now() + Duration::from_secs(30);
    while broker.config().partitions(&name).is_ok() {
        assert!(Instant::now() < deadline, "the topic is still there");
    }
    let error = broker.config().partitions(&name).unwrap_err();
    assert!(matches!(error, KafkaError::TopicMissing { .. }), "{error}");
}

#[test]
fn fault_an_unreachable_broker_is_told_within_the_deadline() {
    // A bound port that nobody serves: connections are refused as soon as the listener is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let brokers = format!("127.0.0.1:{port}");
    let config = KafkaConfig { connect_timeout_ms: 1_200, ..KafkaConfig::plaintext(&brokers) };
    let since = Instant::now();
    let error = config.reachable().unwrap_err();
    let took = since.elapsed();
    assert!((1_100..2_500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("no broker of `{brokers}` answered within 1200 ms: ")),
        "{text}"
    );
    assert!(text.contains("Connection refused"), "{text}");
}

#[test]
fn encrypted_brokers_are_reached_with_every_login() {
    use SaslMechanism::{Plain, ScramSha256, ScramSha512};
    let secure = SecureBroker::start();
    let topic = secure.broker.topic("secure", 2);
    assert_eq!(secure.tls().partitions(&topic).unwrap(), 2);
    for mechanism in [Plain, ScramSha256, ScramSha512] {
        let good = secure.sasl(mechanism);
        good.validate().unwrap();
        assert_eq!(good.partitions(&topic).unwrap(), 2);

        let wrong = KafkaConfig { sasl_password: Secret::new("hunter2"), ..good };
        let error = wrong.partitions(&topic).unwrap_err();
        assert!(matches!(error, KafkaError::Authentication { .. }), "{mechanism:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let short = |config| KafkaConfig { connect_timeout_ms: 2_000, ..config };
    let stranger = KafkaConfig { tls_ca_file: Default::default(), ..secure.tls() };
    let error = short(stranger).reachable().unwrap_err();
    assert!(matches!(error, KafkaError::Untrusted { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("certificate verify failed"), "{error}");
    let plain = TestBroker::shared().config();
    let secured = KafkaConfig { security: Security::Tls, ..plain };
    let error = short(secured).reachable().unwrap_err().to_string();
    assert!(error.ends_with("is `security` what the broker expects?"), "{error}");
    let open = KafkaConfig::plaintext(secure.tls().brokers);
    let error = short(open).reachable().unwrap_err().to_string();
    assert!(error.ends_with("is `security` what the broker expects?"), "{error}");
}

#[test]
fn the_embedded_broker_has_its_topics_and_no_others() {
    let broker = EmbeddedBroker::start(&[("a", 1), ("b", 4)]).unwrap();
    let config = KafkaConfig::plaintext(broker.brokers());
    config.reachable().unwrap();
    assert_eq!((config.partitions("a").unwrap(), config.partitions("b").unwrap()), (1, 4));
    let error = config.partitions("c").unwrap_err();
    assert!(matches!(error, KafkaError::TopicMissing { .. }), "{error}");
}

#[test]
fn the_embedded_broker_can_move_between_threads() {
    fn moves<T: Send + Sync>() {}
    moves::<EmbeddedBroker>();
}

#[test]
fn a_partition_without_a_leader_is_asked_about_again_until_the_time_is_over() {
    let none = || RdError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition);
    let mut asked = 0;
    let answer = while_away(Duration::from_secs(60), |_| {
        asked += 1;
        if asked < 3 { Err(none()) } else { Ok(asked) }
    });
    assert_eq!(answer.unwrap(), 3);
    let late = while_away(Duration::from_millis(50), |_| Err::<(), _>(none()));
    assert_eq!(late, Err(none()));
    let wrong = RdError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
    let refused = while_away(Duration::from_secs(60), |_| Err::<(), _>(wrong.clone()));
    assert_eq!(refused, Err(wrong));
}
