//! A program of ours as a process, beside the bench that runs it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Longest wait for something that it says.
const PATIENCE: Duration = Duration::from_secs(60);

/// One that is beside this program.
pub fn beside(name: &str) -> Command {
    let own = std::env::current_exe().expect("this program has a place");
    Command::new(own.with_file_name(name))
}

/// How often a file is looked at for more.
const LOOK: Duration = Duration::from_millis(1);

/// Lines that a program says, with when each was said.
pub struct Lines(Receiver<(Instant, String)>);

impl Lines {
    /// Of what a program writes into a pipe.
    fn of(reader: impl BufRead + Send + 'static) -> Lines {
        let (sender, lines) = channel();
        thread::spawn(move || {
            reader
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send((Instant::now(), line)))
        });
        Lines(lines)
    }

    /// What is written into a file from now on, which need not be there yet.
    pub fn of_file(path: &Path) -> Lines {
        let (sender, lines) = channel();
        let path = path.to_owned();
        // Ends, by itself, with the last line that nobody takes any more.
        thread::spawn(move || follow(&path, &sender));
        Lines(lines)
    }

    /// Waits for a line with this text, and when it was said.
    ///
    /// # Errors
    /// When it does not come.
    pub fn line(&self, text: &str) -> Result<(Instant, String)> {
        let mut last = String::new();
        loop {
            let line = self.0.recv_timeout(PATIENCE);
            let line = line.with_context(|| format!("no `{text}`, the last it said: {last}"))?;
            if line.1.contains(text) {
                return Ok(line);
            }
            last = line.1;
        }
    }
}

/// Sends a file's lines as they come, until nobody takes them.
fn follow(path: &Path, lines: &Sender<(Instant, String)>) -> Option<()> {
    let file = loop {
        match File::open(path) {
            Ok(file) => break file,
            Err(_) => thread::park_timeout(LOOK),
        }
    };
    let (mut reader, mut line) = (BufReader::new(file), String::new());
    loop {
        // The end of the file may come in the middle of a line.
        match reader.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => {
                lines.send((Instant::now(), line.trim_end().to_owned())).ok()?;
                line.clear();
            }
            Ok(_) => thread::park_timeout(LOOK),
            Err(_) => return None,
        }
    }
}

/// A process, and when it said what. Killed when dropped.
pub struct Running {
    child: Child,
    since: Instant,
    lines: Lines,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(mut command: Command) -> Result<Running> {
        let since = Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let lines = Lines::of(BufReader::new(child.stderr.take().context("it is piped")?));
        Ok(Running { child, since, lines })
    }

    /// Waits for a line with this text: the milliseconds from the start until it was said.
    ///
    /// # Errors
    /// When it does not come.
    pub fn says(&self, text: &str) -> Result<f64> {
        self.line(text).map(|(at, _)| self.milliseconds(at))
    }

    /// Waits for a line with this text, and when it was said.
    ///
    /// # Errors
    /// When it does not come.
    pub fn line(&self, text: &str) -> Result<(Instant, String)> {
        self.lines.line(text)
    }

    /// From the start until then.
    pub fn milliseconds(&self, at: Instant) -> f64 {
        (at - self.since).as_secs_f64() * 1e3
    }

    /// What of its memory is resident, in kilobytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_kb(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.context("it has ended")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Asks it to stop, and waits until it has ended well.
    ///
    /// # Errors
    /// When it ended otherwise.
    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}
