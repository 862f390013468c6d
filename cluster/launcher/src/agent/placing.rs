//! Gives a process its place on a host: settings, secrets, certificates, the addresses of the others.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::place::Place;
use super::{AgentError, at};
use crate::cluster_file::ClusterFile;
use crate::env_file;
use crate::release::{MODELS, NATIVE};
use crate::whole;
use crate::wire::{Assigned, Placement};

/// Writes all that a process of a placement reads, beside the releases.
pub(super) fn place(place: &Place, placement: &Placement) -> Result<(), AgentError> {
    lay_out(&place.folder, &place.at("current"), placement)
        .map_err(at(format!("writing the process's place in `{}`", place.folder.display())))
}

/// The same in any folder, for a release in any other.
pub(super) fn lay_out(folder: &Path, release: &Path, placement: &Placement) -> io::Result<()> {
    let secrets = folder.join("secrets");
    for path in [folder, &secrets, &folder.join("work"), &folder.join("logs")] {
        fs::create_dir_all(path)?;
    }
    fs::set_permissions(&secrets, Permissions::from_mode(0o700))?;
    let assigned = &placement.assigned;
    let hosts = assigned.hosts.iter().map(|host| host.endpoint(assigned.cluster_port) + "\n");
    write(folder, "hosts", &hosts.collect::<String>())?;
    let variables = variables(folder, release, assigned, placement.certs.is_some());
    write(folder, "run.env", &env_file::write(&variables))?;
    write(&secrets, "run.env", &env_file::write(&placement.secrets))?;
    write(&secrets, "token", &placement.token)?;
    if let Some(certs) = &placement.certs {
        write(&secrets, "ca.pem", &certs.ca)?;
        write(&secrets, "certificate.pem", &certs.certificate)?;
        write(&secrets, "key.pem", &certs.key)?;
    }
    let models = folder.join("work").join(MODELS);
    if fs::symlink_metadata(&models).is_err() {
        symlink(release.join(MODELS), &models)?;
    }
    // The last one: where it stands, all of the others do.
    write(folder, "assigned.json", &serde_json::to_string_pretty(assigned)?)
}

/// Writes the settings anew for the release that is current now.
pub(super) fn settle(place: &Place) -> Result<(), AgentError> {
    let Some(assigned) = place.assigned() else { return Ok(()) };
    let certs = place.at("secrets/ca.pem").exists();
    let variables = variables(&place.folder, &place.at("current"), &assigned, certs);
    write(&place.folder, "run.env", &env_file::write(&variables))
        .map_err(at(format!("writing the process's settings in `{}`", place.folder.display())))
}

/// The settings that a process has from its place, as variables. None is a secret: the token is named by
/// its file.
pub fn variables(
    folder: &Path,
    release: &Path,
    assigned: &Assigned,
    certs: bool,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut set = |setting: &str, value: String| {
        variables.insert(ClusterFile::variable(setting), value);
    };
    let file = |name: &str| folder.join(name).display().to_string();
    set("workers.threads", assigned.threads.to_string());
    set("http.bind", assigned.http.clone());
    if assigned.hosts.len() > 1 {
        set("workers.process", assigned.process.to_string());
        set("workers.hostfile", file("hosts"));
        set("workers.token", format!("file:{}", file("secrets/token")));
        if certs {
            set("workers.ca_file", file("secrets/ca.pem"));
            set("workers.certificate_file", file("secrets/certificate.pem"));
            set("workers.key_file", file("secrets/key.pem"));
        }
    }
    let native = release.join(NATIVE);
    if native.is_dir() {
        for name in ["LD_LIBRARY_PATH", "TENSORFLOW_DIR"] {
            variables.insert(name.into(), native.display().to_string());
        }
    }
    variables
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    whole::write(&folder.join(name), text.as_bytes())
}
