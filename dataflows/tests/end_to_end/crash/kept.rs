//! What people ask of the state that a job has kept.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tideflow::core::kafka::testing::TestBroker;

use super::check::Difference;
use super::files::FileJob;
use super::job::{Job, OUTPUTS, STRAGGLER, Stragglers, published};
use super::start::Killed;
use crate::batch::content;
use crate::fleet_view::Fleet;
use crate::program::{Ended, device_health, run};
use crate::python::model;
use crate::topics::{DEADLINE, Sent, Topics};

/// A job over all readings that was told to stop once it had taken a snapshot or two.
fn suspended() -> Job<'static> {
    let job = Job::shared();
    let run = job.start((1, 2));
    let mut taken = BTreeSet::new();
    run.wait_until("two snapshots", || {
        taken.extend(job.newest_manifest());
        taken.len() > 1
    });
    run.signal("TERM");
    run.end_well();
    job
}

fn well(ended: Ended) -> String {
    ended.with_code(0);
    ended.out
}

fn refused(ended: &Ended, code: i32, words: &str) {
    let told = ended.out.clone() + &ended.err;
    assert!(ended.code == code && told.contains(words), "{}, expected {words}: {told}", ended.code);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

/// The readings that windows hold.
fn counted<'a>(windows: impl Iterator<Item = &'a Value>) -> i64 {
    windows.map(|window| window["count"].as_i64().expect("a window has a count")).sum()
}

#[test]
fn oracle_what_is_published_and_what_is_exported_are_all_that_was_read() {
    let job = suspended();
    let listed = well(job.asks(&["ls"]));
    assert_eq!(listed.matches("the next start goes on from here").count(), 1, "{listed}");
    assert!(well(job.asks(&["verify"])).starts_with("ok    "));

    let shown: Value = serde_json::from_str(&well(job.asks(&["show"]))).expect("JSON");
    assert_eq!(shown["counts"], true);
    let operators = shown["operators"].as_array().expect("a list");
    let windows = operators.iter().find(|operator| operator["operator"] == "windows");
    assert!(windows.is_some_and(|windows| windows["key_groups"].as_u64() > Some(100)), "{shown}");
    let partitions = shown["partitions"].as_array().expect("a list");
    let read: i64 = partitions.iter().map(|p| p["next"].as_i64().expect("an offset")).sum();

    let exported = lines(&well(job.asks(&["export", "--operator", "windows"])));
    let open = counted(exported.iter().map(|line| &line["state"]["value"]));
    let closed: Vec<_> = job.topics.read(&job.topics.windows).iter().map(Sent::json).collect();
    assert!(open > 0 && !closed.is_empty());
    let elsewhere = job.topics.read(&job.topics.rejects).len() + Stragglers::of(&job.topics).late();
    assert_eq!(counted(closed.iter()) + open + elsewhere as i64, read);

    let key = exported[0]["key"].as_str().expect("a device");
    let of_key = lines(&well(job.asks(&["export", "--key", key])));
    assert!(of_key.contains(&exported[0]) && of_key.iter().all(|line| line["key"] == *key));
    refused(&job.asks(&["export", "--operator", "window"]), 2, "no operator `window` keeps state");
}

#[test]
fn oracle_a_job_forked_from_a_savepoint_publishes_what_came_after_it() {
    let job = suspended();
    well(job.asks(&["savepoint", "half-way"]));
    refused(&job.asks(&["savepoint", "half-way"]), 2, "is there already");
    for question in [["drop", "nope"], ["show", "nope"]] {
        refused(&job.asks(&question), 2, "no snapshot `nope`: expected one of `");
    }
    refused(&job.asks(&["savepoint", "7"]), 2, "expected a savepoint's name");
    let before = published(&job.topics);
    job.start((2, 1)).end_well();
    job.check();
    // All of the savepoint is still there, though the job has cleaned up behind itself many times.
    assert!(well(job.asks(&["ls"])).contains("savepoint"));
    well(job.asks(&["verify", "half-way"]));

    let other = Topics::reading(TestBroker::shared(), &job.topics.readings, OUTPUTS);
    let fork = ["fork", &other.windows, "--snapshot", "half-way"];
    well(job.asks(&fork));
    refused(&job.asks(&fork), 2, "is there already");
    let fork = Job { topics: other, ..job };
    fork.start((1, 2)).end_well();
    let mut difference = Difference::default();
    let after = published(&fork.topics);
    for ((before, after), expected) in before.into_iter().zip(after).zip(fork.expected()) {
        difference += Difference::between(&content([before, after].concat()), expected);
    }
    assert!(difference.is_none(), "{difference:?}");
    well(fork.asks(&["verify"]));
}

