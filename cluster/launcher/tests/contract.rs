//! What the launcher and a graph's process must agree on, compared with the process shell's own.

use std::collections::BTreeMap;

use tideflow_cluster::Exit;
use tideflow_cluster::hostfile::hosts_of;
use tideflow_cluster::settings::{ENV_PREFIX, variable};
use tideflow_launcher::agent::variables;
use tideflow_launcher::cluster_file::{ClusterFile, Host, Limits};
use tideflow_launcher::supervise::{FINAL_CODES, PEER_LOST};
use tideflow_launcher::wire::Assigned;

#[test]
fn the_codes_that_no_start_mends_are_those_of_the_process() {
    let codes = [Exit::Done, Exit::Refused, Exit::Superseded, Exit::SecondSignal];
    let codes = codes.map(|exit| i32::from(exit.code()));
    assert_eq!(FINAL_CODES, codes);
    assert_eq!(PEER_LOST, i32::from(Exit::PeerLost.code()));
    let unit = include_str!("golden/tideflow-health.service");
    let [_, a, b, c] = codes;
    assert!(unit.contains(&format!("RestartPreventExitStatus={a} {b} {c}\n")));
}

#[test]
fn settings_are_given_as_the_process_reads_them() {
    for name in ["workers.hostfile", "http.bind", "kafka.sasl_password"] {
        assert_eq!(ClusterFile::variable(name), variable(name));
        assert!(variable(name).starts_with(ENV_PREFIX));
    }
}

#[test]
fn the_host_file_is_read_by_the_process() {
    let host = |name: &str, address: &str| Host { name: name.into(), address: address.into() };
    let hosts = [host("a", "10.0.0.1"), host("b", "::1"), host("c", "c.example")];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    let text: String = hosts.iter().map(|host| host.endpoint(2_101) + "\n").collect();
    std::fs::write(&path, text).unwrap();
    assert_eq!(hosts_of(&path, 2).unwrap(), ["10.0.0.1:2101", "[::1]:2101", "c.example:2101"]);
}

#[test]
fn golden_a_process_is_told_its_place_and_no_secret() {
    let hosts = ["w1", "w2"].map(|name| Host { name: name.into(), address: name.into() });
    let assigned = Assigned {
        process: 1,
        hosts: hosts.to_vec(),
        threads: 2,
        cluster_port: 2_101,
        http: "127.0.0.1:9464".into(),
        stop_timeout_ms: 10_000,
        limits: Limits {
            memory: None,
            open_files: 1,
            restart_wait_ms_min: 1,
            restart_wait_ms_max: 1,
        },
        writable: Vec::new(),
        certs: None,
        secrets: BTreeMap::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("native")).unwrap();
    let told = variables("/p/j".as_ref(), folder.path(), &assigned, true);
    let native = folder.path().join("native").display().to_string();
    let expected = [
        ("LD_LIBRARY_PATH", native.as_str()),
        ("TENSORFLOW_DIR", native.as_str()),
        ("TIDEFLOW__HTTP__BIND", "127.0.0.1:9464"),
        ("TIDEFLOW__WORKERS__CA_FILE", "/p/j/secrets/ca.pem"),
        ("TIDEFLOW__WORKERS__CERTIFICATE_FILE", "/p/j/secrets/certificate.pem"),
        ("TIDEFLOW__WORKERS__HOSTFILE", "/p/j/hosts"),
        ("TIDEFLOW__WORKERS__KEY_FILE", "/p/j/secrets/key.pem"),
        ("TIDEFLOW__WORKERS__PROCESS", "1"),
        ("TIDEFLOW__WORKERS__THREADS", "2"),
        ("TIDEFLOW__WORKERS__TOKEN", "file:/p/j/secrets/token"),
    ];
    let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(told, expected);
    let alone = Assigned { process: 0, hosts: hosts[..1].to_vec(), ..assigned };
    let told = variables("/p/j".as_ref(), "/no".as_ref(), &alone, false);
    let names: Vec<_> = told.keys().map(String::as_str).collect();
    assert_eq!(names, ["TIDEFLOW__HTTP__BIND", "TIDEFLOW__WORKERS__THREADS"]);
}
