//! The unit of a process, where there is systemd.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::cluster_file::Limits;

/// Time that systemd leaves a process beyond its own limit, in seconds: it says why it is late.
const STOP_SPARE_S: u64 = 5;

/// What a unit says.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// The job.
    pub job: &'a str,
    /// The job's folder on the host.
    pub folder: &'a Path,
    /// The program's place in a release.
    pub binary: &'a str,
    /// Whether it has settings of its own.
    pub config: bool,
    /// What the settings leave a stop, in milliseconds.
    pub stop_timeout_ms: u64,
    /// Bounds.
    pub limits: &'a Limits,
    /// Folders outside of the job's that it writes to.
    pub writable: &'a [PathBuf],
}

/// The name of a job's unit.
pub fn unit_name(job: &str) -> String {
    format!("tideflow-{job}.service")
}

impl Unit<'_> {
    /// The unit file. Paths have no characters that systemd reads as anything else: the cluster file is
    /// checked for that.
    pub fn text(&self) -> String {
        let folder = self.folder.display();
        // No `RestartSteps=`: systemd does not forget losses after good runs, and in the end each would
        // take the longest wait.
        let Limits { memory, open_files, restart_wait_ms_min, .. } = self.limits;
        let config = if self.config {
            format!(" --config {folder}/current/config.toml")
        } else {
            String::new()
        };
        let writable: String =
            self.writable.iter().map(|path| format!(" -{}", path.display())).collect();
        let mut text = format!(
            "# Written by `tideflow`, which writes it anew at each `up`.\n\
             [Unit]\n\
             Description=Tideflow job {job}\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             # A process that is lost is started again for ever: the others wait for it.\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             ExecStart={folder}/current/{binary} run{config}\n\
             WorkingDirectory={folder}/work\n\
             EnvironmentFile={folder}/run.env\n\
             EnvironmentFile={folder}/secrets/run.env\n\
             KillSignal=SIGTERM\n\
             KillMode=mixed\n\
             TimeoutStopSec={stop}\n\
             Restart=on-failure\n\
             # Refused, superseded by another start, or asked twice to end: no start mends that.\n\
             RestartPreventExitStatus=2 4 130\n\
             RestartSec={restart_wait_ms_min}ms\n\
             LimitNOFILE={open_files}\n",
            job = self.job,
            binary = self.binary,
            stop = self.stop_timeout_ms.div_ceil(1_000) + STOP_SPARE_S,
        );
        if let Some(memory) = memory {
            let _ = writeln!(text, "MemoryMax={memory}");
        }
        let _ = write!(
            text,
            "NoNewPrivileges=yes\n\
             ProtectSystem=strict\n\
             ReadWritePaths={folder}/work{writable}\n\
             PrivateTmp=yes\n\
             PrivateDevices=yes\n\
             ProtectKernelTunables=yes\n\
             ProtectControlGroups=yes\n\
             RestrictSUIDSGID=yes\n\
             UMask=0077\n\
             \n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_the_unit_of_a_job() {
        let limits = Limits {
            memory: Some("4G".into()),
            open_files: 65_536,
            restart_wait_ms_min: 200,
            restart_wait_ms_max: 10_000,
        };
        let unit = Unit {
            job: "health",
            folder: Path::new("/opt/tideflow/health"),
            binary: "bin/device_health",
            config: true,
            stop_timeout_ms: 10_000,
            limits: &limits,
            writable: &["/mnt/state".into()],
        };
        assert_eq!(unit.text(), include_str!("../tests/golden/tideflow-health.service"));
        assert_eq!(unit_name("health"), "tideflow-health.service");
    }
}