#[test]
fn snapshots_can_be_verified_exported_and_forked_while_the_job_replaces_them() {
    let job = Job::shared();
    let run = job.start_with((1, 2), &["--job.snapshot_every=10"], None);
    run.wait_until("a snapshot", || job.newest_manifest().is_some());
    let mut looks = 0;
    while looks < 2 && !run.has_ended() {
        well(job.asks(&["verify"]));
        let export = job.asks(&["export", "--operator", "windows"]);
        match export.code {
            0 => assert!(!lines(&export.out).is_empty()),
            _ => refused(&export, 3, "the job has removed snapshot `"),
        }
        looks += 1;
    }
    assert!(looks > 0, "it was over before it was looked at");
    let other = Topics::reading(TestBroker::shared(), &job.topics.readings, OUTPUTS);
    well(job.asks(&["fork", &other.windows]));
    run.signal("KILL");
    run.end_however();
    assert!(!well(job.asks(&["ls"])).contains("_fork-"));
    let fork = Job { topics: other, ..Job::shared() };
    assert!(well(fork.asks(&["verify"])).starts_with("ok    "));
}

#[test]
fn what_only_a_savepoint_needed_goes_when_that_is_dropped() {
    let job = suspended();
    well(job.asks(&["savepoint", "half-way"]));
    job.start((1, 1)).end_well();
    let parts = || std::fs::read_dir(job.store().join("state")).expect("it is there").count();
    well(job.asks(&["gc"]));
    let kept = parts();
    assert!(well(job.asks(&["gc"])).starts_with("0 objects"));
    well(job.asks(&["drop", "half-way"]));
    refused(&job.asks(&["verify", "half-way"]), 2, "no snapshot `half-way`");

    let would = well(job.asks(&["gc", "--dry-run"]));
    assert!(would.contains("not needed state/") && parts() == kept, "{would}");
    let removed = well(job.asks(&["gc"]));
    assert_eq!(removed, would.replace("not needed", "removed"));
    assert!(parts() < kept, "{removed}");
    // What the job needs is still there.
    well(job.asks(&["verify"]));
    job.check();
}

#[test]
fn fault_a_damaged_snapshot_is_named_and_the_one_before_it_is_gone_on_from() {
    let job = suspended();
    let shown: Value = serde_json::from_str(&well(job.asks(&["show"]))).expect("JSON");
    let newest = shown["manifest"].as_str().expect("a name");
    // The part that was written for it alone.
    let part = std::fs::read_dir(job.store().join("state")).expect("it is there");
    let part = part.map(|part| part.expect("it is there").path());
    let epoch = &newest[newest.len() - 20..];
    let named = |part: &std::path::PathBuf| {
        part.file_name().is_some_and(|n| n.to_string_lossy().starts_with(epoch))
    };
    let part = part.into_iter().find(named).expect("something has changed");
    let whole = std::fs::read(&part).expect("it is there");
    let damaged = whole.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
    std::fs::write(&part, damaged).expect("the folder is ours");

    let ended = job.asks(&["verify"]);
    refused(&ended, 1, "is damaged: expected checksum");
    let good = ended.out.lines().find_map(|line| line.strip_prefix("ok    ")).expect("one is left");
    refused(&job.asks(&["savepoint", "bad"]), 1, "is damaged: expected checksum");
    assert!(!well(job.asks(&["ls"])).contains("savepoint"));
    let said = job.start_with((1, 1), &["--job.snapshot=nope"], None).end_badly();
    assert!(said.contains("no snapshot `nope`: expected one of `"), "{said}");
    let said = job.start((1, 1)).end_badly();
    assert!(said.contains("is damaged") && said.contains(good), "{said}");
    job.start_with((1, 2), &[&format!("--job.snapshot={good}")], None).end_well();
    job.check();
}

