//! Brings questions to the agents on hosts, and the agents themselves where they are not yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster_file::{ClusterFile, Host};
use crate::release::{self, Object, short};
use crate::ssh::{Call, Ssh, SshError};
use crate::wire::{Ask, Line, Request};

/// How often something long says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The host was not reached, or the agent did not end well.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The agent could not do it.
    #[error("{0}")]
    Failed(String),
    /// The agent said something else.
    #[error("the agent's answer was not understood: {0}")]
    Answer(String),
}

/// The way to the agents of a job.
pub struct Courier {
    ssh: Ssh,
    place: PathBuf,
    job: String,
    sudo: bool,
    /// This program's own file, which is the agent's too.
    pub program: PathBuf,
    digest: String,
    there: Mutex<BTreeSet<String>>,
}

/// Objects to send, and where their content is by digest.
pub struct Cargo<'a> {
    /// What is sent.
    pub objects: Vec<Object>,
    /// Where it is.
    pub sources: &'a BTreeMap<String, PathBuf>,
}

impl Courier {
    /// The way to the agents of a cluster file's job.
    ///
    /// # Errors
    /// When this program's own file cannot be read, or no folder for connections be made.
    pub fn new(file: &ClusterFile) -> io::Result<Courier> {
        let program = std::env::current_exe()?;
        let digest = release::object(&program, true)?.digest;
        Ok(Courier {
            ssh: Ssh::new(&file.ssh)?,
            place: file.place.folder.clone(),
            job: file.job.name.clone(),
            sudo: file.ssh.sudo,
            program,
            digest,
            there: Mutex::default(),
        })
    }

    /// Asks a host.
    ///
    /// # Errors
    /// When it is not reached, cannot do it, or takes too long.
    pub fn ask<T: DeserializeOwned>(
        &self,
        host: &Host,
        ask: Ask,
        deadline: Duration,
    ) -> Result<T, CallError> {
        let answer = self.call(host, ask, Some(deadline), None, &mut |_| {})?;
        serde_json::from_value(answer).map_err(|e| CallError::Answer(e.to_string()))
    }

    /// Sends objects to a host.
    ///
    /// # Errors
    /// When it is not reached, has no room for them, or takes too long.
    pub fn put(&self, host: &Host, cargo: &Cargo<'_>, deadline: Duration) -> Result<(), CallError> {
        let ask = Ask::Put(cargo.objects.clone());
        self.call(host, ask, Some(deadline), Some(cargo), &mut |_| {}).map(drop)
    }

