//! A program that is run with a deadline, for what it prints.

use std::fs::File;
use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::clock;

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; none when a signal ended it, or it was killed because it took too long.
    pub code: Option<i32>,
    /// Whether it took too long.
    pub late: bool,
    /// What it printed.
    pub out: String,
    /// What it printed on standard error.
    pub errors: String,
}

/// Runs a program to its end, or kills it.
///
/// # Errors
/// When it cannot be run.
pub fn run(mut command: Command, timeout: Duration) -> io::Result<Ended> {
    let (out, errors) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    let into = |file: &File| file.try_clone().map(Stdio::from);
    command.stdin(Stdio::null()).stdout(into(out.as_file())?).stderr(into(errors.as_file())?);
    let mut child = command.spawn()?;
    let (until, every) = (Instant::now() + timeout, Duration::from_millis(10));
    let ended = clock::until(until, every, || child.try_wait().transpose()).transpose()?;
    if ended.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let text = |file: &tempfile::NamedTempFile| {
        std::fs::read(file.path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Ended {
        code: ended.and_then(|status| status.code()),
        late: ended.is_none(),
        out: text(&out)?,
        errors: text(&errors)?,
    })
}
