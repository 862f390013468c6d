//! `replay`: a part of the past again, beside the job, and what is other than published.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tideflow::core::EventTime;
use tideflow::core::kafka::end_offsets;
use tideflow::core::kafka::testing::{TestBroker, unique_name};

use crate::crash::start::Killed;
use crate::crash::view::View;
use crate::fleet::{Fleet, MINUTE, START, at};
use crate::program::{Ended, Running, device_health, run};
use crate::python::{model, python};
use crate::topics::{Sent, Topics, dump};
use crate::versions::Mlflow;

/// `raise_above`, `clear_below`, `windows_min`: so that many devices have alarms that come and go.
const ALARM: [&str; 3] = ["0.23", "0.225", "2"];
const FLEET: Fleet = Fleet { devices: 100, readings: 60_000, span_ms: 40 * 60_000, partitions: 4 };

fn with_alarms(mut command: Command) -> Command {
    for (key, value) in ["raise_above", "clear_below", "windows_min"].iter().zip(ALARM) {
        command.arg(format!("--alarm.{key}={value}"));
    }
    command
}

fn minute(n: i64) -> String {
    EventTime(START + n * MINUTE).date()
}

/// `device_health replay` over these minutes; `more` may say it otherwise.
fn replay(topics: &Topics, minutes: (i64, i64), out: &Path, more: &[&str]) -> Command {
    let mut command = with_alarms(device_health("replay", topics, &model("health")));
    command.arg("--from").arg(minute(minutes.0)).arg("--to").arg(minute(minutes.1));
    command.arg("--out").arg(out).args(more);
    command
}

/// Topics that the model `health` has published on: all of the fleet.
fn published() -> Topics {
    let topics = Topics::new(TestBroker::shared(), FLEET.partitions, 3);
    topics.send(FLEET.inputs());
    let mut job = with_alarms(device_health("run", &topics, &model("health")));
    run(job.args(["--readings.until=end", "--workers.threads=2"])).with_code(0);
    topics
}

fn report(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("report.json")).expect("a replay has ended well");
    serde_json::from_str(&text).expect("it is JSON")
}

/// What the replay has written for a topic.
fn written(out: &Path, topic: &str) -> Vec<Value> {
    let path = out.join("outputs").join(format!("{topic}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
}

/// Records as a replay writes them, in an order of their own, of windows that end in these minutes.
fn windows_of(mut records: Vec<Value>, minutes: (i64, i64)) -> Vec<String> {
    let [from, to] = [minutes.0, minutes.1].map(|n| START + n * MINUTE);
    records.retain(|record| {
        let at = |name: &str| record["value"][name].as_i64().expect("a time");
        at("window_start") >= from && at("window_end") <= to
    });
    let mut records: Vec<_> = records.iter().map(Value::to_string).collect();
    records.sort();
    records
}

/// A published record in the form in which a replay writes it.
fn as_written(sent: &Sent) -> Value {
    let text =
        |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|b| String::from_utf8_lossy(b).into_owned());
    let headers: Vec<_> = sent.headers.iter().map(|(name, value)| (name, text(value))).collect();
    serde_json::json!({ "key": text(&sent.key), "value": sent.json(), "headers": headers })
}

/// The files below a folder, with what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).expect("it can be read"))),
        }
    }
    found
}

/// Where the topics of a job end, its own too.
fn ends(topics: &Topics) -> Vec<(String, Vec<(i32, i64)>)> {
    let Topics { windows, scores, alarms, late, rejects, readings, .. } = topics;
    let own = ["bindings", "progress"].map(|name| format!("{windows}.{name}"));
    let all = [windows, scores, alarms, late, rejects, readings, &own[0], &own[1]];
    let end =
        |topic: &String| (topic.clone(), end_offsets(&topics.kafka, topic).expect("it is there"));
    all.into_iter().map(end).collect()
}

