//! A state store that is away for a while, and topics that do not belong to it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tideflow::core::kafka::testing::TestBroker;
use tideflow::core::kafka::{NewTopic, create_topics, delete_records, end_offsets};

use super::job::{Job, published};
use super::start::{Killed, Layout, newest_manifest};
use super::view::View;
use crate::program::{Ended, Metrics, device_health, run};
use crate::python::model;

/// Files of more than these bytes cannot be written, as on a disk that is nearly full.
const FULL: &[&str] = &["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=4096:unlimited"];
/// None can be written that has any.
const FULL_NOW: &[&str] = &["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=0"];
/// Epochs since the last snapshot that say that none are taken, where one is due every three.
const FAR: f64 = 60.0;

/// Fills its disk before it has taken a snapshot, and makes room when it has gone on without one.
fn goes_on_while_its_disk_is_full(job: &dyn Killed, layout: Layout) {
    let run = job.start_by(FULL, layout, &["--job.snapshot_every=3"], None);
    run.wait_until("a failed try", || run.said("writing state did not work, and is tried again"));
    run.must_publish();
    assert_eq!(job.newest_manifest(), None);
    for process in run.processes() {
        let process = process.id().to_string();
        let room = Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited"]).status();
        assert!(room.is_ok_and(|status| status.success()), "it runs, and the limit is a soft one");
    }
    run.wait_until("a snapshot", || job.newest_manifest().is_some());
    run.signal("KILL");
    run.end_badly();
    job.start((2, 1)).end_well();
    job.check();
}

#[test]
fn fault_a_job_whose_disk_is_full_goes_on_publishing_and_takes_snapshots_again_when_there_is_room()
{
    goes_on_while_its_disk_is_full(&Job::shared(), (1, 2));
    goes_on_while_its_disk_is_full(&View::shared(), (2, 1));
}

#[test]
fn fault_a_start_on_a_full_disk_is_refused_and_leaves_nothing_wrong() {
    let job = Job::shared();
    let ended = job.start_by(FULL_NOW, (1, 1), &[], None).end();
    let words = "File too large";
    assert!(ended[0].code == 3 && ended[0].err.contains(words), "{ended:?}");
    job.start((1, 2)).end_well();
    job.check();
}

/// A device of a few pages, mounted for one process in place of its store: what is on it is seen by way of `/proc`.
#[test]
fn fault_a_job_on_a_device_without_space_goes_on_publishing_and_takes_snapshots_when_it_is_larger()
{
    const MOUNT: &str = "mkdir -p \"$0\" && mount -t tmpfs -o size=32k disk \"$0\" && exec \"$@\"";
    let job = Job::shared();
    let store = job.store().to_str().expect("a name in ASCII").to_string();
    let by = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, &store];
    let run = job.start_by(&by, (1, 2), &["--job.snapshot_every=3"], None);
    run.wait_until("a failed try", || run.said("No space left on device"));
    run.must_publish();
    let process = run.processes()[0].id().to_string();
    let on_disk = PathBuf::from(format!("/proc/{process}/root{store}"));
    assert_eq!(newest_manifest(&on_disk), None);
    let as_it = ["--target", &process, "--user", "--mount", "--preserve-credentials"];
    let larger = ["mount", "-o", "remount,size=64m", &store];
    let larger = Command::new("nsenter").args(as_it).args(larger).status();
    assert!(larger.is_ok_and(|status| status.success()), "it runs, and the mount is its own");
    run.wait_until("a snapshot", || newest_manifest(&on_disk).is_some());
    // The device goes with the process.
    run.signal("STOP");
    let copied = Command::new("cp").arg("-a").arg(on_disk.join(".")).arg(&store).status();
    assert!(copied.is_ok_and(|status| status.success()), "there is room outside");
    run.signal("KILL");
    run.end_badly();
    job.start((2, 1)).end_well();
    job.check();
}

/// Takes its store away while it runs, and has it back when it has gone on without it.
fn goes_on_while_its_store_is_away(job: &dyn Killed, layout: Layout) {
    let away = job.store().with_extension("away");
    let run = job.start_with(layout, &["--job.snapshot_every=3"], None);
    run.wait_until("a snapshot", || job.newest_manifest().is_some());
    std::fs::rename(job.store(), &away).expect("the folder is ours");
    run.wait_until("a failed try", || run.said("did not work, and is tried again"));
    let published = |m: &Metrics| m.sum("tideflow_sink_records_total", &[]);
    let before = published(&run.processes()[0].metrics());
    let lag = |m: &Metrics| m.sum("tideflow_snapshot_lag", &[]);
    let far = |m: &Metrics| published(m) > before && lag(m) > FAR;
    run.processes()[0].wait_until("more published, and not in a snapshot", far);
    assert!(!job.store().exists(), "a store that is away must not be made anew");
    std::fs::rename(&away, job.store()).expect("the folder is ours");
    let before = job.newest_manifest();
    run.wait_until("another snapshot", || job.newest_manifest() > before);
    run.processes()[0].wait_until("all but the last few in a snapshot", |m| lag(m) < FAR);
    run.signal("KILL");
    run.end_badly();
    let elsewhere = format!("--job.state={}", away.display());
    let said = job.start_with((1, 1), &[&elsewhere], None).end_badly();
    assert!(said.contains("what a job has left there that has run before"), "{said}");
    assert!(!away.exists(), "nor may an empty one be made in its place");
    job.start((2, 1)).end_well();
    job.check();
}

