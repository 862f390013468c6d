//! The unit of a job, as systemd reads it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tideflow_launcher::cluster_file::Limits;
use tideflow_launcher::systemd::{Unit, unit_name};

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no `systemd-analyze` here (Debian: `apt install systemd`)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let job = folder.path().join("health");
    for name in ["work", "secrets", "current/bin"] {
        fs::create_dir_all(job.join(name)).unwrap();
    }
    let program = job.join("current/bin/graph");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let limits = Limits {
        memory: Some("4G".into()),
        open_files: 65_536,
        restart_wait_ms_min: 200,
        restart_wait_ms_max: 10_000,
    };
    let unit = Unit {
        job: "health",
        folder: &job,
        binary: "bin/graph",
        config: true,
        stop_timeout_ms: 10_000,
        limits: &limits,
        writable: &["/mnt/state".into()],
    };
    let path = folder.path().join(unit_name("health"));
    fs::write(&path, unit.text()).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("health.service"), "{said}");
}
