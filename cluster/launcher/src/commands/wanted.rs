//! What the cluster file asks for: a release, and a place for each process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

use super::{Context, LaunchError};
use crate::bounded;
use crate::certs::Certs;
use crate::cluster_file::{ClusterFile, Host, Refused};
use crate::release::{Parcel, Release, binary_path, digest_of};
use crate::wire::{Assigned, CertFiles, Placement};

/// Time for the graph's program to print its settings or itself.
const PRINT_TIME: Duration = Duration::from_secs(30);
/// What the settings leave a stop where they do not say.
const STOP_TIMEOUT_MS: u64 = 10_000;

/// What is to be on the hosts.
pub struct Wanted {
    /// What runs.
    pub release: Release,
    /// Where its content is, by digest.
    pub sources: BTreeMap<String, PathBuf>,
    /// The hosts that run a process, by index.
    pub hosts: Vec<Host>,
    /// Secret settings as variables.
    secrets: BTreeMap<String, String>,
    token: String,
    certs: Vec<Option<CertFiles>>,
    file: ClusterFile,
}

impl Wanted {
    /// Puts together what the cluster file asks for, with this many processes. Certificates and the token
    /// are made where they are missing.
    pub(super) fn read(context: &Context, processes: usize) -> Result<Wanted, LaunchError> {
        let file = &context.file;
        let hosts = context.hosts[..processes].to_vec();
        let secrets = secrets(file)?;
        let settings = settings(file, &secrets)?;
        let graph = graph(file, &secrets);
        let parcel = Parcel::gather(&file.job, &context.courier.program)?;
        let binary = binary_path(&file.job);
        let release = Release { binary, files: parcel.files, settings, graph };
        let store = Certs::at(&file.certs);
        let encrypted = context.hosts.len() > 1 && !context.hosts.iter().all(Host::is_loopback);
        let made = match encrypted {
            true => store.make(&file.job.name, &context.hosts)?,
            false => store.make_token()?,
        };
        made.iter().for_each(|made| eprintln!("made       {made}"));
        let certs = hosts.iter().map(|host| encrypted.then(|| store.of(host)).transpose());
        let certs = certs.collect::<Result<_, _>>()?;
        let (token, sources) = (store.token()?, parcel.sources);
        Ok(Wanted { release, sources, hosts, secrets, token, certs, file: file.clone() })
    }

    /// What a process is assigned.
    pub fn assigned(&self, process: usize) -> Assigned {
        let file = &self.file;
        let stop = self.release.settings.get("run.stop_timeout_ms");
        let certs = self.certs[process].as_ref();
        let secrets = self.secrets.iter().map(|(name, value)| {
            (name.clone(), digest_of(format!("{}\0{name}\0{value}", self.token).as_bytes()))
        });
        let token = ("workers.token".to_string(), digest_of(self.token.as_bytes()));
        Assigned {
            process,
            hosts: self.hosts.clone(),
            threads: file.job.threads,
            cluster_port: file.ports.cluster,
            http: SocketAddr::new(file.ports.http_bind, file.ports.http).to_string(),
            stop_timeout_ms: stop.and_then(|ms| ms.parse().ok()).unwrap_or(STOP_TIMEOUT_MS),
            limits: file.limits.clone(),
            writable: file.place.writable.clone(),
            certs: certs.map(|c| digest_of(format!("{}{}", c.ca, c.certificate).as_bytes())),
            secrets: secrets.chain([token]).collect(),
        }
    }

    /// How a process runs, secrets in the clear.
    pub fn placement(&self, process: usize) -> Placement {
        Placement {
            assigned: self.assigned(process),
            secrets: self.secrets.clone(),
            token: self.token.clone(),
            certs: self.certs[process].clone(),
        }
    }
}

