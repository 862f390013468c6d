//! The system's OpenSSH: one connection a host, its key always checked, a deadline on every call.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::clock;
use crate::cluster_file::{Host, SshSettings};

/// How OpenSSH says that it failed itself, not what it was to run.
const SSH_FAILED: i32 = 255;
/// Time for a connection.
const CONNECT_S: u32 = 5;
/// How long a connection is kept for the next call.
const PERSIST_S: u32 = 30;
/// Characters of last words that are repeated.
const WORDS_MAX: usize = 2_000;

/// A call that failed. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SshError {
    /// The host's key is not among those known.
    #[error(
        "its host key is not known: compare its fingerprint with the machine's own, and add the line of \
         `ssh-keyscan {address}` to `ssh.known_hosts`"
    )]
    UnknownKey {
        /// The host's address.
        address: String,
    },
    /// The host's key is another than the one known.
    #[error(
        "its host key is another than the one known: somebody may answer in its place. Where the machine \
         was made anew, `ssh-keygen -R {address}` forgets the old key"
    )]
    ChangedKey {
        /// The host's address.
        address: String,
    },
    /// The host does not let this user in.
    #[error(
        "it lets nobody in with this key ({words}): look at `ssh.user` and `ssh.key`, and at the host's \
         `authorized_keys`"
    )]
    Denied {
        /// OpenSSH's words.
        words: String,
    },
    /// The host does not answer.
    #[error(
        "not reached ({words}): is it up, is `ssh.port` right, and does a firewall let this machine in?"
    )]
    Unreachable {
        /// OpenSSH's words.
        words: String,
    },
    /// The host has no room.
    #[error("it has no room ({words}): make room, or set `place.folder` to a larger disk")]
    Full {
        /// The shell's words.
        words: String,
    },
    /// The call took too long.
    #[error("not done within {} (`--deadline`)", clock::shown(*.after))]
    TooLate {
        /// Its deadline.
        after: Duration,
    },
    /// What was to run failed.
    #[error("ended with code {code}: {words}")]
    Remote {
        /// Its exit code.
        code: i32,
        /// Its last words.
        words: String,
    },
    /// `ssh` itself cannot be run.
    #[error("running `ssh`: {0} (Debian: `apt install openssh-client`)")]
    Local(#[from] io::Error),
}

/// Connections to hosts. Dropped, it closes them.
pub struct Ssh {
    settings: SshSettings,
    /// Where the connections' sockets are; nobody else may enter.
    folder: TempDir,
    used: Mutex<BTreeSet<String>>,
}

/// What a call is given, and for how long.
pub struct Call<'a> {
    /// The host.
    pub host: &'a Host,
    /// A command for the host's shell; its words are quoted already.
    pub command: &'a str,
    /// Longest time; none for a call that somebody else ends.
    pub deadline: Option<Duration>,
}

impl Ssh {
    /// Connections by these settings. None is made yet.
    ///
    /// # Errors
    /// When no folder for their sockets can be made.
    pub fn new(settings: &SshSettings) -> io::Result<Ssh> {
        // The path of a socket has 108 bytes, and OpenSSH adds 60 to the folder's.
        let short = Path::new("/tmp");
        let folder = match short.is_dir() {
            true => tempfile::Builder::new().prefix("tideflow-").tempdir_in(short)?,
            false => tempfile::tempdir()?,
        };
        Ok(Ssh { settings: settings.clone(), folder, used: Mutex::default() })
    }

    /// OpenSSH's arguments for a host, up to and with its address.
    pub fn arguments(&self, host: &Host) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["-T".into()];
        let mut with = |flag: &str, value: OsString| args.extend([flag.into(), value]);
        if let Some(config) = &self.settings.config {
            with("-F", config.into());
        }
        let socket = self.folder.path().join("%C");
        for option in [
            "BatchMode=yes".to_string(),
            "StrictHostKeyChecking=yes".into(),
            // Whatever the user's own configuration says for people.
            "ForwardAgent=no".into(),
            "ClearAllForwardings=yes".into(),
            format!("ConnectTimeout={CONNECT_S}"),
            "ServerAliveInterval=2".into(),
            "ServerAliveCountMax=5".into(),
            "ControlMaster=auto".into(),
            format!("ControlPersist={PERSIST_S}"),
            "LogLevel=ERROR".into(),
        ] {
            with("-o", option.into());
        }
        with("-o", joined("ControlPath=", &socket));
        if let Some(known) = &self.settings.known_hosts {
            // Without quotes a space would divide it in two.
            let mut option = joined("UserKnownHostsFile=\"", known);
            option.push("\"");
            with("-o", option);
            with("-o", "GlobalKnownHostsFile=/dev/null".into());
        }
        if let Some(key) = &self.settings.key {
            with("-i", key.into());
            with("-o", "IdentitiesOnly=yes".into());
        }
        if let Some(user) = &self.settings.user {
            with("-l", user.into());
        }
        if let Some(port) = self.settings.port {
            with("-p", port.to_string().into());
        }
        args.extend(["--".into(), OsString::from(&host.address)]);
        args
    }

    /// Runs a command on a host. `input` writes what it reads, and with `keep_open` its input does not
    /// end before it does; `on_line` takes each line that it prints.
    ///
    /// # Errors
    /// When the host is not reached, the command fails, or it takes too long.
    pub fn run(
        &self,
        call: &Call<'_>,
        keep_open: bool,
        input: impl FnOnce(&mut ChildStdin) -> io::Result<()> + Send,
        mut on_line: impl FnMut(&str),
    ) -> Result<(), SshError> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(call.host.address.clone());
        let mut said = tempfile::tempfile_in(self.folder.path())?;
        let mut child = Command::new("ssh")
            .args(self.arguments(call.host))
            .arg(call.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A file: the process that keeps the connection may hold it open for longer than the call.
            .stderr(said.try_clone()?)
            .spawn()?;
        let until = call.deadline.map(|span| Instant::now() + span);
        let mut stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let status = thread::scope(|scope| {
            let writer = scope.spawn(move || {
                // Who does not read to the end says why by its exit code.
                let _ = input(&mut stdin);
                keep_open.then_some(stdin)
            });
            let (send, lines) = mpsc::channel();
            scope.spawn(move || {
                let all = BufReader::new(stdout).lines().map_while(Result::ok);
                all.map(|line| send.send(line)).find(Result::is_err)
            });
            let status = follow(&mut child, &lines, until, &mut on_line);
            drop(writer.join());
            status
        });
        match (status?, call.deadline) {
            (None, deadline) => Err(SshError::TooLate { after: deadline.unwrap_or_default() }),
            (Some(status), _) if status.success() => Ok(()),
            (Some(status), _) => Err(explain(status.code(), &words(&mut said), call.host)),
        }
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let used = std::mem::take(self.used.get_mut().unwrap_or_else(PoisonError::into_inner));
        let closing: Vec<_> = used
            .into_iter()
            .filter_map(|address| {
                let host = Host { name: address.clone(), address };
                let mut command = Command::new("ssh");
                command.args(["-O", "exit"]).args(self.arguments(&host));
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().ok()
            })
            .collect();
        for mut child in closing {
            let _ = child.wait();
        }
    }
}

