//! The whole way of a job on one host: this machine, behind a stand-in for `ssh` that runs each command in
//! a shell. `make cluster-test` takes the same way with real hosts.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tideflow_launcher::clock;
use tideflow_launcher::supervise::Report;

/// Longest wait for something that takes a moment.
const TIME: Duration = Duration::from_secs(20);

/// What runs in place of OpenSSH. It takes note of its arguments.
const SSH: &str = "#!/bin/sh\n\
for last; do :; done\n\
case \"$*\" in *'-O exit'*) exit 0;; esac\n\
echo \"$*\" >> \"$SSH_CALLS\"\n\
exec sh -c \"$last\"\n";

struct Cluster {
    folder: TempDir,
    http: u16,
}

impl Cluster {
    fn new() -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let [http, other] = free_ports();
        let cluster = Cluster { folder, http };
        fs::create_dir_all(cluster.at("fake")).unwrap();
        cluster.program("fake/ssh", SSH.as_bytes());
        // The example `graph`, which `cargo test` builds beside the tests.
        let test = std::env::current_exe().unwrap();
        let graph = test.ancestors().nth(2).unwrap().join("examples/graph");
        let build = "run `cargo build -p tideflow-launcher --examples`";
        assert!(graph.exists(), "{} is missing, {build}", graph.display());
        cluster.program("graph", &fs::read(graph).unwrap());
        fs::create_dir_all(cluster.at("models/m")).unwrap();
        fs::write(cluster.at("models/m/weights"), "weights").unwrap();
        cluster.settings("");
        let place = cluster.at("place");
        let text = format!(
            "[job]\nname = \"j\"\nbinary = \"graph\"\nconfig = \"j.toml\"\nmodels = [\"models/m\"]\n\
             [hosts]\nlist = [{{ name = \"here\", address = \"127.0.0.1\" }}]\n\
             [ports]\nhttp = {http}\ncluster = {other}\n\
             [secrets]\n\"a.password\" = {{ env = \"A_PASSWORD\" }}\n\
             [place]\nfolder = \"{}\"\n",
            place.display()
        );
        fs::write(cluster.at("cluster.toml"), text).unwrap();
        cluster
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, content: &[u8]) {
        fs::write(self.at(name), content).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn settings(&self, more: &str) {
        fs::write(self.at("j.toml"), format!("[a]\nb = 1\npassword = \"***\"\n{more}")).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new(env!("CARGO_BIN_EXE_tideflow"))
            .args(["--deadline", "20s", "--cluster"])
            .arg(self.at("cluster.toml"))
            .args(args)
            .env("PATH", format!("{}:{path}", self.at("fake").display()))
            .env("SSH_CALLS", self.at("calls"))
            .env("A_PASSWORD", "hunter2")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints when it is done.
    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says when it fails with this code.
    fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        errors
    }

    fn status(&self) -> Value {
        let object: Value = serde_json::from_str(&self.done(&["status", "--json"])).unwrap();
        object["hosts"][0]["status"].clone()
    }

    fn current(&self) -> PathBuf {
        fs::read_link(self.at("place/j/current")).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run(&["stop"]);
    }
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Whether processes are kept by systemd here: a test must not give this machine units.
fn has_systemd() -> bool {
    let has = Path::new("/run/systemd/system").is_dir() && rustix::process::geteuid().is_root();
    if has {
        eprintln!("SKIPPED: this machine has systemd, and the launcher would write units there");
    }
    has
}

#[test]
fn a_job_goes_up_changes_goes_back_and_goes_down() {
    if has_systemd() {
        return;
    }
    let cluster = Cluster::new();
    let plan = cluster.done(&["plan"]);
    assert!(plan.contains("+ here (127.0.0.1) runs process 0"), "{plan}");
    assert!(plan.contains("the first: "), "{plan}");
    assert!(plan.contains("ok    configuration: read"), "{plan}");
    assert!(!cluster.at("place/j/current").exists());

    let table = cluster.done(&["up"]);
    assert!(table.contains("running"), "{table}");
    let first = cluster.current();
    assert_eq!(cluster.done(&["up"]), "nothing to change\n");
    assert_eq!(cluster.done(&["plan", "--no-check"]), "nothing to change\n");
    assert_eq!(fs::read(cluster.at("place/j/work/models/m/weights")).unwrap(), b"weights");

    // The program has the secret: it says how long it is.
    let status = cluster.status();
    assert_eq!(status["state"], "running");
    assert_eq!(status["ready"], true);
    assert_eq!((status["epoch"].as_u64(), status["generation"].as_u64()), (Some(7), Some(7)));
    let logs = cluster.done(&["logs", "--grep", "starting"]);
    assert_eq!(logs, "0 | 2026-11-28T09:00:00.000000Z  INFO main graph: starting\n");

    cluster.settings("c = 2\nmore = true\n");
    let plan = cluster.done(&["plan", "--no-check"]);
    assert!(plan.contains("setting      + a.c = 2\n"), "{plan}");
    assert!(plan.contains("graph        + `more` kind operator\n"), "{plan}");
    cluster.done(&["up"]);
    assert_ne!(cluster.current(), first);
    cluster.done(&["rollback"]);
    assert_eq!(cluster.current(), first);

    let out = cluster.done(&["stop"]);
    assert_eq!(out, "nothing runs on 1 hosts\n");
    assert_eq!(cluster.status()["state"], "stopped");
    cluster.done(&["restart"]);
    assert_eq!(cluster.status()["state"], "running");
    fs::write(cluster.at("place/j/work/kept"), "by the process").unwrap();
    let down = cluster.done(&["down"]);
    assert!(down.contains("work` stays"), "{down}");
    let left = fs::read_dir(cluster.at("place/j")).unwrap().count();
    assert_eq!(left, 1, "only the working folder is left");
    assert_eq!(cluster.status()["state"], "nothing");
}

#[test]
fn a_process_that_is_lost_comes_back_and_one_that_is_refused_is_told() {
    if has_systemd() {
        return;
    }
    let cluster = Cluster::new();
    cluster.done(&["up"]);
    let folder = cluster.at("place/j");
    let pid = Report::read(&folder).unwrap().pid;
    assert!(
        Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap().success()
    );
    let again = || Report::read(&folder).filter(|report| report.restarts == 1 && report.pid != pid);
    clock::until(Instant::now() + TIME, Duration::from_millis(10), again).expect("it comes back");
    assert_eq!(cluster.status()["restarts"], 1);

    cluster.settings("refused = true\n");
    let said = cluster.fails(&["up"], 1);
    assert!(said.contains("ready failed on 1 of 1 hosts"), "{said}");
    assert!(
        said.contains("here: the process ended with code 2: tideflow: refused when run"),
        "{said}"
    );
    cluster.settings("broken = true\n");
    let said = cluster.fails(&["up"], 2);
    assert!(said.contains("configuration refused: broken"), "{said}");
    cluster.settings("");
    cluster.done(&["up"]);

    cluster.done(&["stop"]);
    let taken = TcpListener::bind(("127.0.0.1", cluster.http)).unwrap();
    let said = cluster.fails(&["restart"], 1);
    let expected = format!("here: port {} cannot be listened on: ", cluster.http);
    assert!(said.contains(&expected), "{said}");
    drop(taken);
    cluster.done(&["restart"]);

    // Another port is looked at before what runs is stopped.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = fs::read_to_string(cluster.at("cluster.toml")).unwrap();
    let other = file.replace(&format!("http = {}", cluster.http), &format!("http = {port}"));
    fs::write(cluster.at("cluster.toml"), other).unwrap();
    let said = cluster.fails(&["up"], 1);
    assert!(said.contains(&format!("port {port} cannot be listened on")), "{said}");
    assert_eq!(cluster.status()["state"], "running");
    fs::write(cluster.at("cluster.toml"), file).unwrap();
}

#[test]
fn no_secret_is_in_a_command_line_a_release_or_a_message() {
    if has_systemd() {
        return;
    }
    let cluster = Cluster::new();
    let output = cluster.run(&["up"]);
    let said = [output.stdout, output.stderr].concat();
    let token = fs::read_to_string(cluster.at("certs/token")).unwrap();
    let mut seen = vec![fs::read(cluster.at("calls")).unwrap(), said];
    collect(&cluster.at("place/j/releases"), &mut seen);
    seen.push(fs::read(cluster.at("place/j/assigned.json")).unwrap());
    seen.push(fs::read(cluster.at("place/j/run.env")).unwrap());
    for bytes in &seen {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("hunter2") && !text.contains(&token));
    }
    let secrets = cluster.at("place/j/secrets");
    assert_eq!(secrets.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let env = secrets.join("run.env");
    assert_eq!(env.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(env).unwrap(), "TIDEFLOW__A__PASSWORD=\"hunter2\"\n");
}

fn collect(folder: &Path, seen: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => collect(&path, seen),
            path => seen.push(fs::read(path).unwrap()),
        }
    }
}

#[test]
fn doctor_says_what_is_wrong_with_a_remedy() {
    if has_systemd() {
        return;
    }
    let cluster = Cluster::new();
    let found = cluster.done(&["doctor"]);
    for line in
        ["ok    here  ssh: ", "ok    here  clock: ", "ok    here  folder: ", "ok    here  graph: "]
    {
        assert!(found.contains(line), "{line}\n{found}");
    }
    cluster.done(&["up"]);
    let found = cluster.done(&["doctor"]);
    assert!(found.contains("ok    here  configuration: read"), "{found}");
    assert!(found.contains("in use, and the process runs"), "{found}");
    cluster.program("fake/ssh", b"#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n");
    let output = cluster.run(&["doctor"]);
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(found.contains("FAIL  here  ssh: its host key is not known"), "{found}");
    let said = cluster.fails(&["up"], 1);
    assert!(said.contains("reach failed on 1 of 1 hosts"), "{said}");
    cluster.program("fake/ssh", SSH.as_bytes());
}
