//! `tideflow supervise`, with a shell script as the program that is lost.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tideflow_launcher::clock;
use tideflow_launcher::supervise::{LOG, Phase, Report, is_held};

/// Longest wait for something that takes a moment.
const TIME: Duration = Duration::from_secs(20);

struct Supervised {
    folder: TempDir,
    child: Child,
}

fn command(folder: &Path, script: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tideflow"));
    command.arg("supervise").arg("--folder").arg(folder).arg("--work").arg(folder);
    command.args(["--restart-wait-ms-min", "20", "--restart-wait-ms-max", "80"]).args(flags);
    command.args(["--", "sh", "-c", script]).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn start(script: &str, flags: &[&str]) -> Supervised {
    let folder = tempfile::tempdir().unwrap();
    let child = command(folder.path(), script, flags).spawn().unwrap();
    Supervised { folder, child }
}

impl Supervised {
    fn code(&mut self) -> i32 {
        let until = Instant::now() + TIME;
        let every = Duration::from_millis(5);
        let status = clock::until(until, every, || self.child.try_wait().unwrap());
        status.expect("it ends").code().unwrap_or(-1)
    }

    fn report(&self) -> Report {
        Report::read(self.folder.path()).unwrap()
    }

    fn wait(&self, what: &str, holds: impl Fn(&Report) -> bool) -> Report {
        let every = Duration::from_millis(5);
        let look = || Report::read(self.folder.path()).filter(|report| holds(report));
        let found = clock::until(Instant::now() + TIME, every, look);
        found.unwrap_or_else(|| panic!("never {what}: {:?}", self.report()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The number of one that has ended may be another's by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("TERM", self.child.id());
            let _ = self.child.wait();
        }
    }
}

fn signal(name: &str, pid: u32) {
    let _ =
        Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Ends with one code after the other, a line of the file `codes` a start.
const CODES: &str =
    "code=$(head -n 1 codes); sed -i 1d codes; echo \"ends with $code\"; exit $code";

#[test]
fn a_loss_is_mended_by_another_start_and_what_is_final_is_not() {
    for last in [0, 2, 4] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("codes"), format!("1\n3\n5\n70\n{last}\n")).unwrap();
        let child = command(folder.path(), CODES, &[]).spawn().unwrap();
        let mut supervised = Supervised { folder, child };
        assert_eq!(supervised.code(), last);
        let report = supervised.report();
        let phase = if last == 0 { Phase::Stopped } else { Phase::Failed };
        assert_eq!((report.restarts, report.phase), (4, phase));
        let ended = format!("the process ended with code {last}");
        assert_eq!(report.ended.as_deref(), Some(ended.as_str()));
        assert_eq!(report.words, Some(format!("ends with {last}")));
        let log = supervised.log();
        for line in [
            "the process ended with code 1, starting again in 20 ms",
            "the process ended with code 3, starting again in 40 ms",
            "the process ended with code 5, starting again in 20 ms",
            "the process ended with code 70, starting again in 80 ms",
        ] {
            assert!(log.contains(line), "{line}:\n{log}");
        }
        assert!(log.contains(&format!("{ended}, not started again")), "{log}");
        assert!(!is_held(supervised.folder.path()).unwrap());
    }
}

#[test]
fn a_process_that_is_killed_is_started_again_at_once() {
    let supervised = start("exec sleep 60", &[]);
    let first = supervised.wait("running", |report| report.phase == Phase::Running);
    let killed = Instant::now();
    signal("KILL", first.pid);
    let again = |report: &Report| report.phase == Phase::Running && report.pid != first.pid;
    let second = supervised.wait("running again", again);
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    assert_eq!(second.restarts, 1);
    assert_eq!(second.ended.as_deref(), Some("the process was ended by signal 9"));
}

#[test]
fn a_signal_stops_the_process_well_and_for_good() {
    let script = "trap 'echo draining; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let mut supervised = start(script, &[]);
    let log = supervised.folder.path().join(LOG);
    let up = || fs::read_to_string(&log).is_ok_and(|log| log.contains("up\n")).then_some(());
    clock::until(Instant::now() + TIME, Duration::from_millis(5), up).expect("it comes up");
    signal("TERM", supervised.child.id());
    assert_eq!(supervised.code(), 0);
    let report = supervised.report();
    assert_eq!((report.phase, report.restarts), (Phase::Stopped, 0));
    assert_eq!(report.words.as_deref(), Some("draining"));
}

#[test]
fn a_process_that_does_not_stop_is_killed() {
    let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
    let mut supervised = start(script, &["--stop-timeout-ms", "200"]);
    supervised.wait("running", |report| report.phase == Phase::Running);
    let log = supervised.folder.path().join(LOG);
    let up = || fs::read_to_string(&log).is_ok_and(|log| log.contains("up\n")).then_some(());
    clock::until(Instant::now() + TIME, Duration::from_millis(5), up).expect("it comes up");
    signal("TERM", supervised.child.id());
    assert_eq!(supervised.code(), 1);
    assert!(supervised.log().contains("not stopped after 200 ms, killed"));
}

#[test]
fn two_never_run_not_even_when_the_supervisor_is_killed() {
    let mut supervised = start("exec sleep 60", &[]);
    let report = supervised.wait("running", |report| report.phase == Phase::Running);
    let folder = supervised.folder.path().to_owned();
    let second = || command(&folder, "exit 0", &[]).output().unwrap();
    let refused = second();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("something runs there already"), "{said}");
    signal("KILL", report.supervisor);
    supervised.child.wait().unwrap();
    assert_eq!(second().status.code(), Some(1), "the process itself holds the lock");
    signal("KILL", report.pid);
    let free = || (!is_held(&folder).unwrap()).then_some(());
    clock::until(Instant::now() + TIME, Duration::from_millis(5), free).expect("it is free");
    assert_eq!(second().status.code(), Some(0));
}

#[test]
fn variables_come_from_files_and_what_cannot_run_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let env = folder.path().join("run.env");
    fs::write(&env, "A=\"one \\\"two\\\"\"\n").unwrap();
    let flags = ["--env", env.to_str().unwrap()];
    let output = command(folder.path(), "echo \"A is $A\"", &flags).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = fs::read_to_string(folder.path().join(LOG)).unwrap();
    assert!(log.contains("A is one \"two\"\n"), "{log}");
    let mut broken = Command::new(env!("CARGO_BIN_EXE_tideflow"));
    broken.arg("supervise").arg("--folder").arg(folder.path()).args(["--", "/no/such/program"]);
    let output = broken.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`/no/such/program`: No such file"), "{said}");
    assert_eq!(Report::read(folder.path()).unwrap().phase, Phase::Failed);
}