/// The objects that each manifest of a folder of the store names, by the manifest's name.
fn objects(job: &Job<'_>, folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let entries = std::fs::read_dir(job.store().join(folder)).expect("it is there");
    let entries = entries.map(|entry| entry.expect("readable").path());
    let named = entries.map(|path| {
        let text = std::fs::read(&path).expect("it is there");
        let mut parts = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        let manifest = parts.next().expect("a manifest").expect("it is JSON");
        let groups = manifest["operators"].as_object().expect("operators").values();
        let places = groups.flat_map(|groups| groups.as_object().expect("groups").values());
        let objects = places.map(|place| place["segment"].as_str().expect("a name").to_string());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, objects.collect())
    });
    named.collect()
}

#[test]
fn fault_where_all_snapshots_need_what_is_missing_the_savepoint_that_does_not_is_told() {
    let job = suspended();
    well(job.asks(&["savepoint", "early"]));
    let run = job.start_with((1, 1), &["--job.snapshot_every=2"], None);
    let before = job.newest_manifest();
    run.wait_until("snapshots", || job.newest_manifest() > before);
    run.must_publish();
    run.signal("TERM");
    run.end_well();
    // The last snapshot's cleaning up is not waited for.
    well(job.asks(&["gc"]));
    let listed = well(job.asks(&["ls"]));
    let counted = objects(&job, "manifest").into_iter();
    let counted: Vec<_> = counted.filter(|(name, _)| listed.contains(name)).collect();
    let [(older, of_older), (newest, of_newest)] = &counted[..] else { panic!("two: {listed}") };
    // Something that both need; where all has changed between them, something of each.
    let of_savepoint = &objects(&job, "savepoint")["early"];
    let shared = of_older.intersection(of_newest).find(|object| !of_savepoint.contains(*object));
    let missing = [of_newest, of_older].map(|of_snapshot| {
        let own = || of_snapshot.difference(of_savepoint).next().expect("something has changed");
        format!("state/{}", shared.unwrap_or_else(own))
    });
    let aside = |object: &str| job.store().join(object.replace('/', "-"));
    let lost: BTreeSet<_> = missing.iter().collect();
    for object in &lost {
        std::fs::rename(job.store().join(object), aside(object)).expect("the folder is ours");
    }
    let missing = missing.each_ref().map(|object| format!("`{object}` is missing"));

    for (snapshot, missing) in [newest, older].into_iter().zip(&missing) {
        let asked = format!("--job.snapshot={snapshot}");
        let said = job.start_with((1, 1), &[&asked], None).end_badly();
        let on = "; no other that counts is whole either; `state fork JOB --snapshot NAME` can go on from `early`";
        assert!(said.contains(missing) && said.contains(on), "{said}");
    }
    let ended = job.asks(&["ls"]);
    refused(&ended, 1, "2 of 3 snapshots cannot be gone on from");
    let line = |name: &str| ended.out.lines().find(|line| line.starts_with(name)).expect("listed");
    let [of_newest, of_older] = &missing;
    let refused_for = format!("the next start is refused: {of_newest}");
    assert!(line(newest).ends_with(&refused_for), "{ended:?}");
    assert!(line(older).ends_with(&format!("cannot be gone on from: {of_older}")), "{ended:?}");
    assert!(line("early").ends_with("  savepoint"), "{ended:?}");
    let ended = job.asks(&["verify"]);
    refused(&ended, 1, "2 of 3 snapshots cannot be gone on from");
    assert_eq!(ended.out.matches("FAIL  ").count(), 2, "{}", ended.out);
    refused(&job.asks(&["savepoint", "bad"]), 1, "is missing");
    // A manifest that is gone, or none, keeps nothing else from the list.
    let path = job.store().join("manifest").join(newest);
    let text = std::fs::read(&path).expect("it is there");
    for damaged in [Some(&text[..10]), None] {
        match damaged {
            Some(text) => std::fs::write(&path, text).expect("the folder is ours"),
            None => std::fs::remove_file(&path).expect("it is there"),
        }
        let ended = job.asks(&["ls"]);
        refused(&ended, 1, &format!("the next start is refused: manifest `{newest}`: "));
        assert!(ended.out.contains(older) && ended.out.ends_with("  savepoint\n"), "{ended:?}");
    }
    std::fs::write(&path, text).expect("the folder is ours");
    for object in &lost {
        std::fs::rename(aside(object), job.store().join(object)).expect("the folder is ours");
    }
    job.start((2, 1)).end_well();
    job.check();
}