#[test]
fn oracle_the_version_that_published_says_the_same_again_on_any_workers_and_touches_nothing() {
    let topics = published();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let state = Path::new(&topics.state).join(&topics.windows);
    let before = (ends(&topics), files(&state));
    let (minutes, group) = ((15, 30), unique_name("replayed"));
    let mut reports = Vec::new();
    for workers in ["1", "2"] {
        let out = folder.path().join(workers);
        let flags = ["--warm-up=15m", "--workers.threads", workers, "--readings.group", &group];
        let ended = run(&mut replay(&topics, minutes, &out, &flags));
        ended.with_code(0);
        let first = ended.out.lines().next();
        assert_eq!(
            first,
            Some("No difference: the replay says what was published."),
            "{}",
            ended.out
        );
        for topic in [&topics.windows, &topics.scores, &topics.alarms] {
            let expected = topics.read(topic).iter().map(as_written).collect();
            let (found, expected) =
                (windows_of(written(&out, topic), minutes), windows_of(expected, minutes));
            assert!(found.len() > 20, "{topic}: {}", found.len());
            assert!(found == expected, "{topic} with {workers} workers");
        }
        assert!(
            written(&out, &topics.late).is_empty() && written(&out, &topics.rejects).is_empty()
        );
        reports.push(report(&out));
        let left: Vec<_> = fs::read_dir(&out).expect("it is there").flatten().collect();
        assert_eq!(left.len(), 4, "outputs, report, and two tables: {left:?}");
    }
    assert_eq!(reports[0], reports[1]);
    let comparison = &reports[0]["comparison"];
    let scores = &comparison["scores"];
    let windows = windows_of(topics.read(&topics.scores).iter().map(as_written).collect(), minutes);
    assert_eq!(scores["compared"], windows.len());
    assert_eq!((&scores["equal"], &scores["psi"]), (&scores["compared"], &Value::from(0.0)));
    let alarms = &comparison["alarms"];
    assert!(alarms["unchanged"].as_u64().is_some_and(|n| n > 20), "{alarms}");
    assert!(alarms["before_and_again"].as_u64().is_some_and(|n| n > 0), "{alarms}");
    assert_eq!(alarms["before_and_not_again"], 0);
    assert!((ends(&topics), files(&state)) == before, "the job was touched");
    let committed = |partition| TestBroker::shared().committed(&group, &topics.readings, partition);
    assert!((0..FLEET.partitions as i32).all(|p| committed(p).is_none()), "offsets were committed");
}

#[test]
fn oracle_another_model_differs_as_it_does_in_python_from_windows_at_any_time() {
    let topics = published();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let out = folder.path().join("out");
    let other = model("retrained");
    // Neither end is the end of a window; nothing is warmed up.
    let (from, to) = (START + 10 * MINUTE + 17_000, START + 25 * MINUTE + 5_000);
    let mut command = with_alarms(device_health("replay", &topics, &model("health")));
    command.args(["--from", &from.to_string(), "--to", &to.to_string(), "--warm-up=0s"]);
    command.arg("--model").arg(&other).arg("--out").arg(&out);
    let ended = run(&mut command);
    ended.with_code(0);
    println!("{}", ended.out);
    let file = |name: &str| folder.path().join(name);
    for (name, topic) in
        [("windows", &topics.windows), ("scores", &topics.scores), ("alarms", &topics.alarms)]
    {
        dump(&file(name), &topics.read(topic));
    }
    let times = [from, to].map(|time| PathBuf::from(time.to_string()));
    let replayed = [&topics.scores, &topics.alarms].map(|t| out.join(format!("outputs/{t}.jsonl")));
    let models = [model("health.keras"), model("retrained.keras")];
    let published = ["windows", "scores", "alarms"].map(file);
    let results = [out.join("report.json"), out.join("differences.csv"), out.join("alarms.csv")];
    let args = [&models[..], &published, &replayed, &results, &times].concat();
    println!("{}", python("redrift.py", &args.iter().map(PathBuf::as_path).collect::<Vec<_>>()));
    let first = ended.out.lines().next();
    assert_eq!(first, Some("The replay says other things than what was published."));
}

#[test]
fn a_job_that_runs_goes_on_while_others_are_replayed_beside_it() {
    let topics = Topics::new(TestBroker::shared(), 2, 1);
    let reading = |n: i64| (0..2).map(move |p| at(p, &format!("d{p}"), START + n * MINUTE));
    topics.send((0..6).flat_map(reading));
    let job = Running::start(&mut device_health("run", &topics, &model("health")));
    // The readings of a minute close the one before the last.
    assert_eq!(topics.read_some(&topics.scores, 8).len(), 8);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let out = folder.path().join("deep/out");
    // All that is there, which has come no further than the job.
    let mut command = device_health("replay", &topics, &model("health"));
    command.args(["--from", &minute(1), "--warm-up", "1m", "--out"]).arg(&out);
    let ended = run(&mut command);
    ended.with_code(0);
    let scores = &report(&out)["comparison"]["scores"];
    assert_eq!((&scores["compared"], &scores["equal"]), (&Value::from(6), &Value::from(6)));
    assert_eq!(
        (&scores["only_published"], &scores["only_replayed"]),
        (&Value::from(0), &Value::from(0))
    );
    topics.send((6..8).flat_map(reading));
    assert_eq!(topics.read_some(&topics.scores, 12).len(), 12);
    job.signal("TERM");
    job.end().with_code(0);
}

/// That a replay is refused with this code and all these words, and says nothing else.
#[track_caller]
fn assert_refused(ended: &Ended, code: i32, words: &[&str]) {
    ended.with_code(code);
    assert_eq!(ended.out, "");
    words
        .iter()
        .for_each(|word| assert!(ended.err.contains(word), "no `{word}` in:\n{}", ended.err));
}