/// Secret settings as variables.
fn secrets(file: &ClusterFile) -> Result<BTreeMap<String, String>, LaunchError> {
    let mut found = BTreeMap::new();
    for (name, source) in &file.secrets {
        let value =
            source.read().map_err(|why| Refused(vec![format!("`secrets.{name}`: {why}")]))?;
        found.insert(ClusterFile::variable(name), value);
    }
    Ok(found)
}

/// The graph's program, with the settings that it has on a host and none of whoever calls the launcher.
fn program(file: &ClusterFile, secrets: &BTreeMap<String, String>, words: &[&str]) -> Command {
    let mut command = Command::new(&file.job.binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEFLOW__") {
            command.env_remove(name);
        }
    }
    command.args(words).envs(secrets).current_dir(&file.folder);
    if let Some(config) = &file.job.config {
        command.arg("--config").arg(config);
    }
    command
}

/// The settings as the program reads them; what it refuses is refused here, before any host is touched.
fn settings(
    file: &ClusterFile,
    secrets: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, LaunchError> {
    let shown = file.job.binary.display();
    let ended = bounded::run(program(file, secrets, &["config"]), PRINT_TIME).map_err(|error| {
        let remedy = "run the launcher on a machine of the hosts' kind";
        LaunchError::Refused(format!("`{shown}` cannot be run here: {error} ({remedy})"))
    })?;
    if ended.code != Some(0) {
        let words = ended.errors.trim();
        return Err(LaunchError::Refused(format!("`{shown} config` refuses: {words}")));
    }
    let mut settings = flat(&ended.out).map_err(|why| {
        LaunchError::Refused(format!("`{shown} config` printed no settings: {why}"))
    })?;
    // To the program some are no secrets; what comes as one goes into no release and no message.
    for name in file.secrets.keys() {
        if let Some(value) = settings.get_mut(name) {
            *value = "\"***\"".into();
        }
    }
    Ok(settings)
}

/// The graph as the program prints it. It is for `plan` to compare: without it, all else goes on.
fn graph(file: &ClusterFile, secrets: &BTreeMap<String, String>) -> Value {
    let printed = bounded::run(program(file, secrets, &["graph", "--format", "json"]), PRINT_TIME);
    let (graph, why) = match printed {
        Ok(ended) if ended.code == Some(0) => match serde_json::from_str(&ended.out) {
            Ok(graph) => (graph, String::new()),
            Err(error) => (Value::Null, error.to_string()),
        },
        Ok(ended) => (Value::Null, ended.errors.trim().replace('\n', "; ")),
        Err(error) => (Value::Null, error.to_string()),
    };
    if graph.is_null() {
        eprintln!("graph      is not compared: `{} graph`: {why}", file.job.binary.display());
    }
    graph
}

/// Settings in TOML, by full name, without comments.
///
/// # Errors
/// When it is not TOML.
pub fn flat(text: &str) -> Result<BTreeMap<String, String>, String> {
    let document = Document::parse(text).map_err(|e| e.message().to_owned())?.into_mut();
    let mut found = BTreeMap::new();
    flatten(document.as_table(), "", &mut found);
    Ok(found)
}

fn flatten(table: &dyn TableLike, above: &str, found: &mut BTreeMap<String, String>) {
    for (key, item) in table.iter() {
        let name = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        match (item, item.as_table_like()) {
            (_, Some(inner)) => flatten(inner, &name, found),
            (Item::Value(value), _) => {
                let plain = value.clone().decorated("", "").to_string();
                found.insert(name, plain);
            }
            (item, _) => drop(found.insert(name, item.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_flat_and_without_comments() {
        let text = "# A section.\n[a]\n# A key, from x.toml:1\nb = 1 # one\n\
                    c.d = \"x\"\ne = [\"p\", \"q\"]\n[f]\ng = { h = true }\n";
        let found = flat(text).unwrap();
        let expected =
            [("a.b", "1"), ("a.c.d", "\"x\""), ("a.e", "[\"p\", \"q\"]"), ("f.g.h", "true")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_string(), v.to_string())).into());
        assert!(flat("a = ").is_err());
    }
}