#[test]
fn fault_a_job_whose_store_is_away_goes_on_publishing_and_takes_snapshots_again_when_it_is_back() {
    goes_on_while_its_store_is_away(&Job::shared(), (2, 1));
    goes_on_while_its_store_is_away(&View::shared(), (1, 2));
}

#[test]
fn fault_a_job_whose_store_stays_away_begins_no_more_epochs_than_a_start_may_replay() {
    const MAX: f64 = 40.0;
    let job = Job::shared();
    let away = job.store().with_extension("away");
    let flags = ["--job.snapshot_every=3", &format!("--epochs.replay_max={MAX}")];
    let run = job.start_with((1, 2), &flags, None);
    run.wait_until("a snapshot", || job.newest_manifest().is_some());
    std::fs::rename(job.store(), &away).expect("the folder is ours");
    run.wait_until("it waits", || run.said("no further epoch is begun before a snapshot counts"));
    let process = &run.processes()[0];
    let lag = |m: &Metrics| m.sum("tideflow_snapshot_lag", &[]);
    let epoch = |m: &Metrics| m.sum("tideflow_epoch", &[]);
    let last = process.wait_until("all that may be is begun", |m| lag(m) == MAX);
    // Ten would fit into the time in which it looks at the store again.
    run.wait_until("another try", || run.said("is tried again"));
    std::thread::park_timeout(Duration::from_millis(200));
    assert_eq!(epoch(&process.metrics()), epoch(&last));
    std::fs::rename(&away, job.store()).expect("the folder is ours");
    run.end_well();
    job.check();
}

/// What a job keeps all records of, made by hand as the documents say.
fn make_anew(topic: &str, partitions: usize) {
    let config = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
    ];
    let topic = NewTopic { config: &config, ..NewTopic::new(topic, partitions) };
    let made = create_topics(&TestBroker::shared().config(), &[topic]);
    made.unwrap_or_else(|error| panic!("{error}"));
}

/// A job that was killed while it published.
fn killed() -> Job<'static> {
    let job = Job::shared();
    let run = job.start((1, 2));
    run.must_publish();
    run.signal("KILL");
    run.end_badly();
    job
}

/// That `check` and a start refuse with these words, which say it all, and nothing has begun.
fn refused(job: &Job<'_>, words: &str) {
    let check = run(device_health("check", &job.topics, &model("health")).arg("--job.shards=2"));
    let start = job.start((1, 1)).end().remove(0);
    for Ended { code, out, err, .. } in [check, start] {
        let told = out + &err;
        assert!(code == 2 && told.contains(words), "{code}, expected {words}: {told}");
        assert!(!told.contains("taking over"), "{told}");
    }
}

/// How many records there are, and the newest manifest.
fn standing(job: &Job<'_>) -> ([usize; 4], Option<String>) {
    (published(&job.topics).map(|records| records.len()), job.newest_manifest())
}

#[test]
fn fault_a_job_whose_topics_are_gone_or_made_anew_does_not_begin_anew() {
    let job = killed();
    let before = standing(&job);
    // The one that is looked at first is the last to go.
    for (topic, partitions) in [("progress", 2), ("bindings", 1)] {
        let topic = format!("{}.{topic}", job.topics.windows);
        TestBroker::shared().delete_topic(&topic);
        refused(&job, &format!("topic `{topic}` is gone, and state store `"));
        make_anew(&topic, partitions);
        refused(&job, &format!("topic `{topic}` partition 0 holds nothing, and state store `"));
    }
    assert_eq!(standing(&job), before);
}

#[test]
fn fault_a_job_whose_progress_was_deleted_publishes_nothing_again() {
    let job = killed();
    let before = standing(&job);
    let (kafka, topic) = (&job.topics.kafka, format!("{}.progress", job.topics.windows));
    let ends = end_offsets(kafka, &topic).expect("it is there");
    let of_one: Vec<_> = ends.into_iter().filter(|(partition, _)| *partition == 1).collect();
    delete_records(kafka, &topic, &of_one).expect("it may");
    for _ in 0..2 {
        refused(&job, &format!("topic `{topic}` partition 1 holds nothing, and state store `"));
    }
    assert_eq!(standing(&job), before);
}

#[test]
fn fault_a_job_of_another_cluster_is_refused() {
    let job = killed();
    let before = standing(&job);
    let own = TestBroker::shared().config().cluster_id().expect("it answers");
    let records = std::fs::read_dir(job.store().join("topics")).expect("it is there");
    let record = records.map(|record| record.expect("readable").path()).max().expect("one");
    let text = std::fs::read_to_string(&record).expect("it is there");
    assert!(!own.is_empty() && text.contains(&own), "{text}");
    std::fs::write(&record, text.replace(&own, "elsewhere")).expect("the folder is ours");
    refused(&job, &format!("is of a job on the cluster `elsewhere`, found the cluster `{own}`"));
    std::fs::write(&record, text).expect("the folder is ours");
    assert_eq!(standing(&job), before);
    job.start((2, 1)).end_well();
    job.check();
}
