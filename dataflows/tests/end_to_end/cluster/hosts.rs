//! Hosts in network namespaces of this machine, each with its own address, sshd and disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// Hosts, until they are dropped.
pub struct Hosts {
    folder: TempDir,
    name: String,
    subnet: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform/modules/local/hosts.sh")
}

fn call(args: &[&str]) {
    let script = script();
    let output = Command::new(&script).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "hosts.sh {}: {said}", args.join(" "));
}

impl Hosts {
    /// So many hosts, for root.
    pub fn up(count: usize) -> Hosts {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // What neither another run of the tests has nor another test of this one.
        let (run, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let folder = tempfile::tempdir().expect("a folder for a while");
        let name = format!("t{}n{made}", run % 1_000_000);
        let subnet = format!("10.{}.{}.0/24", 100 + (run + 50 * made) % 100, run / 100 % 250);
        let hosts = Hosts { folder, name, subnet };
        let directory = hosts.directory();
        call(&["up", &directory, &hosts.name, &hosts.subnet, &count.to_string()]);
        hosts
    }

    fn directory(&self) -> String {
        self.folder.path().join("hosts").display().to_string()
    }

    /// A file that came with them.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("hosts").join(name)
    }

    fn base(&self) -> &str {
        self.subnet.strip_suffix(".0/24").expect("it was made so")
    }

    /// This machine's address to them.
    pub fn machine(&self) -> String {
        format!("{}.254", self.base())
    }

    /// The host's name and address.
    pub fn host(&self, index: usize) -> (String, String) {
        (format!("{}-{index}", self.name), format!("{}.{}", self.base(), index + 1))
    }

    /// Cuts a host from the other hosts (`PEERS`) or from everything (`ALL`).
    pub fn cut(&self, index: usize, from: &str) {
        call(&["cut", &index.to_string(), &self.name, from]);
    }

    pub fn heal(&self, index: usize) {
        call(&["heal", &index.to_string(), &self.name]);
    }

    /// Has a host do something, as root.
    pub fn run(&self, index: usize, command: &str) {
        let (key, known) = (self.file("id_ed25519"), self.file("known_hosts"));
        let (_, address) = self.host(index);
        let known = format!("UserKnownHostsFile={}", known.display());
        let output = Command::new("ssh")
            .args(["-o", "BatchMode=yes", "-o", &known, "-i"])
            .arg(key)
            .args([&format!("root@{address}"), command])
            .output()
            .expect("ssh is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{command}`: {said}");
    }

    /// The processes on a host that run a program of this name.
    pub fn processes(&self, index: usize, program: &str) -> Vec<u32> {
        let (host, _) = self.host(index);
        let output = Command::new("ip").args(["netns", "pids", &host]).output();
        let output = output.expect("iproute2 is there");
        let ids = String::from_utf8_lossy(&output.stdout).into_owned();
        let ids = ids.split_whitespace().filter_map(|id| id.parse().ok());
        let runs = |id: &u32| {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm"));
            name.is_ok_and(|name| name.trim() == program)
        };
        ids.filter(runs).collect()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let _ = Command::new(script()).args(["down", &self.directory(), &self.name]).output();
    }
}
