//! What is found before anything is read: by `check` and by the start, with the same words.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tideflow::core::kafka::KafkaConfig;
use tideflow::core::kafka::testing::{TestBroker, unique_name};

use crate::batch::hostfile;
use crate::program::{Ended, Running, bare, device_health, run};
use crate::python::model;
use crate::topics::{DEADLINE, STATE, Topics};

/// `check` and `run` with these flags.
fn both(topics: &Topics, model: &Path, flags: &[&str]) -> [Ended; 2] {
    ["check", "run"].map(|action| run(device_health(action, topics, model).args(flags)))
}

/// Both refuse: `check` in its list, `run` in its log, each with `code` and all these words.
fn assert_refused(topics: &Topics, model: &Path, flags: &[&str], code: i32, words: &[&str]) {
    let [check, run] = both(topics, model, flags);
    assert_eq!((check.code, run.code), (code, code), "{check:?}\n{run:?}");
    for word in words {
        assert!(check.out.contains(word), "no `{word}` in:\n{}", check.out);
        assert!(run.err.contains(word), "no `{word}` in:\n{}", run.err);
    }
    assert!(check.out.contains("\nFAIL  "), "{}", check.out);
    assert!(run.err.contains(" ERROR "), "{}", run.err);
}

/// Topics that nobody has made, on a port that nobody serves.
fn nowhere() -> Topics {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let kafka = KafkaConfig::plaintext(free.local_addr().expect("bound").to_string());
    let [readings, windows, scores, alarms, late, rejects] =
        ["readings", "windows", "scores", "alarms", "late", "rejects"].map(unique_name);
    let (state, environment) = (STATE.clone(), Vec::new());
    Topics { kafka, readings, windows, scores, alarms, late, rejects, state, environment }
}

#[test]
fn a_graph_that_has_all_it_needs_passes_its_check() {
    let topics = Topics::new(TestBroker::shared(), 4, 2);
    let flags = ["--readings.partitions=4", "--topics.partitions=2"];
    let check = run(device_health("check", &topics, &model("health")).args(flags));
    assert_eq!(check.code, 0, "{check:?}");
    let Topics { readings, rejects, .. } = &topics;
    let brokers = &topics.kafka.brokers;
    for line in [
        "ok    configuration: 14 set, the rest by default".to_string(),
        format!("ok    broker `{brokers}`: answers"),
        format!("ok    topic `{readings}`: 4 partitions"),
        "ok    model of `health`: health version 3, 12 features, 256 rows a call".to_string(),
        format!("ok    topic `{rejects}`: 2 partitions"),
    ] {
        assert!(check.out.lines().any(|found| found == line), "no `{line}` in:\n{}", check.out);
    }
}

#[test]
fn fault_a_broker_that_does_not_answer_is_told_after_the_time_configured() {
    let topics = nowhere();
    let brokers = &topics.kafka.brokers;
    let words = format!("no broker of `{brokers}` answered within 1500 ms: ");
    let flags = ["--kafka.connect_timeout_ms=1500"];
    assert_refused(&topics, &model("health"), &flags, 3, &[&words, "Connection refused"]);
    let [check, run] = both(&topics, &model("health"), &flags);
    let reason = format!("FAIL  topic `{}`: not checked, because of broker", topics.windows);
    assert!(check.out.contains(&reason), "{}", check.out);
    // Once for all topics, and not once for each.
    for took in [check.took, run.took] {
        assert!((1_500..15_000).contains(&took.as_millis()), "{took:?}");
    }
}

#[test]
fn fault_a_topic_that_is_missing_is_named() {
    let broker = TestBroker::shared();
    let there = Topics::new(broker, 1, 1);
    let missing = unique_name("missing");
    let words = [format!("topic `{missing}`"), format!("does not exist on `{}`", broker.brokers())];
    for topics in [
        Topics { readings: missing.clone(), ..there.clone() },
        Topics { late: missing.clone(), ..there.clone() },
    ] {
        assert_refused(&topics, &model("health"), &[], 2, &words.each_ref().map(String::as_str));
    }
    // `check` names all, `run` ends with the first.
    let topics = Topics { kafka: broker.config(), ..nowhere() };
    let check = run(&mut device_health("check", &topics, &model("health")));
    assert_eq!(check.out.matches("FAIL  topic `").count(), 6, "{}", check.out);
}

#[test]
fn fault_a_topic_with_another_number_of_partitions_is_refused() {
    let topics = Topics::new(TestBroker::shared(), 4, 2);
    for (flag, topic, words) in [
        ("--readings.partitions=3", &topics.readings, "expected 3 partitions, found 4"),
        ("--topics.partitions=4", &topics.scores, "expected 4 partitions, found 2"),
    ] {
        let check = run(device_health("check", &topics, &model("health")).arg(flag));
        let line = format!("FAIL  topic `{topic}`: {words}");
        assert!(check.out.contains(&line), "{}", check.out);
        assert_refused(&topics, &model("health"), &[flag], 2, &[words]);
    }
}

