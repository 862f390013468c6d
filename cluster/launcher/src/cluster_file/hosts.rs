//! Where hosts come from: a list, the output of Terraform, or a command.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use toml_edit::Item;

use super::Host;
use super::reader::is_word;
use crate::{bounded, clock};

/// Time for whoever knows the hosts to say which they are: Terraform may have to ask a remote state.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Where hosts come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSource {
    /// The file itself.
    List(Vec<Host>),
    /// The output `hosts` of a folder's Terraform state.
    Terraform(PathBuf),
    /// A program that prints a JSON list of `{name, address}`.
    Command(Vec<String>),
}

/// Hosts that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The program is not there.
    #[error("asking for hosts: `{program}` cannot be run: {source}")]
    Program {
        /// Its name.
        program: String,
        /// The operating system's words.
        source: io::Error,
    },
    /// It failed.
    #[error("asking for hosts: {program} failed: {words}")]
    Failed {
        /// The command.
        program: String,
        /// Its last words.
        words: String,
    },
    /// What it printed is no list of hosts.
    #[error("hosts of {from}: {why}")]
    Form {
        /// Who says so.
        from: String,
        /// What was expected and found.
        why: String,
    },
}

impl HostSource {
    /// The hosts, in the order of their processes' indices.
    ///
    /// # Errors
    /// When whoever knows them fails, or says something else.
    pub fn hosts(&self, folder: &Path) -> Result<Vec<Host>, HostError> {
        match self {
            HostSource::List(hosts) => Ok(hosts.clone()),
            HostSource::Terraform(path) => {
                let mut command = Command::new("terraform");
                command.arg(format!("-chdir={}", path.display())).args([
                    "output",
                    "-no-color",
                    "-json",
                ]);
                let shown = format!("terraform output of `{}`", path.display());
                let outputs = json(command, &shown)?;
                let hosts = &outputs["hosts"]["value"];
                if hosts.is_null() {
                    let why =
                        "there is no output `hosts`: run `terraform apply` there first".into();
                    return Err(HostError::Form { from: shown, why });
                }
                of_json(hosts).map_err(|why| HostError::Form { from: shown, why })
            }
            HostSource::Command(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).current_dir(folder);
                let shown = format!("`{}`", words.join(" "));
                let hosts = json(command, &shown)?;
                of_json(&hosts).map_err(|why| HostError::Form { from: shown, why })
            }
        }
    }
}

fn json(command: Command, shown: &str) -> Result<Value, HostError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ended = bounded::run(command, ANSWER_TIME);
    let ended = ended.map_err(|source| HostError::Program { program, source })?;
    if ended.code != Some(0) {
        let words = match ended.late {
            true => format!("no answer within {}", clock::shown(ANSWER_TIME)),
            false => ended.errors.trim().replace('\n', "; "),
        };
        return Err(HostError::Failed { program: shown.into(), words });
    }
    serde_json::from_str(&ended.out)
        .map_err(|e| HostError::Form { from: shown.into(), why: format!("not JSON: {e}") })
}

fn of_json(value: &Value) -> Result<Vec<Host>, String> {
    let Value::Array(items) = value else {
        return Err("expected a list of `{name, address}`".into());
    };
    let hosts = items.iter().map(|item| {
        let text = |key: &str| item[key].as_str().map(str::to_owned);
        let (name, address) = (text("name"), text("address"));
        let host = name.zip(address).map(|(name, address)| Host { name, address });
        host.ok_or_else(|| format!("found {item}, expected `name` and `address`"))
    });
    checked(hosts.collect::<Result<_, _>>()?)
}

/// The hosts that stand in the file itself.
pub(super) fn listed(item: &Item) -> Result<Vec<Host>, String> {
    let hosts: Option<Vec<Host>> =
        item.as_array().and_then(|array| array.iter().map(listed_host).collect());
    checked(hosts.ok_or("expected a list of `{ name = \"…\", address = \"…\" }`")?)
}

fn listed_host(value: &toml_edit::Value) -> Option<Host> {
    let table = value.as_inline_table().filter(|table| table.len() == 2)?;
    let text = |key: &str| table.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    Some(Host { name: text("name")?, address: text("address")? })
}

/// Names and addresses stand in commands, files and tables: their characters are few, and each is there
/// once.
fn checked(hosts: Vec<Host>) -> Result<Vec<Host>, String> {
    if hosts.is_empty() {
        return Err("is empty, expected one host at least".into());
    }
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for Host { name, address } in &hosts {
        if !is_word(name, "._-") {
            return Err(format!(
                "`{name}` is no host's name, expected letters, digits and `.`, `_`, `-`"
            ));
        }
        let is_v6 = address.starts_with("::") && address.parse::<std::net::IpAddr>().is_ok();
        if !is_word(address, ".:_-") && !is_v6 {
            return Err(format!("`{address}` is no host's address"));
        }
        if !names.insert(name) {
            return Err(format!("the name `{name}` is there twice"));
        }
        if !addresses.insert(address) {
            return Err(format!("the address `{address}` is there twice"));
        }
    }
    Ok(hosts)
}
