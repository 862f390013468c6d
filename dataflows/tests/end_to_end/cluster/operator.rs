//! Who runs the cluster: its files, and the commands.

use std::fmt::Write;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use tideflow::core::EventTime;

use super::hosts::Hosts;
use crate::crash::job::alarm_flags;
use crate::program::{Ended, of, run};
use crate::python::model;
use crate::topics::{DEADLINE, Topics};

/// A cluster file with its settings, and who uses it.
pub struct Cluster {
    folder: TempDir,
}

/// A program that `cargo test` builds beside the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let path = test.ancestors().nth(2).expect("in deps").join(name);
    assert!(path.exists(), "{} is missing, run `cargo build --workspace --bins`", path.display());
    path
}

impl Cluster {
    /// So many processes, on hosts whose list is in a file.
    pub fn new(hosts: &Hosts, topics: &Topics, processes: usize) -> Cluster {
        let cluster = Cluster { folder: tempfile::tempdir().expect("a folder for a while") };
        let native =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tideflow/native/lib");
        let hosts_file =
            std::fs::read_to_string(hosts.file("hosts.json")).expect("it came with them");
        let list: Vec<Value> = serde_json::from_str(&hosts_file).expect("a list");
        let list = list.iter().fold(String::new(), |mut list, host| {
            let _ =
                writeln!(list, "    {{ name = {}, address = {} }},", host["name"], host["address"]);
            list
        });
        let text = format!(
            "[job]\nname = \"health\"\nbinary = {binary:?}\nconfig = \"settings.toml\"\nmodels = [{model:?}]\n\
             native = {native:?}\nprocesses = {processes}\n\n[hosts]\nlist = [\n{list}]\n\n[ssh]\nuser = \"root\"\n\
             key = {key:?}\nknown_hosts = {known:?}\n",
            binary = program("device_health"),
            model = model("health"),
            key = hosts.file("id_ed25519"),
            known = hosts.file("known_hosts"),
        );
        cluster.write(&text);
        let mut settings = String::new();
        let flags = topics.flags().into_iter().chain(alarm_flags());
        for flag in flags.chain([
            "--model.reference=models/health".into(),
            "--job.shards=2".into(),
            "--job.snapshot_every=40".into(),
            // A pause between two parts of the readings is no end.
            "--readings.idle_after_ms=3600000".into(),
        ]) {
            let (key, value) = flag.trim_start_matches("--").split_once('=').expect("key=value");
            let value = match value.parse::<f64>() {
                Ok(_) => value.to_string(),
                Err(_) => format!("{value:?}"),
            };
            let _ = writeln!(settings, "{key} = {value}");
        }
        std::fs::write(cluster.file("settings.toml"), settings).expect("the folder is ours");
        cluster
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has the cluster file say something else; returns what it said.
    pub fn change(&self, from: &str, to: &str) -> String {
        let before = std::fs::read_to_string(self.file("cluster.toml")).expect("it is ours");
        assert!(before.contains(from), "{before}");
        self.write(&before.replace(from, to));
        before
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.file("cluster.toml"), text).expect("the folder is ours");
    }

    /// Adds a line to the settings.
    pub fn set(&self, line: &str) {
        let file = std::fs::OpenOptions::new().append(true).open(self.file("settings.toml"));
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the folder is ours");
    }

    /// What a command says.
    pub fn says(&self, args: &[&str]) -> Ended {
        let mut command = of(&program("tideflow"), args);
        run(command.arg("--cluster").arg(self.file("cluster.toml")))
    }

    /// What a command that works prints.
    pub fn well(&self, args: &[&str]) -> String {
        let ended = self.says(args);
        ended.with_code(0);
        ended.out
    }

    /// How the processes are, host by host.
    pub fn states(&self) -> Vec<String> {
        let ended = self.says(&["status", "--json"]);
        let status: Value =
            serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
        let hosts = status["hosts"].as_array().expect("a list").iter();
        let state =
            |host: &Value| host["status"]["state"].as_str().unwrap_or("unknown").to_string();
        hosts.map(state).collect()
    }

    /// Waits until the job has come to its end.
    pub fn ends(&self) {
        let deadline = Instant::now() + DEADLINE;
        while self.states().iter().any(|state| state == "running" || state == "restarting") {
            assert!(Instant::now() < deadline, "it does not end: {}", self.well(&["status"]));
        }
    }

    /// Kills the process of a host.
    pub fn kill(&self, hosts: &Hosts, index: usize) {
        let found = hosts.processes(index, "device_health");
        let [id] = found[..] else { panic!("one process: {found:?}") };
        let sent =
            std::process::Command::new("kill").args(["-s", "KILL", &id.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// The times of the log lines with this text, in milliseconds since 1970.
    pub fn times_of(&self, text: &str) -> Vec<i64> {
        let said = self.well(&["logs", "--grep", text, "--lines", "20000"]);
        let times = said.lines().filter_map(|line| {
            // The process's index stands before the line.
            let time =
                line.split_whitespace().find(|word| word.ends_with('Z') && word.contains('T'))?;
            Some(time.parse::<EventTime>().ok()?.0)
        });
        times.collect()
    }
}
