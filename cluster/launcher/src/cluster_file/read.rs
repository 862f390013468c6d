//! Reads a cluster file: every key, and every file that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike};

use super::hosts::{HostSource, listed};
use super::reader::Reader;
use super::{ClusterFile, Job, Limits, Place, Ports, Refused, SecretSource, SshSettings};

pub(super) fn read(path: &Path) -> Result<ClusterFile, Refused> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|e| {
        Refused(vec![format!("{name}: cannot be read: {e} (`--cluster` names another)")])
    })?;
    let document = Document::parse(text.as_str()).map_err(|e| {
        let before = &text.as_bytes()[..e.span().map_or(0, |s| s.start).min(text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        Refused(vec![format!("{name}:{line}: not TOML: {}", e.message().replace('\n', ", "))])
    })?;
    let folder = std::path::absolute(path).ok().and_then(|p| p.parent().map(Path::to_owned));
    let folder = folder.unwrap_or_default();
    let mut reader = Reader {
        name,
        text: &text,
        root: document.as_table(),
        folder: &folder,
        problems: Vec::new(),
    };
    reader.unknown();
    let job = job(&mut reader);
    let hosts = hosts(&mut reader);
    let ssh = ssh(&mut reader);
    let secrets = secrets(&mut reader);
    let ports = ports(&mut reader, &secrets);
    let certs = reader.path("certs.folder").unwrap_or_else(|| folder.join("certs"));
    let place = place(&mut reader);
    let limits = limits(&mut reader);
    match (job, hosts, reader.problems) {
        (Some(job), Some(hosts), problems) if problems.is_empty() => {
            Ok(ClusterFile { folder, job, hosts, ssh, ports, secrets, certs, place, limits })
        }
        (_, _, problems) => Err(Refused(problems)),
    }
}

fn job(reader: &mut Reader<'_>) -> Option<Job> {
    let mut needed = |key: &str| {
        if reader.item(key).is_none() {
            reader.refuse(key, "is missing");
        }
    };
    needed("job.name");
    needed("job.binary");
    let name = reader.word("job.name", "_-");
    if name.as_deref() == Some("bin") {
        reader.refuse("job.name", "found `bin`, which is the agents' folder on a host");
    }
    let binary = reader.path("job.binary");
    if let Some(binary) = &binary {
        match binary.metadata() {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {}
            Ok(_) => reader.refuse("job.binary", format!("`{}` is no program", binary.display())),
            Err(e) => reader.refuse("job.binary", format!("`{}`: {e}", binary.display())),
        }
    }
    let config = reader.path("job.config");
    file(reader, "job.config", config.as_deref());
    let models: Vec<_> =
        reader.strings("job.models").iter().map(|text| reader.below(text)).collect();
    let mut names = BTreeSet::new();
    for model in &models {
        folder(reader, "job.models", Some(model));
        if !names.insert(model.file_name()) {
            let why = format!("another folder is named as `{}` is", model.display());
            reader.refuse("job.models", why);
        }
    }
    let native = reader.path("job.native");
    folder(reader, "job.native", native.as_deref());
    let threads = reader.number("job.threads", 1..=256).unwrap_or(1) as u16;
    let processes = reader.number("job.processes", 1..=1_000).map(|count| count as usize);
    Some(Job { name: name?, binary: binary?, config, models, native, threads, processes })
}

fn file(reader: &mut Reader<'_>, key: &str, path: Option<&Path>) {
    let Some(path) = path else { return };
    match path.metadata() {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => reader.refuse(key, format!("`{}` is no file", path.display())),
        Err(e) => reader.refuse(key, format!("`{}`: {e}", path.display())),
    }
}

fn folder(reader: &mut Reader<'_>, key: &str, path: Option<&Path>) {
    let Some(path) = path else { return };
    match path.metadata() {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => reader.refuse(key, format!("`{}` is no folder", path.display())),
        Err(e) => reader.refuse(key, format!("`{}`: {e}", path.display())),
    }
}

fn hosts(reader: &mut Reader<'_>) -> Option<HostSource> {
    let given: Vec<_> = ["hosts.list", "hosts.terraform", "hosts.command"]
        .into_iter()
        .filter(|key| reader.item(key).is_some())
        .collect();
    let [key] = given.as_slice() else {
        let problem = "expected one of `list`, `terraform` and `command` in `[hosts]`";
        reader.problem(0, format!("{problem}, found {}", given.len()));
        return None;
    };
    match *key {
        "hosts.list" => {
            let (_, item) = reader.item(key)?;
            match listed(item) {
                Ok(hosts) => Some(HostSource::List(hosts)),
                Err(why) => {
                    reader.refuse(key, why);
                    None
                }
            }
        }
        "hosts.terraform" => {
            let path = reader.path(key)?;
            folder(reader, key, Some(&path));
            Some(HostSource::Terraform(path))
        }
        _ => {
            let text = reader.string(key)?;
            match shlex::split(&text).filter(|words| !words.is_empty()) {
                Some(words) => Some(HostSource::Command(words)),
                None => {
                    reader.refuse(key, "expected a program and its arguments, quotes closed");
                    None
                }
            }
        }
    }
}

fn ssh(reader: &mut Reader<'_>) -> SshSettings {
    let user = reader.word("ssh.user", "._-");
    let port = reader.number("ssh.port", 1..=65_535).map(|port| port as u16);
    let mut existing = |key: &str| {
        let path = reader.path(key);
        file(reader, key, path.as_deref());
        path
    };
    let (key, known_hosts) = (existing("ssh.key"), existing("ssh.known_hosts"));
    let config = existing("ssh.config");
    let sudo = reader.flag("ssh.sudo").unwrap_or(false);
    SshSettings { user, port, key, known_hosts, config, sudo }
}

fn ports(reader: &mut Reader<'_>, secrets: &BTreeMap<String, SecretSource>) -> Ports {
    let mut port =
        |key: &str, default| reader.number(key, 1..=65_535).map_or(default, |port| port as u16);
    let (cluster, http) = (port("ports.cluster", 2_101), port("ports.http", 9_464));
    if cluster == http {
        reader.refuse("ports.http", format!("{http} is `ports.cluster` too, expected another"));
    }
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let mut http_bind = loopback;
    if let Some(text) = reader.string("ports.http_bind") {
        match text.parse::<IpAddr>() {
            Ok(ip) => http_bind = ip,
            Err(_) => {
                reader.refuse("ports.http_bind", format!("found `{text}`, expected an IP address"))
            }
        }
    }
    if !http_bind.is_loopback() && !secrets.contains_key("http.token") {
        let why = "others reach this address: `[secrets]` needs an `http.token`";
        reader.refuse("ports.http_bind", why);
    }
    Ports { cluster, http, http_bind }
}

fn secrets(reader: &mut Reader<'_>) -> BTreeMap<String, SecretSource> {
    let mut found = BTreeMap::new();
    if let Some(table) = reader.section("secrets") {
        secrets_in(reader, table, "", &mut found);
    }
    for (name, source) in &found {
        if let Err(why) = source.read() {
            reader.problem(0, format!("`secrets.{name}`: {why}"));
        }
    }
    found
}

/// Dots in names and tables in tables are the same: TOML reads `a.b = 1` so.
fn secrets_in(
    reader: &mut Reader<'_>,
    table: &dyn TableLike,
    above: &str,
    found: &mut BTreeMap<String, SecretSource>,
) {
    for (key, item) in table.iter() {
        let name = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        let inner = item.as_table_like();
        let text = |key: &str| {
            let only = inner.filter(|inner| inner.len() == 1);
            only.and_then(|inner| inner.get(key)).and_then(Item::as_str).map(str::to_owned)
        };
        let source = match (text("env"), text("file")) {
            (Some(variable), _) => Some(SecretSource::Variable(variable)),
            (_, Some(path)) => Some(SecretSource::File(reader.below(&path))),
            _ => None,
        };
        let setting = name.contains('.')
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c));
        match (source, inner) {
            (Some(source), _) if setting => drop(found.insert(name, source)),
            (Some(_), _) => reader.problem(
                0,
                format!(
                    "`secrets.{name}`: expected the name of a setting, as `kafka.sasl_password`"
                ),
            ),
            (None, Some(inner)) if !inner.is_empty() => secrets_in(reader, inner, &name, found),
            // What stands there may be the secret itself: it is not repeated.
            (None, _) => reader.problem(
                0,
                format!(
                    "`secrets.{name}`: expected `{{ env = \"NAME\" }}` or `{{ file = \"path\" }}`"
                ),
            ),
        }
    }
}