/// Takes lines until the child has ended, or none when it was too late.
fn follow(
    child: &mut Child,
    lines: &Receiver<String>,
    until: Option<Instant>,
    on_line: &mut impl FnMut(&str),
) -> io::Result<Option<ExitStatus>> {
    loop {
        let next = match until {
            None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => lines.recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match next {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(5));
    let every = Duration::from_millis(5);
    match clock::until(until, every, || child.try_wait().transpose()) {
        Some(status) => status.map(Some),
        None => {
            child.kill()?;
            child.wait()?;
            Ok(None)
        }
    }
}

fn words(said: &mut File) -> String {
    let mut text = Vec::new();
    let read = said.rewind().and_then(|()| said.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let from = text.floor_char_boundary(text.len().saturating_sub(WORDS_MAX));
    match read {
        Ok(_) => text[from..].trim().replace("\r\n", "\n").replace('\n', "; "),
        Err(error) => format!("its words cannot be read: {error}"),
    }
}

/// What an end of OpenSSH means.
pub fn explain(code: Option<i32>, words: &str, host: &Host) -> SshError {
    let address = host.address.clone();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    let words = || match words {
        "" => "no words".to_string(),
        words => words.to_string(),
    };
    match code {
        Some(code) if code != SSH_FAILED && has(&["No space left on device"]) => {
            SshError::Full { words: words() }
        }
        Some(code) if code != SSH_FAILED => SshError::Remote { code, words: words() },
        _ if has(&["IDENTIFICATION HAS CHANGED", "differs from the key"]) => {
            SshError::ChangedKey { address }
        }
        _ if has(&["Host key verification failed", "host key is known"]) => {
            SshError::UnknownKey { address }
        }
        _ if has(&["Permission denied", "Too many authentication failures"]) => {
            SshError::Denied { words: words() }
        }
        _ => SshError::Unreachable { words: words() },
    }
}

fn joined(name: &str, path: &Path) -> OsString {
    let mut text = OsString::from(name);
    text.push(path);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { name: "w1".into(), address: "10.0.0.1".into() }
    }

    #[test]
    fn golden_what_goes_wrong_is_said_with_what_to_do() {
        let said = |code, words: &str| explain(Some(code), words, &host()).to_string();
        let unknown = "No ED25519 host key is known for 10.0.0.1 and you have requested strict checking.\n\
                       Host key verification failed.";
        assert!(said(255, unknown).starts_with("its host key is not known: "));
        assert!(said(255, unknown).contains("`ssh-keyscan 10.0.0.1`"));
        let changed =
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!; Host key verification failed.";
        assert!(said(255, changed).contains("`ssh-keygen -R 10.0.0.1`"));
        let denied = said(255, "root@10.0.0.1: Permission denied (publickey).");
        assert!(denied.contains("`ssh.user`") && denied.contains("(publickey)"), "{denied}");
        for away in
            ["connect to host 10.0.0.1 port 22: No route to host", "Connection timed out", ""]
        {
            assert!(said(255, away).starts_with("not reached ("), "{away}");
        }
        assert_eq!(said(3, "no"), "ended with code 3: no");
        assert!(explain(None, "", &host()).to_string().starts_with("not reached (no words)"));
    }

    #[test]
    fn keys_are_always_checked_and_an_address_is_never_an_option() {
        let settings = SshSettings {
            user: Some("deploy".into()),
            port: Some(2222),
            key: Some("/k".into()),
            known_hosts: Some("/h".into()),
            config: None,
            sudo: false,
        };
        let ssh = Ssh::new(&settings).unwrap();
        let args: Vec<_> =
            ssh.arguments(&host()).iter().map(|a| a.to_string_lossy().into_owned()).collect();
        let args = args.join(" ");
        for part in [
            "-o BatchMode=yes -o StrictHostKeyChecking=yes",
            "-o UserKnownHostsFile=\"/h\" -o GlobalKnownHostsFile=/dev/null",
            "-i /k -o IdentitiesOnly=yes -l deploy -p 2222 -- 10.0.0.1",
        ] {
            assert!(args.contains(part), "{args}");
        }
    }
}