#[test]
fn fault_what_cannot_be_replayed_is_refused_with_the_reason() {
    let topics = Topics::new(TestBroker::shared(), 2, 1);
    topics.send([at(0, "d", START)]);
    let folder = tempfile::tempdir().expect("a folder for a while");
    let out = folder.path().join("out");
    let refused = |minutes, more: &[&str], words: &[&str]| {
        assert_refused(&run(&mut replay(&topics, minutes, &out, more)), 2, words);
    };
    refused((5, 5), &[], &["`--to`: expected a time after `--from`", &minute(5)]);
    refused((2, 1), &[], &["`--to`: expected a time after `--from`", &minute(1)]);
    let ended = run(device_health("replay", &topics, &model("health")).args(["--from", "Tuesday"]));
    assert_refused(&ended, 2, &["expected a time such as `2026-11-20T00:00:00Z`", "Tuesday"]);
    refused((0, 1), &["--warm-up=soon"], &["expected a span such as", "`soon`"]);
    // Of all these the folder is left, empty: it can be used again.
    let none = folder.path().join("no model");
    let none = ["--model", none.to_str().expect("plain")];
    refused((0, 1), &none, &["model of `health`", "no model"]);
    refused((0, 1), &["--model", "health/99"], &["models:/health/99", "registry"]);
    let gone = unique_name("gone");
    refused((0, 1), &[&format!("--topics.scores={gone}")], &[&gone, "does not exist"]);
    refused((0, 1), &[&format!("--readings.topic={gone}")], &[&gone, "does not exist"]);
    // Outputs that nothing is compared of are not needed.
    let ended = run(&mut replay(&topics, (0, 1), &out, &[&format!("--topics.late={gone}")]));
    ended.with_code(0);
    assert!(ended.out.contains("scores    none to compare"), "{}", ended.out);
    refused((0, 1), &[], &["`--out`: expected a new or an empty folder, found `"]);
    let other = folder.path().join("other");
    let ended = run(&mut replay(&topics, (100, 200), &other, &["--warm-up=0s"]));
    assert_refused(&ended, 2, &["expected records of", "found none"]);
    let nowhere = ["--kafka.brokers=127.0.0.1:1", "--kafka.connect_timeout_ms=500"];
    let other = folder.path().join("nowhere");
    assert_refused(&run(&mut replay(&topics, (0, 1), &other, &nowhere)), 3, &["127.0.0.1:1"]);
}

#[test]
fn a_version_in_the_registry_is_named_in_short_and_one_that_is_not_there_is_refused() {
    let name = "replayed health";
    Mlflow::shared().register(name, &model("health"), 1);
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    topics.send((0..4).map(|n| at(0, "d", START + n * MINUTE)));
    let folder = tempfile::tempdir().expect("a folder for a while");
    let registry = format!("--model.registry_url={}", Mlflow::shared().url());
    let replayed = |version: &str, out: &str| {
        let model = format!("{name}/{version}");
        let flags = ["--model", &model, &registry];
        run(&mut replay(&topics, (0, 4), &folder.path().join(out), &flags))
    };
    replayed("1", "1").with_code(0);
    let scores = &report(&folder.path().join("1"))["comparison"]["scores"];
    assert_eq!(scores["replayed_by"], serde_json::json!({ "replayed health/1": 2 }));
    assert_eq!((&scores["only_replayed"], &scores["compared"]), (&Value::from(2), &Value::from(0)));
    assert_refused(&replayed("99", "99"), 2, &["99"]);
}

#[test]
fn a_graph_with_nothing_to_compare_writes_its_outputs_and_takes_no_model() {
    let view = View::shared();
    view.start((1, 2)).end_well();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let out = folder.path().join("out");
    let replay = |more: &[&str]| {
        let mut command = view.fleet.program("replay");
        run(command.args(["--from", "0", "--out"]).arg(&out).args(more))
    };
    assert_refused(&replay(&["--model", "health/8"]), 2, &["`--model`", "`fleet_view` has none"]);
    let ended = replay(&["--workers.threads=2"]);
    ended.with_code(0);
    assert!(ended.out.starts_with("nothing to compare"), "{}", ended.out);
    assert_eq!(report(&out)["comparison"], Value::Null);
    let sites = written(&out, &view.fleet.sites);
    assert!(!sites.is_empty() && sites.iter().all(|site| site["key"].is_string()));
    assert_eq!(report(&out)["written"][&view.fleet.sites], sites.len());
}

#[test]
fn a_signal_ends_a_replay_without_a_report() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    topics.send((0..4).map(|n| at(0, "d", START + n * MINUTE)));
    let folder = tempfile::tempdir().expect("a folder for a while");
    let out = folder.path().join("out");
    // The first epoch ends by the clock.
    let running =
        Running::start(&mut replay(&topics, (0, 1), &out, &["--epochs.interval_ms=60000"]));
    running.wait_for("records=");
    running.signal("INT");
    let ended = running.end();
    assert_refused(&ended, 0, &["stopped: outputs are not complete, and nothing is compared"]);
    assert!(!out.join("report.json").exists());
}
