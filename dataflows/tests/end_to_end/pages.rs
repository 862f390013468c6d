//! What the graph says of itself: pages, logs, its own picture; and what its records look like.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tideflow::core::kafka::testing::TestBroker;

use crate::fleet::{Fleet, MINUTE, START, at};
use crate::program::{Running, bare, device_health, run};
use crate::python::{model, python};
use crate::topics::{Input, Topics, dump};

/// The names of all metrics, with their labels, from the comments that document them.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let source = include_str!("../../../core/src/metrics.rs");
    let fields = source.lines().filter_map(|line| line.trim().strip_prefix("/// `"));
    let names = fields.filter_map(|line| line.split_once('`')).map(|(name, _)| name);
    let metrics = names.filter(|name| name.starts_with("tideflow_")).map(|name| {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        (name, labels.collect())
    });
    metrics.collect()
}

/// A run that ends with something on every output topic.
pub fn run_with_everything(flags: &[&str]) -> (Topics, Running) {
    let topics = Topics::new(TestBroker::shared(), 2, 2);
    let bad = Input { value: Some(b"?".to_vec()), ..at(0, "d1", START) };
    // Before the start, so that no partition is idle at first.
    topics.send([at(0, "d1", START), at(1, "d2", START), bad]);
    topics.send((0..2).map(|p| at(p, "d3", START + MINUTE + 10_000)));
    // Every window raises an alarm, and a device that says no more is forgotten soon.
    let alarm = ["--alarm.raise_above=0", "--alarm.clear_below=0", "--alarm.windows_min=1"];
    let graph = Running::start(
        device_health("run", &topics, &model("health"))
            .args(alarm)
            .args(["--alarm.forget_after_ms=60000", "--workers.threads=2"])
            .args(flags),
    );
    topics.read_some(&topics.windows, 2);
    topics.send([
        at(0, "d1", START),
        at(1, "d3", START + 9 * MINUTE),
        at(0, "d3", START + 9 * MINUTE),
    ]);
    (topics, graph)
}

#[test]
fn every_metric_is_on_the_page_with_its_help_type_and_labels() {
    let candidate = format!("--candidate.reference={}", model("health").display());
    let (topics, graph) = run_with_everything(&[&candidate]);
    topics.read_some(&topics.late, 1);
    let page = graph.wait_until("all is shown", |m| {
        m.sum("tideflow_sink_records_total", &[("sink", "alarms out")]) > 0.0
            && m.sum("tideflow_worker_busy_ratio", &[]) > 0.0
    });
    let documented = documented();
    assert!(documented.len() >= 17, "{documented:?}");
    // They have a series when a window with enough rows has closed, an hour or a day later.
    let later = ["tideflow_model_psi", "tideflow_model_quality"];
    for (name, labels) in documented.iter().filter(|(name, _)| !later.contains(name)) {
        let line =
            |kind: &str| page.0.lines().find(|l| l.starts_with(&format!("# {kind} {name} ")));
        assert!(line("HELP").is_some_and(|l| l.ends_with('.')), "{name}: no help\n{}", page.0);
        let kind = line("TYPE").and_then(|l| l.rsplit(' ').next()).unwrap_or_default();
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        let suffix = if kind == "histogram" { "_count" } else { "" };
        let mut series = page.0.lines().filter_map(|l| l.strip_prefix(&format!("{name}{suffix}")));
        let first = series.find(|l| l.starts_with(['{', ' '])).unwrap_or_default();
        let set = first.rsplit_once(' ').map_or("", |(set, _)| set).trim_matches(['{', '}']);
        let mut found: Vec<&str> = set.split(',').filter_map(|l| l.split('=').next()).collect();
        found.retain(|label| !label.is_empty());
        let mut labels = labels.clone();
        labels.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, labels, "{name}\n{}", page.0);
    }
    // And none that nobody has documented.
    for line in page.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(documented.contains_key(name), "`{name}` is not in core/src/metrics.rs");
    }
    assert_eq!(graph.page("/readyz"), "ready\n");
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
}

#[test]
fn logs_in_json_are_one_object_a_line() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    topics.send([at(0, "d", START)]);
    let flags = ["--readings.until=end", "--log.format=json", "--log.level=debug"];
    let ended = run(device_health("run", &topics, &model("health")).args(flags));
    ended.with_code(0);
    let parse =
        |line: &str| serde_json::from_str::<Value>(line).map_err(|e| format!("{e}: {line}"));
    // TensorFlow writes up to two lines past every setting while its library is opened.
    let native = |l: &&str| l.contains("before absl::InitializeLog()") || l.contains(" port.cc:");
    let lines = ended.err.lines().filter(|line| !native(line)).map(parse);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}"));
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no `{field}`: {line}");
        }
    }
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(messages.contains(&"starting") && messages.contains(&"stopped"), "{messages:?}");
}

#[test]
fn golden_the_graph_shows_its_parts_and_how_they_are_connected() {
    let dot = run(&mut bare(&["graph"]));
    assert_eq!((dot.code, dot.out.as_str()), (0, include_str!("golden/graph.dot")), "{dot:?}");
    let json = run(&mut bare(&["graph", "--format", "json"]));
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(parse(&json.out), parse(include_str!("golden/graph.json")), "{json:?}");
}

/// A schema, and a file with what is on a topic.
pub fn described(folder: &Path, schema: &str, topics: &Topics, topic: &str) -> [PathBuf; 2] {
    let records = folder.join(format!("{schema}.records"));
    dump(&records, &topics.read(topic));
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    [schemas.join(format!("{schema}.json")), records]
}

#[test]
fn records_are_what_their_schemas_say() {
    let (topics, graph) = run_with_everything(&["--run.on_stop=drain"]);
    topics.read_some(&topics.late, 1);
    let alarms = topics.read_some(&topics.alarms, 5);
    graph.signal("TERM");
    assert_eq!(graph.end().code, 0);
    for state in ["raised", "expired"] {
        assert!(alarms.iter().any(|a| a.json()["state"] == state), "no {state} in {alarms:?}");
    }

    let folder = tempfile::tempdir().expect("a folder for a while");
    let mut files = Vec::new();
    for (schema, topic) in [
        ("windows", &topics.windows),
        ("scores", &topics.scores),
        ("alarms", &topics.alarms),
        ("late", &topics.late),
    ] {
        files.extend(described(folder.path(), schema, &topics, topic));
    }
    let fleet = Fleet { devices: 50, readings: 2_000, span_ms: 60_000, partitions: 1 };
    let sent = Topics::new(TestBroker::shared(), 1, 1);
    sent.send(fleet.inputs());
    files.extend(described(folder.path(), "readings", &sent, &sent.readings));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    println!("{}", python("conform.py", &files));
}
