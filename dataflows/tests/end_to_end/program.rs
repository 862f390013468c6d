//! The binary as a process: started, watched, signalled, ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tideflow::cluster::settings::ENV_PREFIX;

use crate::topics::{DEADLINE, STATE, Topics};

/// `device_health ACTION` with these topics and this model.
pub fn device_health(action: &str, topics: &Topics, model: &Path) -> Command {
    let mut command = bare(&[action]);
    command.args(topics.flags()).arg(format!("--model.reference={}", model.display()));
    command.arg(format!("--model.cache={}/models", STATE.as_str()));
    command.envs(topics.environment.iter().map(|(name, value)| (name, value)));
    command
}

/// `device_health` with nothing but these arguments.
pub fn bare(args: &[&str]) -> Command {
    of(Path::new(env!("CARGO_BIN_EXE_device_health")), args)
}

/// A program on the process shell.
pub fn of(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The settings of whoever runs the tests are not the tests'.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(ENV_PREFIX) {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_BACKTRACE").env("TIDEFLOW__HTTP__BIND", "127.0.0.1:0");
    command
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

impl Ended {
    /// That it ended with this code. What it said last comes first: reports are cut at their end.
    #[track_caller]
    pub fn with_code(&self, code: i32) {
        let said = format!("{}{}", self.out, self.err);
        let mut lines: Vec<&str> = said.lines().rev().take(30).collect();
        lines.reverse();
        let last = lines.join("\n");
        assert!(self.code == code, "code {}, expected {code}; its last words:\n{last}", self.code);
    }
}

/// A running process, killed when it is dropped.
pub struct Running {
    child: Child,
    err: Arc<Spoken>,
    out: Option<JoinHandle<String>>,
    since: Instant,
}

/// What was said on standard error so far.
#[derive(Default)]
struct Spoken {
    said: Mutex<(String, bool)>,
    more: Condvar,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.spawn().expect("the program is built with the tests");
        let mut out = child.stdout.take().expect("piped");
        let out = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map_or_else(|e| e.to_string(), |_| text)
        });
        let (err, reader) = (Arc::<Spoken>::default(), child.stderr.take().expect("piped"));
        let spoken = err.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let mut said = spoken.said.lock().expect("nobody panics with it");
                said.0 += &line;
                said.0.push('\n');
                spoken.more.notify_all();
            }
            spoken.said.lock().expect("nobody panics with it").1 = true;
            spoken.more.notify_all();
        });
        Running { child, err, out: Some(out), since: Instant::now() }
    }

    /// What it said on standard error so far.
    pub fn said(&self) -> String {
        self.err.said.lock().expect("nobody panics with it").0.clone()
    }

    /// Waits until `done` of what was said and whether that was all.
    fn wait<T>(&self, what: &str, done: impl Fn(&str, bool) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut said = self.err.said.lock().expect("nobody panics with it");
        loop {
            if let Some(found) = done(&said.0, said.1) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let over = said.1 || left.is_zero();
            let text = &said.0;
            assert!(!over, "no {what} after {:?}:\n{text}", self.since.elapsed());
            said = self.err.more.wait_timeout(said, left).expect("nobody panics with it").0;
        }
    }

    /// The first line on standard error with this text, as soon as it is there.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait(text, |said, _| said.lines().find(|l| l.contains(text)).map(str::to_owned))
    }

    /// Whether all is said.
    pub fn has_ended(&self) -> bool {
        self.err.said.lock().expect("nobody panics with it").1
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {id}");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let err = self.wait("end", |said, all| all.then(|| said.to_owned()));
        let status = self.child.wait().expect("it is our child");
        // Of one that a signal has ended, the signal's number below zero.
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        let out = self.out.take().expect("taken once").join().expect("it only reads");
        Ended { code, out, err, took: self.since.elapsed() }
    }

    /// The page at this path.
    pub fn page(&self, path: &str) -> String {
        let line = self.wait_for("address=");
        let address = line.trim().rsplit_once("address=").expect("just found").1;
        let get = || {
            let mut stream = TcpStream::connect(address)?;
            write!(stream, "GET {path} HTTP/1.1\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok::<_, std::io::Error>(page)
        };
        let page = get().unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.said()));
        page.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }

    pub fn metrics(&self) -> Metrics {
        Metrics(self.page("/metrics"))
    }

    /// The metrics as soon as they are as wanted.
    pub fn wait_until(&self, what: &str, mut wanted: impl FnMut(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let metrics = self.metrics();
            if wanted(&metrics) {
                return metrics;
            }
            let over = Instant::now() > deadline;
            assert!(!over, "not {what}:\n{}\n{}", metrics.0, self.said());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Ended {
    Running::start(command).end()
}

/// A page of metrics.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum over all series of this name that have all these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{value}\"");
        let labels: Vec<String> = labels.iter().map(label).collect();
        let series = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let found = series.split('{').next() == Some(name);
            let all = labels.iter().all(|label| series.contains(label.as_str()));
            (found && all).then(|| value.parse::<f64>().expect("a value is a number"))
        });
        series.sum()
    }
}
