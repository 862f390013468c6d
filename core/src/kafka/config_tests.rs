use super::*;

fn sasl() -> KafkaConfig {
    KafkaConfig {
        security: Security::SaslPlaintext,
        sasl_username: "me".into(),
        sasl_password: Secret::new("hunter2"),
        ..KafkaConfig::plaintext("h:1")
    }
}

fn refused(config: KafkaConfig) -> String {
    config.validate().expect_err("must be refused").to_string()
}

fn option(key: &str, value: &str) -> KafkaConfig {
    let options = BTreeMap::from([(key.to_string(), value.to_string())]);
    KafkaConfig { options, ..KafkaConfig::plaintext("h:1") }
}

#[test]
fn the_least_configuration_is_the_brokers() {
    KafkaConfig::plaintext("h:1,i:2").validate().unwrap();
    assert_eq!(
        refused(KafkaConfig::default()),
        "`brokers` is not set, expected `host:port` of at least one broker"
    );
}

#[test]
fn a_login_needs_name_and_password_and_sasl() {
    sasl().validate().unwrap();
    let error = refused(KafkaConfig { sasl_username: String::new(), ..sasl() });
    assert_eq!(
        error,
        "`sasl_username` is not set, expected a value, since `security` is `sasl_plaintext`"
    );
    let error = refused(KafkaConfig { sasl_password: Secret::default(), ..sasl() });
    assert!(error.starts_with("`sasl_password` is not set"), "{error}");
    let error = refused(KafkaConfig { security: Security::Tls, ..sasl() });
    assert_eq!(
        error,
        "`sasl_username` is set but `security` is `tls`, expected `sasl_plaintext` or `sasl_tls`"
    );
}

#[test]
fn tls_files_must_exist_go_together_and_need_tls() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "").unwrap();
    let tls = KafkaConfig { security: Security::Tls, ..KafkaConfig::plaintext("h:1") };
    KafkaConfig { tls_ca_file: file.clone(), ..tls.clone() }.validate().unwrap();

    let error = refused(KafkaConfig { tls_ca_file: "/no/such.pem".into(), ..tls.clone() });
    assert!(error.starts_with("`tls_ca_file`: reading `/no/such.pem`: "), "{error}");
    let error = refused(KafkaConfig { tls_ca_file: folder.path().into(), ..tls.clone() });
    assert!(error.ends_with("not a file"), "{error}");
    let error = refused(KafkaConfig { tls_cert_file: file.clone(), ..tls.clone() });
    assert!(error.starts_with("`tls_key_file` is not set"), "{error}");
    let error = refused(KafkaConfig { tls_key_file: file.clone(), ..tls });
    assert!(error.starts_with("`tls_cert_file` is not set"), "{error}");
    let error = refused(KafkaConfig { tls_ca_file: file, ..KafkaConfig::plaintext("h:1") });
    assert_eq!(
        error,
        "`tls_ca_file` is set but `security` is `plaintext`, expected `tls` or `sasl_tls`"
    );
}

#[test]
fn raw_options_are_refused_by_key_name_or_value() {
    option("compression.type", "zstd").validate().unwrap();
    assert_eq!(
        refused(option("sasl.password", "hunter2")),
        "`options` must not set `sasl.password`: set `sasl_password`"
    );
    let error = refused(option("topic.acks", "1"));
    assert!(error.starts_with("`options` must not set `topic.acks`: fixed"), "{error}");
    let error = refused(option("compresion.type", "zstd"));
    assert!(error.starts_with("librdkafka refuses `compresion.type`: "), "{error}");
    let error = refused(option("socket.timeout.ms", "hunter2"));
    assert!(error.starts_with("librdkafka refuses `socket.timeout.ms`: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn nothing_secret_is_printed_or_serialized() {
    let mut config = sasl();
    config.options.insert("ssl.keystore.password".into(), "hunter2".into());
    config.tls_key_password = Secret::new("hunter2");
    let all = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(all.matches("***").count(), 6, "{all}");
}

#[test]
fn values_are_read_by_the_documented_names_and_unknown_keys_refused() {
    let text = r#"{"brokers": "h:1", "security": "sasl_tls", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": "me", "sasl_password": "x", "log_level": "warning"}"#;
    let config: KafkaConfig = serde_json::from_str(text).unwrap();
    config.validate().unwrap();
    assert_eq!(config.security, Security::SaslTls);
    assert_eq!(config.sasl_mechanism, SaslMechanism::ScramSha256);
    assert_eq!(config.connect_timeout_ms, 10_000);
    let error = serde_json::from_str::<KafkaConfig>(r#"{"broker": "h:1"}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `broker`"), "{error}");
}
