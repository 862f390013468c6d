//! A mistake in an operator: the whole job ends, and says where.

use std::path::PathBuf;

use crate::batch::hostfile;
#[cfg(feature = "crash-points")]
use crate::crash::job::Job;
use crate::crash::start::Killed;
use crate::program::{Ended, Running, of, run};

/// An example of this package, which `cargo test` builds beside the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let path = test.ancestors().nth(2).expect("in deps").join("examples").join(name);
    let build = "run `cargo build -p tideflow-dataflows --examples`";
    assert!(path.exists(), "{} is missing, {build}", path.display());
    path
}

/// The process said which operator it was, in plain words and in its log.
fn assert_named(ended: &Ended, operator: &str, message: &str) {
    ended.with_code(70);
    let plain = ended.err.lines().find(|l| l.starts_with("tideflow: ")).unwrap_or_default();
    let words = format!("tideflow: panic in operator `{operator}` (thread ");
    assert!(plain.starts_with(&words) && plain.contains(message), "{}", ended.err);
    assert!(plain.contains("panics.rs:"), "{}", ended.err);
    let logged = ended.err.lines().find(|l| l.contains(" ERROR ")).unwrap_or_default();
    assert!(logged.contains(message) && logged.contains(operator), "{}", ended.err);
}

#[test]
fn fault_a_panic_in_an_operator_or_its_thread_ends_the_process_with_the_operators_name() {
    for (place, message) in [("windows", "nobody thought of this"), ("scores", "no score today")] {
        for threads in ["1", "3"] {
            let flags = ["run", "--workers.threads", threads, "--panics.place", place];
            assert_named(&run(&mut of(&example("panics"), &flags)), place, message);
        }
    }
    assert_eq!(run(&mut of(&example("panics"), &["run", "--workers.threads=3"])).code, 0);
}

#[test]
fn fault_a_panic_in_one_process_ends_the_other_too() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = format!("--workers.hostfile={}", hostfile(folder.path(), 2));
    let processes = ["0", "1"].map(|process| {
        let mut command = of(&example("panics"), &["run", &hosts, "--panics.place=windows"]);
        Running::start(command.args(["--workers.process", process]))
    });
    let ended = processes.map(Running::end);
    // One of the two has the key; the other sees that its peer is gone.
    let named = ended.iter().find(|e| e.err.contains("tideflow: panic in operator `windows`"));
    assert_named(named.expect("one of the two says so"), "windows", "nobody thought of this");
    let lost = |e: &&Ended| e.err.contains(" is lost: panic in operator `windows` (thread ");
    let other = ended.iter().find(lost).expect("the other is told");
    other.with_code(5);
}

#[test]
fn fault_a_worker_that_hangs_ends_its_process_and_the_other() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let hosts = format!("--workers.hostfile={}", hostfile(folder.path(), 2));
    let processes = ["0", "1"].map(|process| {
        let flags = ["run", &hosts, "--panics.place=windows", "--panics.hangs=true"];
        let mut command = of(&example("panics"), &flags);
        command.args(["--workers.process", process, "--workers.step_timeout_ms=1000"]);
        Running::start(&mut command)
    });
    let ended = processes.map(Running::end);
    let words = " hangs: it is at one thing for 1000 ms (`workers.step_timeout_ms`)";
    let said = |e: &&Ended| {
        e.err.lines().any(|l| l.starts_with("tideflow: worker ") && l.ends_with(words))
    };
    ended.iter().find(said).expect("one of the two says so").with_code(1);
    let told = |e: &&Ended| e.err.contains(" is lost: worker ") && e.err.contains(words);
    ended.iter().find(told).expect("the other is told").with_code(5);
}

#[cfg(feature = "crash-points")]
#[test]
fn fault_a_panic_in_a_thread_that_publishes_or_keeps_state_ends_the_process_with_its_operators_name()
 {
    let places = [
        ("produced", "kafka shard"),
        ("state written", "snapshot state"),
        ("manifest written", "snapshot manifest"),
    ];
    for (place, operator) in places {
        let mut job = Job::shared();
        job.topics.environment = vec![("TIDEFLOW_PANIC_AT", format!("{place}:2"))];
        let ended = job.start((1, 1)).end().remove(0);
        ended.with_code(70);
        let words = format!("tideflow: panic in operator `{operator}` (thread ");
        assert!(ended.err.contains(&words), "{}", ended.err);
    }
}
