//! Looks for what is wrong on a host.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use super::place::Place;
use super::{AgentError, process, systemctl};
use crate::wire::{Assigned, Finding, Grade};

/// Bytes that should be free: a few releases with their libraries.
const FREE_MIN: u64 = 4 << 30;

/// What was found on this host.
pub(super) fn findings(place: &Place, ports: &[u16]) -> Vec<Finding> {
    let runs = process::runs(place).unwrap_or(false);
    let mut found = vec![folder(place), disk(place), keeper()];
    found.extend(ports.iter().map(|port| self::port(*port, runs)));
    found
}

fn folder(place: &Place) -> Finding {
    let what = "folder";
    let shown = place.folder.display();
    let probe = fs::create_dir_all(&place.folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(&place.folder).map(drop));
    match probe {
        Ok(()) => Finding::ok(what, format!("`{shown}` can be written")),
        Err(error) => Finding::bad(
            Grade::Fail,
            what,
            format!("`{shown}` cannot be written: {error}"),
            "set `ssh.user` to who may, `ssh.sudo = true`, or `place.folder` to another folder",
        ),
    }
}

fn disk(place: &Place) -> Finding {
    let what = "disk";
    match place.disk_free() {
        Ok(free) if free >= FREE_MIN => Finding::ok(what, format!("{} GiB free", free >> 30)),
        Ok(free) => Finding::bad(
            Grade::Warn,
            what,
            format!("{} MiB free, expected {} GiB", free >> 20, FREE_MIN >> 30),
            "make room, or set `place.folder` to a larger disk",
        ),
        Err(error) => Finding::bad(Grade::Warn, what, error.to_string(), "look at the disk"),
    }
}

fn keeper() -> Finding {
    match systemctl::version() {
        Some(version) => Finding::ok("kept by", format!("systemd {version}")),
        None if Path::new("/run/systemd/system").is_dir() => Finding::bad(
            Grade::Warn,
            "kept by",
            "`tideflow supervise`: systemd is here, and this user is not root",
            "set `ssh.sudo = true`, or nothing starts the process when the machine starts",
        ),
        None => Finding::ok("kept by", "`tideflow supervise`: no systemd"),
    }
}

/// That the ports of the process that is placed here are free: it would try again for ever.
pub(super) fn expect_free(place: &Place) -> Result<(), AgentError> {
    place.assigned().map_or(Ok(()), |assigned| all_free(ports(&assigned)))
}

/// That the ports of a process to come are free, or those of the one that runs here and goes before it.
pub(super) fn expect_free_for(place: &Place, wanted: &Assigned) -> Result<(), AgentError> {
    let runs = process::runs(place)?;
    let own = place.assigned().filter(|_| runs).map(|own| ports(&own)).unwrap_or_default();
    all_free(ports(wanted).into_iter().filter(|port| !own.contains(port)).collect())
}

fn ports(assigned: &Assigned) -> Vec<u16> {
    let pages = assigned.http.parse::<SocketAddr>().ok().map(|address| address.port());
    let cluster = (assigned.hosts.len() > 1).then_some(assigned.cluster_port);
    pages.into_iter().chain(cluster).collect()
}

fn all_free(ports: Vec<u16>) -> Result<(), AgentError> {
    for wanted in ports {
        let Finding { grade, what, found, remedy } = port(wanted, false);
        if grade == Grade::Fail {
            let remedy = remedy.unwrap_or_default();
            return Err(AgentError::Found(format!("{what} {found} ({remedy})")));
        }
    }
    Ok(())
}

fn port(port: u16, runs: bool) -> Finding {
    let what = format!("port {port}");
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(_) => Finding::ok(&what, "free"),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && runs => {
            Finding::ok(&what, "in use, and the process runs")
        }
        Err(error) => Finding::bad(
            Grade::Fail,
            &what,
            format!("cannot be listened on: {error}"),
            &format!("`ss -ltnp sport = :{port}` says who has it; `[ports]` takes another"),
        ),
    }
}