#[test]
fn fault_a_graph_that_would_drop_state_is_refused_unless_it_is_told_to() {
    let job = suspended();
    let readings = job.topics.readings.clone();
    let other = Fleet { readings, ..Fleet::new(TestBroker::shared()) };
    let other_graph = |action: &str, more: &[&str]| {
        let mut command = other.program(action);
        command.args([
            "--job.shards=2",
            &format!("--job.name={}", job.topics.windows),
            &format!("--job.state={}", job.topics.state),
        ]);
        run(command.args(more))
    };
    let words = "this graph has no such source or operator: it would be dropped";
    refused(&other_graph("check", &[]), 2, words);
    refused(&other_graph("run", &[]), 2, words);
    let ended = other_graph("check", &["--job.drop_state=windows,unhealthy"]);
    let told = "as it was: readings; empty: registry, devices, latest; dropped: ";
    assert!(ended.code == 0 && ended.out.contains(told), "{ended:?}");
    // Nothing of the job was touched: a graph that has its windows, and no alarms, goes on from them.
    let before = published(&job.topics);
    let files = FileJob::new(job.topics.clone());
    let layout = (1, 2);
    let refused = files.run(layout, &["--job.shards=2"], None, DEADLINE);
    assert!(refused[0].code == 2 && refused[0].err.contains(words), "{}", refused[0].err);
    assert!(files.lines("windows").is_empty());
    files.runs_well(layout, &["--job.shards=2", "--job.drop_state=unhealthy"]);
    let text =
        |sent: &Sent| String::from_utf8(sent.value.clone().expect("a window")).expect("text");
    let files = files.lines("windows").into_iter().filter(|line| !line.contains(STRAGGLER));
    let mut windows: Vec<_> = before[0].iter().map(text).chain(files).collect();
    let mut expected: Vec<_> = job.expected()[0].iter().map(text).collect();
    windows.sort();
    expected.sort();
    assert!(windows.len() > before[0].len() && windows == expected, "other windows");
}

#[test]
fn fault_a_job_that_is_to_go_on_in_something_else_is_refused_before_it_begins() {
    let job = suspended();
    let topic = TestBroker::shared().topic("other", 4);
    let topic = format!("--readings.topic={topic}");
    for (flag, words) in [
        (topic.as_str(), "source `readings` goes on at the offsets of topic `"),
        (
            "--window.length_ms=30000",
            "`windows` has kept windows of 60000 ms, and is to keep windows",
        ),
    ] {
        let mut check = device_health("check", &job.topics, &model("health"));
        refused(&run(check.args(["--job.shards=2", flag])), 2, words);
        let start = job.start_with((1, 1), &[flag], None).end().remove(0);
        refused(&start, 2, words);
        assert!(!start.err.contains("taking over"), "{}", start.err);
    }
    job.start((2, 1)).end_well();
    job.check();
}

#[test]
fn a_job_keeps_of_its_own_topics_what_the_last_snapshots_need() {
    let job = Job::shared();
    job.start((1, 2)).end_well();
    let [bindings, progress] = ["bindings", "progress"]
        .map(|topic| job.topics.read(&format!("{}.{topic}", job.topics.windows)));
    let epochs = bindings.last().expect("it is never empty").offset;
    let manifests = std::fs::read_dir(job.store().join("manifest")).expect("it is there");
    let needed = manifests.map(|entry| {
        let text = std::fs::read(entry.expect("readable").path()).expect("it is there");
        let mut parts = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        let manifest = parts.next().expect("a manifest").expect("it is JSON");
        manifest["binding_offset"].as_i64().expect("an offset")
    });
    let (first, oldest) = (bindings[0].offset, needed.min().expect("two manifests"));
    // The last snapshot's cleaning up is not waited for.
    let few = 0 < first && first <= oldest && bindings.len() as i64 * 4 < epochs;
    assert!(few, "{} of {epochs} bindings from {first}, needed from {oldest}", bindings.len());
    for shard in [0, 1] {
        let offsets: Vec<_> = progress
            .iter()
            .filter(|sent| sent.partition == shard)
            .map(|sent| sent.offset)
            .collect();
        let few = offsets[0] > 0 && (offsets.len() as i64) * 4 < offsets[offsets.len() - 1];
        assert!(few, "progress of shard {shard}: {offsets:?}");
    }
    job.check();
}