/// The model `health` with `from` in its manifest replaced by `to`.
fn with_manifest(folder: &Path, from: &str, to: &str) -> PathBuf {
    copy(&model("health"), folder);
    let path = folder.join("manifest.json");
    let text = std::fs::read_to_string(&path).expect("just copied");
    std::fs::write(&path, text.replace(from, to)).expect("the folder is ours");
    folder.to_path_buf()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder is ours");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("a folder");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("the disk has room")),
        }
    }
}

#[test]
fn fault_a_model_that_does_not_fit_is_refused_with_expected_and_found() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let at = |name: &str| folder.path().join(name);
    let missing = at("missing");
    let words = format!("loading model `{}`: expected a folder, found nothing", missing.display());
    assert_refused(&topics, &missing, &[], 2, &[&words]);

    let renamed = with_manifest(&at("renamed"), "serving_default", "serving");
    let words = ["expected signature `serving`, found ", "`serving_default`"];
    assert_refused(&topics, &renamed, &[], 2, &words);

    let words = "expected shape [?, 12] by the manifest, found [?, 9]";
    assert_refused(&topics, &model("narrow"), &[], 2, &[words]);

    let words = ["model `other`", "current.mean"];
    assert_refused(&topics, &model("other"), &[], 2, &words);

    let swapped = with_manifest(&at("swapped"), "vibration.min", "vibration.least");
    let words = ["model `health`", "vibration.least", "vibration.min"];
    assert_refused(&topics, &swapped, &[], 2, &words);
}

#[test]
fn fault_an_option_that_librdkafka_gets_from_us_is_refused() {
    let topics = nowhere();
    for (flag, words) in [
        (
            "--kafka.options.enable.idempotence=false",
            "`options` must not set `enable.idempotence`: ",
        ),
        (
            "--kafka.options.auto.offset.reset=latest",
            "`options` must not set `auto.offset.reset`: ",
        ),
        ("--kafka.options.no.such.option=1", "librdkafka refuses `no.such.option`: "),
        ("--kafka.security=sasl_tls", "`sasl_username` is not set, expected a value"),
    ] {
        let [check, run] = both(&topics, &model("health"), &[flag]);
        assert_eq!((check.code, run.code), (2, 2), "{check:?}\n{run:?}");
        assert!(check.err.contains(words) && run.err.contains(words), "{check:?}\n{run:?}");
        // Nothing was touched: there is no broker, and nobody has looked for one.
        let at_once = Duration::from_secs(8);
        assert!(check.took < at_once && run.took < at_once, "{:?} {:?}", check.took, run.took);
    }
}

#[test]
fn fault_an_unknown_key_is_refused_with_the_nearest_valid_one() {
    let refused = |command: &mut std::process::Command, words: &str| {
        let ended = run(command);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{ended:?}");
        assert!(ended.err.contains(words), "{}", ended.err);
    };
    let words = "unknown key `readings.topik`, did you mean `--readings.topic`?";
    refused(&mut bare(&["run", "--readings.topik=x"]), words);
    let words = "unknown key `model.batch_row`, did you mean `--model.batch_rows`?";
    refused(&mut bare(&["check", "--model.batch_row", "5"]), words);
    let mut by_variable = bare(&["run"]);
    let words = "did you mean `TIDEFLOW__ALARM__RAISE_ABOVE`?";
    refused(by_variable.env("TIDEFLOW__ALARM__RAISE_ABOV", "0.5"), words);

    let folder = tempfile::tempdir().expect("a folder for a while");
    let file = folder.path().join("health.toml");
    std::fs::write(&file, "[window]\nlenght_ms = 1000\n").expect("the folder is ours");
    let file = file.to_str().expect("plain");
    refused(
        &mut bare(&["run", "--config", file]),
        ":2: unknown key `window.lenght_ms`, did you mean `window.length_ms`?",
    );

    let words = "`alarm.raise_above` is `high`, expected a number";
    refused(&mut bare(&["run", "--alarm.raise_above=high"]), words);
    let words = "expected `earliest`, `latest` or milliseconds since 1970, found `yesterday`";
    refused(&mut bare(&["run", "--readings.start=yesterday"]), words);
}

#[test]
fn fault_thresholds_that_contradict_each_other_are_refused() {
    let flags = ["--alarm.raise_above=0.5", "--alarm.clear_below=0.75"];
    let [check, run] = both(&nowhere(), &model("health"), &flags);
    assert_eq!((check.code, run.code), (2, 2), "{check:?}\n{run:?}");
    let words =
        "flag `--alarm.clear_below`: `alarm.clear_below`: 0.75 lies above `alarm.raise_above`";
    assert!(check.err.contains(words) && run.err.contains(words), "{check:?}\n{run:?}");
}

