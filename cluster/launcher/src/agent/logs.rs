//! Prints a process's log to the launcher.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::place::Place;
use super::{AgentError, at, say, systemctl};
use crate::supervise::{LOG, files};
use crate::wire::Line;

/// How often a log is looked at that is followed.
const EVERY: Duration = Duration::from_millis(200);

/// Prints the newest lines, and with `follow` those that come until standard input ends.
pub(super) fn print(place: &Place, lines: usize, follow: bool) -> Result<(), AgentError> {
    if follow {
        end_with_input().map_err(at("following the log"))?;
    }
    let printed = match systemctl::version() {
        Some(_) => of_journal(place, lines, follow),
        None => of_files(place, lines, follow),
    };
    match printed {
        // The launcher has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(at("reading the log")),
    }
}

/// Ends this program when the launcher does.
fn end_with_input() -> io::Result<()> {
    // Not the locked one, which is held while the request is answered.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let watch = move || {
        if io::copy(&mut input, &mut io::sink()).is_ok() {
            std::process::exit(0);
        }
    };
    thread::Builder::new().name("launcher".into()).spawn(watch).map(drop)
}

fn of_journal(place: &Place, lines: usize, follow: bool) -> io::Result<()> {
    let mut command = systemctl::journal(place, lines, follow);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().expect("it is piped");
    let printed = BufReader::new(stdout).lines().try_for_each(|line| say(&Line::Log(line?)));
    if printed.is_err() {
        child.kill()?;
    }
    child.wait()?;
    printed
}

fn of_files(place: &Place, lines: usize, follow: bool) -> io::Result<()> {
    let mut newest = None;
    let mut last = VecDeque::new();
    for path in files(&place.folder) {
        let mut reader = BufReader::new(File::open(&path)?);
        while let Some(line) = line(&mut reader, true)? {
            if last.len() == lines {
                last.pop_front();
            }
            last.push_back(line);
        }
        newest = Some(reader);
    }
    last.into_iter().take(lines).try_for_each(|line| say(&Line::Log(line)))?;
    if follow { tail(&place.at(LOG), newest) } else { Ok(()) }
}

/// Goes on behind what was read, and with the next file when the log begins another.
fn tail(path: &Path, mut newest: Option<BufReader<File>>) -> io::Result<()> {
    loop {
        let read = newest.as_ref().and_then(|reader| reader.get_ref().metadata().ok());
        let there = path.metadata().ok().map(|meta| meta.ino());
        let next = there.is_some() && read.map(|meta| meta.ino()) != there;
        // After that look: whatever was written into a file before the next began is read.
        if let Some(reader) = &mut newest {
            while let Some(line) = line(reader, false)? {
                say(&Line::Log(line))?;
            }
        }
        match next {
            true => newest = Some(BufReader::new(File::open(path)?)),
            false => thread::park_timeout(EVERY),
        }
    }
}

/// The next line. Of one that is still being written nothing is taken, unless `rest` says so.
fn line(reader: &mut BufReader<File>, rest: bool) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = reader.read_until(b'\n', &mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if read > 0 && !rest {
        reader.seek_relative(-i64::try_from(read).unwrap_or(0))?;
        return Ok(None);
    }
    Ok((read > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}
