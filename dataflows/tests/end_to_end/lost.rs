//! A process that is gone, frozen or never there: the others end with it, and say who it was.

use tideflow::core::kafka::testing::TestBroker;

use crate::batch::hostfile;
use crate::fleet::{START, at};
use crate::program::{Running, device_health};
use crate::python::model;
use crate::topics::Topics;

/// The first processes of a job of so many.
fn start(topics: &Topics, hosts: &str, started: usize) -> Vec<Running> {
    let process = |number: usize| {
        let mut command = device_health("run", topics, &model("health"));
        command.args([
            format!("--workers.hostfile={hosts}"),
            format!("--workers.process={number}"),
            "--workers.join_timeout_ms=600000".to_string(),
        ]);
        Running::start(&mut command)
    };
    (0..started).map(process).collect()
}

fn topics() -> Topics {
    let topics = Topics::new(TestBroker::shared(), 2, 1);
    topics.send([at(0, "d", START), at(1, "e", START)]);
    topics
}

#[test]
fn fault_a_process_that_is_killed_or_frozen_ends_the_others_which_name_it() {
    for (signal, why) in [
        ("KILL", "it has closed the connection"),
        ("STOP", "nothing heard of it for 1500 ms (`workers.lost_after_ms`)"),
    ] {
        let topics = topics();
        let folder = tempfile::tempdir().expect("a folder for a while");
        let mut job = start(&topics, &hostfile(folder.path(), 3), 3);
        job[0].wait_until("epochs", |m| m.sum("tideflow_epoch", &[]) > 0.0);
        let lost = job.remove(1);
        lost.signal(signal);
        for other in job {
            let ended = other.end();
            ended.with_code(5);
            // By itself, or in the last words of another that has noticed before.
            let told = |line: &str| {
                let lost = line.strip_prefix("tideflow: ").unwrap_or_default();
                let of_another =
                    lost.find("is lost: process 1").map_or(0, |at| at + "is lost: ".len());
                lost[of_another..].starts_with("process 1 (127.") && lost.ends_with(why)
            };
            assert!(ended.err.lines().any(told), "{signal}: {}", ended.err);
        }
    }
}

#[test]
fn fault_a_process_that_is_killed_while_they_meet_ends_the_others() {
    let topics = topics();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let mut job = start(&topics, &hostfile(folder.path(), 3), 2);
    for process in &job {
        process.wait_for("waiting for the other processes");
    }
    // They have met, or are about to: the one that is left notices either way, or is not met.
    job[0].wait_for("process 1 is there");
    job.remove(1).signal("KILL");
    let ended = job.remove(0).end();
    ended.with_code(5);
    let words = "is lost: it has closed the connection";
    assert!(ended.err.contains(words), "{}", ended.err);
}