#[test]
fn fault_a_topic_with_two_uses_or_without_a_name_is_refused() {
    let topics = nowhere();
    let loops = format!("--topics.rejects={}", topics.readings);
    for (flag, words) in [
        (loops.as_str(), "is `readings.topic` too, expected a topic of its own"),
        ("--topics.late=", "`topics.late`: expected a topic's name, found nothing"),
    ] {
        let [check, run] = both(&topics, &model("health"), &[flag]);
        assert_eq!((check.code, run.code), (2, 2), "{check:?}\n{run:?}");
        assert!(check.err.contains(words) && run.err.contains(words), "{check:?}\n{run:?}");
    }
}

#[test]
fn a_signal_before_the_start_ends_it_at_once_and_well() {
    let flag = "--kafka.connect_timeout_ms=600000";
    let graph = Running::start(device_health("run", &nowhere(), &model("health")).arg(flag));
    graph.wait_for("pages: /metrics");
    graph.signal("TERM");
    let ended = graph.end();
    ended.with_code(0);
    assert!(ended.err.contains("stopped before the start"), "{}", ended.err);
}

#[test]
fn fault_a_stranger_at_the_port_between_processes_is_turned_away() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = hostfile(folder.path(), 2);
    let own = std::fs::read_to_string(&hosts).expect("just written");
    let own = own.lines().next().expect("two lines");
    let flags = [&format!("--workers.hostfile={hosts}"), "--workers.join_timeout_ms=10000"];
    let graph = Running::start(device_health("run", &topics, &model("health")).args(flags));
    let deadline = Instant::now() + DEADLINE;
    let mut stranger = loop {
        match TcpStream::connect(own) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("somebody listens");
    let words =
        "a connection that is not of this job was refused: no message of a Tideflow process";
    graph.wait_for(words);
    // It goes on waiting for the process that does not come.
    let ended = graph.end();
    ended.with_code(3);
    assert!(ended.err.contains("not all processes of the job were there"), "{}", ended.err);
}

#[test]
fn fault_processes_with_other_settings_refuse_each_other_and_name_them() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = format!("--workers.hostfile={}", hostfile(folder.path(), 2));
    let processes = [("0", "60000"), ("1", "30000")].map(|(process, length)| {
        let mut command = device_health("run", &topics, &model("health"));
        command.args([&hosts, "--workers.process", process, "--window.length_ms", length]);
        Running::start(command.arg("--workers.join_timeout_ms=5000"))
    });
    // The one that connects is refused; the other says so, and waits for one that fits.
    for (ended, code) in processes.map(Running::end).into_iter().zip([3, 2]) {
        ended.with_code(code);
        let words = "another setting: `window.length_ms` is 60000 in process 0 (";
        assert!(ended.err.contains(words), "{}", ended.err);
    }
}

#[test]
fn fault_a_process_whose_job_never_comes_together_ends_after_the_time_configured() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = format!("--workers.hostfile={}", hostfile(folder.path(), 2));
    for process in 0..2 {
        let process = format!("--workers.process={process}");
        let flags = [&hosts, &process, "--workers.join_timeout_ms=300"];
        let ended = run(device_health("run", &topics, &model("health")).args(flags));
        ended.with_code(3);
        let expected = "not all processes of the job were there within 300 ms";
        assert!(ended.err.contains(expected), "{}", ended.err);
    }
}

#[test]
fn no_command_shows_a_secret() {
    let topics = nowhere();
    let secret = "hunter2";
    let flags = [
        "--kafka.security=sasl_plaintext",
        "--kafka.sasl_username=me",
        "--kafka.sasl_password=hunter2",
        "--http.token=hunter2",
        "--kafka.options.sasl.oauthbearer.client.secret=hunter2",
        "--kafka.connect_timeout_ms=300",
        "--log.level=debug",
    ];
    for action in ["config", "check", "run", "graph"] {
        let ended = run(device_health(action, &topics, &model("health"))
            .args(flags)
            .env("TIDEFLOW__KAFKA__TLS_KEY_PASSWORD", secret));
        assert!(!ended.out.contains(secret) && !ended.err.contains(secret), "{ended:?}");
        if action == "config" {
            assert_eq!(ended.out.matches("\"***\"").count(), 4, "{}", ended.out);
        }
    }
}

#[test]
fn fault_a_taken_port_between_processes_ends_the_start() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = folder.path().join("hosts");
    let lines = format!("{}\n127.0.0.1:1\n", taken.local_addr().expect("bound"));
    std::fs::write(&hosts, lines).expect("the folder is ours");
    let flag = format!("--workers.hostfile={}", hosts.display());
    let ended = run(device_health("run", &topics, &model("health")).arg(flag));
    ended.with_code(3);
    assert!(ended.err.contains("Address already in use"), "{}", ended.err);
}