fn place(reader: &mut Reader<'_>) -> Place {
    let folder = reader.string("place.folder");
    let folder = folder.and_then(|text| reader.host_path("place.folder", text));
    let folder = folder.unwrap_or_else(|| PathBuf::from("/opt/tideflow"));
    let writable = reader.strings("place.writable");
    let writable =
        writable.into_iter().filter_map(|text| reader.host_path("place.writable", text)).collect();
    Place { folder, writable }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    let memory = reader.string("limits.memory");
    if let Some(text) = &memory {
        let digits = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
        if digits.parse::<u64>().is_err() {
            let why = format!("found `{text}`, expected a number of bytes as `4G` or `512M`");
            reader.refuse("limits.memory", why);
        }
    }
    let mut number = |key: &str, default: u32, max: i64| {
        reader.number(key, 1..=max).map_or(default, |number| number as u32)
    };
    let open_files = number("limits.open_files", 65_536, 10_000_000);
    let restart_wait_ms_min = number("limits.restart_wait_ms_min", 200, 3_600_000);
    let restart_wait_ms_max = number("limits.restart_wait_ms_max", 10_000, 3_600_000);
    if restart_wait_ms_max < restart_wait_ms_min {
        let why = format!("found {restart_wait_ms_max}, expected at least {restart_wait_ms_min}");
        reader.refuse("limits.restart_wait_ms_max", why + " (`limits.restart_wait_ms_min`)");
    }
    Limits { memory, open_files, restart_wait_ms_min, restart_wait_ms_max }
}