    /// Takes lines of a host's log; with `follow`, until somebody ends this program.
    ///
    /// # Errors
    /// When it is not reached, or the log cannot be read.
    pub fn logs(
        &self,
        host: &Host,
        (lines, follow): (usize, bool),
        deadline: Duration,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<(), CallError> {
        let deadline = (!follow).then_some(deadline);
        self.call(host, Ask::Logs { lines, follow }, deadline, None, on_line).map(drop)
    }

    fn call(
        &self,
        host: &Host,
        ask: Ask,
        deadline: Option<Duration>,
        cargo: Option<&Cargo<'_>>,
        on_log: &mut dyn FnMut(&str),
    ) -> Result<Value, CallError> {
        self.bring(host, deadline.unwrap_or(Duration::from_secs(60)))?;
        let keep_open = matches!(ask, Ask::Logs { follow: true, .. });
        let request = Request { place: self.place.clone(), job: self.job.clone(), ask };
        let mut text =
            serde_json::to_string(&request).map_err(|e| CallError::Answer(e.to_string()))?;
        text.push('\n');
        let command = self.shell(&[&self.agent().to_string_lossy(), "agent"]);
        let call = Call { host, command: &command, deadline };
        let mut end = None;
        let ran = self.ssh.run(
            &call,
            keep_open,
            |stdin| {
                stdin.write_all(text.as_bytes())?;
                cargo.map_or(Ok(()), |cargo| cargo.write(stdin, &host.name))
            },
            |line| match serde_json::from_str(line) {
                Ok(Line::Log(line)) => on_log(&line),
                Ok(last) => end = Some(last),
                Err(_) => {}
            },
        );
        match (end, ran) {
            (Some(Line::Failed(why)), _) => Err(CallError::Failed(why)),
            (_, Err(error)) => Err(error.into()),
            (Some(Line::Done(value)), Ok(())) => Ok(value),
            (_, Ok(())) => Err(CallError::Answer("it said nothing".into())),
        }
    }

    /// Puts the agent onto a host where it is not.
    fn bring(&self, host: &Host, deadline: Duration) -> Result<(), SshError> {
        let known = |there: &Mutex<BTreeSet<String>>, insert: bool| {
            let mut there = there.lock().unwrap_or_else(PoisonError::into_inner);
            if insert { there.insert(host.address.clone()) } else { there.contains(&host.address) }
        };
        if known(&self.there, false) {
            return Ok(());
        }
        let run = |command: &str, file: Option<&Path>| {
            let call = Call { host, command, deadline: Some(deadline) };
            let input = |stdin: &mut ChildStdin| match file {
                Some(path) => io::copy(&mut File::open(path)?, stdin).map(drop),
                None => Ok(()),
            };
            self.ssh.run(&call, false, input, |_| {})
        };
        let agent = self.agent().to_string_lossy().into_owned();
        match run(&self.shell(&["test", "-x", &agent]), None) {
            Err(SshError::Remote { code: 1, .. }) => {
                let script = upload_script(&agent, &self.digest);
                run(&self.shell(&["sh", "-c", &script]), Some(self.program.as_path()))?;
            }
            found => found?,
        }
        known(&self.there, true);
        Ok(())
    }

    fn agent(&self) -> PathBuf {
        self.place.join("bin").join(format!("tideflow-{}", short(&self.digest)))
    }

    /// Words as a command for the host's shell.
    fn shell(&self, words: &[&str]) -> String {
        let sudo: &[&str] = if self.sudo { &["sudo", "-n", "--"] } else { &[] };
        let words = sudo.iter().chain(words).copied();
        shlex::try_join(words).expect("paths and digests have no zero bytes")
    }
}

impl Cargo<'_> {
    /// Writes all of it, and says now and then how far it is.
    fn write(&self, stdin: &mut ChildStdin, host: &str) -> io::Result<()> {
        let all: u64 = self.objects.iter().map(|object| object.bytes).sum();
        let (mut written, mut told) = (0, Instant::now());
        let mut part = vec![0; 1 << 18];
        for object in &self.objects {
            let path = self.sources.get(&object.digest).ok_or(io::ErrorKind::NotFound)?;
            let mut file = File::open(path)?;
            loop {
                let read = file.read(&mut part)?;
                if read == 0 {
                    break;
                }
                stdin.write_all(&part[..read])?;
                written += read as u64;
                if told.elapsed() >= TOLD_EVERY {
                    eprintln!("send       {host:<16} {} of {} MiB", written >> 20, all >> 20);
                    told = Instant::now();
                }
            }
        }
        Ok(())
    }
}

/// Takes the agent from standard input. A file that is not whole never gets its name.
fn upload_script(agent: &str, digest: &str) -> String {
    let quoted = shlex::try_quote(agent).expect("a path has no zero bytes");
    format!(
        "set -e; umask 022; to={quoted}; new=\"$to.$$\"; mkdir -p \"$(dirname \"$to\")\"; \
         trap 'rm -f \"$new\"' EXIT; cat > \"$new\"; \
         echo '{digest} *'\"$new\" | sha256sum -c - >/dev/null; chmod 755 \"$new\"; mv -f \"$new\" \"$to\""
    )
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_agent_that_is_not_whole_never_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let agent = folder.path().join("bin dir/agent");
        let digest = release::digest_of(b"#!/bin/sh\n");
        let run = |content: &[u8]| {
            let script = upload_script(&agent.to_string_lossy(), &digest);
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).stdin(Stdio::piped()).stderr(Stdio::null());
            let mut child = shell.spawn().unwrap();
            child.stdin.take().unwrap().write_all(content).unwrap();
            child.wait().unwrap().success()
        };
        assert!(!run(b"#!/bin/s"));
        assert_eq!(agent.parent().unwrap().read_dir().unwrap().count(), 0);
        assert!(run(b"#!/bin/sh\n"));
        assert!(Command::new(&agent).status().unwrap().success());
    }
}
