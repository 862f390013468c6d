//! A whole binary on the process shell: what it prints, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tideflow_cluster::settings::{ENV_PREFIX, Schema};
use tideflow_cluster::{Exit, FRAMEWORK_DEFAULTS};

const PROBE_DEFAULTS: &str = include_str!("../examples/probe.toml");

/// The example `probe`, which `cargo test` builds beside the tests.
fn probe(args: &[&str]) -> Command {
    let test = std::env::current_exe().unwrap();
    let path: PathBuf = test.ancestors().nth(2).unwrap().join("examples/probe");
    let build = "run `cargo build -p tideflow-cluster --examples`";
    assert!(path.exists(), "{} is missing, {build}", path.display());
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The settings of whoever runs the tests are not the tests'.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(ENV_PREFIX) {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_BACKTRACE").env("TIDEFLOW__HTTP__BIND", "127.0.0.1:0");
    command
}

fn output(args: &[&str]) -> (i32, String, String) {
    of(probe(args).output().unwrap())
}

fn of(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A running probe, ended with the test.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    seen: String,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let mut child = probe(args).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut running = Running { child, stderr, seen: String::new() };
        running.wait_for("running");
        running
    }

    /// Reads standard error up to a line with this text.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).unwrap();
            self.seen += &line;
            assert!(read > 0, "no `{text}` in:\n{}", self.seen);
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// The exit code, and everything on standard error.
    fn end(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, std::mem::take(&mut self.seen) + &rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_explains_every_option_with_its_default() {
    let (code, help, _) = output(&["run", "--help"]);
    assert_eq!(code, 0);
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat_help = flat(&help);
    let schema = Schema::read(&[FRAMEWORK_DEFAULTS, PROBE_DEFAULTS]).unwrap();
    for section in schema.sections() {
        assert!(flat_help.contains(&format!(
            "[{}] {}",
            section.path,
            section.doc.summary().trim_end_matches('.')
        )));
    }
    for key in schema.keys() {
        assert!(help.contains(&format!("      --{}", key.path)), "{}", key.path);
        for paragraph in key.doc.paragraphs() {
            assert!(flat_help.contains(&flat(&paragraph)), "{}: {paragraph}", key.path);
        }
    }
    assert!(help.contains("[default: 8388608]"));
    for exit in Exit::ALL {
        assert!(help.contains(&format!("{:>5}  {}", exit.code(), exit.meaning())), "{exit:?}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    assert!(help.ends_with('\n'));
    let (code, brief, _) = output(&["run", "-h"]);
    assert_eq!(code, 0);
    assert!(schema.keys().all(|key| brief.contains(&format!("--{}", key.path))));
    assert!(brief.len() < help.len());
}

#[test]
fn the_exit_codes_of_help_are_those_of_the_readme() {
    let readme = include_str!("../../README.md").replace('`', "");
    for exit in Exit::ALL {
        let line = format!("| {} | {} |\n", exit.code(), exit.meaning());
        assert!(readme.contains(&line), "README.md: no line {line}");
    }
}

#[test]
fn golden_usage_errors_are_short_and_exit_with_2() {
    let (code, out, err) = output(&["run", "--threads", "3"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "error: unexpected argument '--threads' found\n\n  \
         tip: a setting is given with its section: '--workers.threads VALUE'\n\n\
         Usage: probe run [--config FILE] [--SECTION.KEY VALUE]...\n\n\
         For more information, try '--help'.\n"
    );
    for wrong in [&["fly"][..], &["graph", "--format", "svg"], &[], &["config", "x"]] {
        assert_eq!(output(wrong).0, 2, "{wrong:?}");
    }
    assert_eq!(output(&["--version"]).1, "probe 1.2.3 (tideflow 0.1.0)\n");
}

#[test]
fn golden_a_wrong_configuration_exits_with_2_before_anything_runs() {
    let wrong = ["--probe.share", "half", "--run.on_stop", "--workers.hostfile", "/no/such"];
    let message = "tideflow: configuration refused, 3 problems:\n  \
        flag `--probe.share`: `probe.share` is `half`, expected a number\n  \
        flag `--run.on_stop`: needs a value\n  \
        flag `--workers.hostfile`: `workers.hostfile`: host file `/no/such` cannot be read: No \
        such file or directory (os error 2)\n";
    for action in ["run", "check"] {
        let args: Vec<_> = [action].into_iter().chain(wrong).collect();
        assert_eq!(output(&args), (2, String::new(), message.into()), "{action}");
    }
    let one = output(&["graph", "--probe.shar", "1"]).2;
    assert_eq!(
        one,
        "tideflow: configuration refused: flag `--probe.shar`: unknown key `probe.shar`, did you \
         mean `--probe.share`?\n"
    );
}

#[test]
fn config_prints_what_is_effective_and_hides_secrets() {
    let args = ["config", "--probe.api_token", "hunter2", "--probe.extra.my.password=hunter2"];
    let (code, out, err) = output(&args);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("api_token = \"***\"  # flag `--probe.api_token`\n"), "{out}");
    assert!(
        out.contains("\"my.password\" = \"***\"  # flag `--probe.extra.my.password`\n"),
        "{out}"
    );
    assert!(out.contains("bind = \"127.0.0.1:0\"  # variable `TIDEFLOW__HTTP__BIND`\n"), "{out}");
    assert!(out.contains("share = 0.5\n") && !out.contains("hunter2"), "{out}");
    let defaults = output(&["config", "--defaults"]).1;
    assert!(defaults.contains("bind = \"127.0.0.1:9464\"\n"), "{defaults}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("defaults.toml");
    std::fs::write(&path, defaults).unwrap();
    assert_eq!(output(&["check", "--config", path.to_str().unwrap()]).0, 0);
}

#[test]
fn golden_check_lists_what_it_found_and_exits_with_what_to_mend_first() {
    let (code, out, _) = output(&["check"]);
    assert_eq!(code, 0);
    assert_eq!(out, "ok    configuration: 1 set, the rest by default\nok    thing 1: there\n");
    let (code, out, _) = output(&["check", "--probe.act", "fail", "--probe.checks", "3"]);
    assert_eq!(code, 2);
    assert_eq!(
        out,
        "ok    configuration: 3 set, the rest by default\nFAIL  thing 1: found Unavailable\n\
         FAIL  thing 2: found Invalid\nFAIL  thing 3: found Fatal\n"
    );
    assert_eq!(output(&["check", "--probe.act", "fail"]).0, 3);
}

#[test]
fn graph_prints_the_graph_in_the_format_asked() {
    assert!(output(&["graph"]).1.starts_with("Dot 0.5"));
    let args = ["graph", "--format", "json", "--probe.names", "x,y", "--probe.extra.a.b", "1"];
    assert_eq!(output(&args).1, "Json 0.5 [\"x\", \"y\"] {\"a.b\": \"1\"}\n");
}

#[test]
fn golden_questions_reach_the_graph_as_they_were_asked() {
    for (args, asked) in [
        ("state ls", "State(List)"),
        ("state show", "State(Show { snapshot: None })"),
        ("state verify last", "State(Verify { snapshot: Some(\"last\") })"),
        ("state gc", "State(Collect { dry_run: false })"),
        ("state gc --dry-run", "State(Collect { dry_run: true })"),
        (
            "state export --key d1 --snapshot last",
            "State(Export { snapshot: Some(\"last\"), operator: None, key: Some(\"d1\") })",
        ),
        (
            "state --probe.share 0.1 savepoint last",
            "State(Savepoint { name: \"last\", snapshot: None })",
        ),
        ("state drop last", "State(Drop { savepoint: \"last\" })"),
        (
            "state fork trial --snapshot last",
            "State(Fork { job: \"trial\", snapshot: Some(\"last\") })",
        ),
        ("rejects ls --error x", "Rejects(List { error: Some(\"x\"), all: false })"),
        ("rejects replay --all", "Rejects(Replay { all: true })"),
    ] {
        let (code, out, err) = output(&args.split(' ').collect::<Vec<_>>());
        assert_eq!((code, out.trim_end()), (0, asked), "{args}: {err}");
    }
    for args in [&["state"][..], &["state", "savepoint"], &["rejects", "drop"]] {
        let (code, _, err) = output(args);
        assert!(code == 2 && err.contains("Usage: "), "{args:?}: {err}");
    }
}

#[test]
fn a_graph_that_ends_exits_with_0_and_one_that_fails_with_what_to_do() {
    assert_eq!(output(&["run"]).0, 0);
    let (code, out, err) = output(&["run", "--probe.act", "fail"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert_eq!(err.matches("the broker went away").count(), 1, "{err}");
    let (code, _, err) = output(&["run", "--probe.act", "fail", "--log.level", "off"]);
    assert_eq!((code, err.as_str()), (3, "tideflow: the broker went away\n"));
}

#[test]
fn logs_are_text_or_json_and_never_hold_a_secret() {
    let (_, _, text) = output(&["run", "--probe.api_token", "hunter2"]);
    assert!(text.contains(" INFO main tideflow_cluster"), "{text}");
    assert!(!text.contains("hunter2") && text.contains("api_token: ***"), "{text}");
    let (_, _, json) = output(&["run", "--log.format", "json", "--log.level", "probe=info"]);
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{json}");
    assert_eq!((&lines[0]["message"], &lines[0]["target"]), (&"running".into(), &"probe".into()));
}

#[test]
fn fault_a_panic_in_a_thread_ends_the_process_and_names_the_operator() {
    let (code, _, err) = output(&["run", "--probe.act", "panic"]);
    assert_eq!(code, 70, "{err}");
    let report = "panic in operator `scores` (thread scores): something broke at ";
    let plain = err.lines().find(|line| line.starts_with("tideflow: ")).unwrap();
    assert!(plain.starts_with(&format!("tideflow: {report}")), "{err}");
    assert!(plain.contains("probe.rs:"), "{err}");
    let logged = err.lines().find(|line| line.contains(" ERROR ")).unwrap();
    assert!(logged.contains(report), "{err}");
}

#[test]
fn fault_a_panic_with_standard_error_closed_still_exits_with_70() {
    let mut child = probe(&["run", "--probe.act", "panic"]).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(70));
}

#[test]
fn a_first_signal_stops_the_graph_the_way_it_is_configured() {
    for (signal, on_stop, ending) in [("INT", "suspend", "Suspend"), ("TERM", "drain", "Drain")] {
        let args = ["run", "--probe.act", "wait", "--run.on_stop", on_stop];
        let mut running = Running::start(&args);
        running.signal(signal);
        let line = running.wait_for("stopping, a second signal leaves at once");
        assert!(line.contains(&format!("signal=\"SIG{signal}\"")), "{line}");
        let line = running.wait_for("told to stop");
        assert!(line.contains(&format!("ending={ending}")), "{line}");
        let (code, err) = running.end();
        assert_eq!(code, 0, "{err}");
    }
}

#[test]
fn fault_a_second_signal_leaves_at_once() {
    let mut running = Running::start(&["run", "--probe.act", "hang"]);
    running.signal("INT");
    running.wait_for("stopping");
    running.signal("TERM");
    let (code, err) = running.end();
    assert_eq!(code, 130, "{err}");
    assert!(err.ends_with("tideflow: SIGTERM while stopping, leaving at once\n"), "{err}");
}

#[test]
fn fault_a_stop_that_takes_too_long_is_ended() {
    let args = ["run", "--probe.act", "hang", "--run.stop_timeout_ms", "200"];
    let running = Running::start(&args);
    let signalled = Instant::now();
    running.signal("TERM");
    let (code, err) = running.end();
    assert_eq!(code, 1, "{err}");
    assert!(signalled.elapsed() >= Duration::from_millis(200));
    let words = "tideflow: not stopped after 200 ms (`run.stop_timeout_ms`), leaving with the \
                 last epochs unpublished\n";
    assert!(err.ends_with(words), "{err}");
}

#[test]
fn a_running_graph_shows_its_pages_and_a_busy_port_is_refused() {
    let mut child =
        probe(&["run", "--probe.act", "wait", "--probe.api_token", "x"]).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut running = Running { child, stderr, seen: String::new() };
    let line = running.wait_for("address=");
    let address = line.trim().rsplit_once("address=").unwrap().1.to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.ends_with("\r\n\r\nprobe_token_shown{as=\"***\"} 1\n"), "{page}");
    let (code, _, err) = output(&["run", "--http.bind", &address, "--log.level", "off"]);
    assert_eq!(code, 3, "{err}");
    let port = address.rsplit(':').next().unwrap();
    let expected = format!(
        "tideflow: configuration refused: flag `--http.bind`: `http.bind`: port {port} of \
         `127.0.0.1` is in use by another program\n"
    );
    assert_eq!(err, expected);
    running.signal("INT");
    assert_eq!(running.end().0, 0);
}

#[test]
fn a_replay_is_asked_for_a_time_a_model_and_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let [new, used] = ["a/new", "used"].map(|name| folder.path().join(name).display().to_string());
    let replay =
        |more: &[&str]| output(&[&["replay", "--from", "2026-11-20T00:00:00Z"], more].concat());
    let said = replay(&["--to", "1763683200000", "--out", &new, "--probe.act=wait"]);
    assert_eq!(said.0, 2, "{said:?}");
    assert!(
        said.2.contains("`--to`: expected a time after `--from`, 2026-11-20T00:00:00Z"),
        "{said:?}"
    );
    let said = replay(&["--model", "wait", "--out", &new, "--probe.act=hang"]);
    assert_eq!((said.0, said.1.as_str()), (0, "wait 2026-11-20T00:00:00Z end\n"), "{said:?}");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(format!("{used}/notes"), "mine").unwrap();
    let said = replay(&["--out", &used]);
    assert_eq!(said.0, 2, "{said:?}");
    let refused = format!("expected a new or an empty folder, found `notes` in `{used}`");
    assert!(said.2.contains(&refused), "{said:?}");
}
