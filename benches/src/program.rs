//! A program of ours as a process, beside the bench that runs it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
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

/// A process, and when it said what. Killed when dropped.
pub struct Running {
    child: Child,
    since: Instant,
    lines: Receiver<(Instant, String)>,
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
        let said = BufReader::new(child.stderr.take().context("it is piped")?);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let _ = sender.send((Instant::now(), line));
            }
        });
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
        let mut last = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.with_context(|| format!("no `{text}`, the last it said: {last}"))?;
            if line.1.contains(text) {
                return Ok(line);
            }
            last = line.1;
        }
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
