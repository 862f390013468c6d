//! The logs of all hosts, merged by time.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{ANSWER_TIME, Context, LaunchError};
use crate::args::LogArgs;
use crate::clock;
use crate::cluster_file::Host;
use crate::fleet::{self, FleetError};
use crate::wire::{Ask, Facts};

/// How long a line is held that is followed, for an earlier one of another host to come.
const HELD: Duration = Duration::from_millis(300);
/// Levels, from quiet to loud.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written; of a line without a time, the time of the one before.
    pub at_ms: i64,
    /// Whose it is: a process's index, or a host's name.
    pub of: String,
    /// The line.
    pub text: String,
}

/// Which lines are wanted.
struct Filter<'a> {
    since_ms: i64,
    grep: Option<&'a str>,
    level: Option<usize>,
}

impl Filter<'_> {
    fn takes(&self, entry: &Entry) -> bool {
        // Last words have no level, and are always of interest.
        let loud =
            level(&entry.text).is_some_and(|level| self.level.is_some_and(|max| level > max));
        let found = self.grep.is_none_or(|text| entry.text.contains(text));
        entry.at_ms >= self.since_ms && !loud && found
    }
}

/// Prints the logs of all hosts.
pub(super) fn logs(context: &Context, args: &LogArgs) -> Result<ExitCode, LaunchError> {
    let since_ms = args.since.as_deref().map_or(Ok(i64::MIN), since)?;
    let level = args.level.as_deref().and_then(level_of);
    let filter = Filter { since_ms, grep: args.grep.as_deref(), level };
    let hosts = wanted(context, args)?;
    if args.follow {
        follow(context, args, &filter, &hosts)
    } else {
        all(context, args, &filter, &hosts)
    }
}

/// The hosts whose lines are wanted, and what their lines begin with.
fn wanted(context: &Context, args: &LogArgs) -> Result<Vec<(Host, String)>, LaunchError> {
    let named = |host: &&Host| args.host.as_ref().is_none_or(|name| *name == host.name);
    let hosts: Vec<_> = context.hosts.iter().filter(named).cloned().collect();
    let facts = fleet::each(&hosts, |host| context.ask::<Facts>(host, Ask::Facts));
    let mut wanted = Vec::new();
    for (host, facts) in hosts.into_iter().zip(facts) {
        let process = facts.ok().and_then(|facts| facts.assigned).map(|assigned| assigned.process);
        if args.process.is_none_or(|wanted| process == Some(wanted)) {
            let of = process.map_or(host.name.clone(), |process| process.to_string());
            wanted.push((host, of));
        }
    }
    match wanted.is_empty() {
        true => Err(LaunchError::Refused("no host has such a name or process".into())),
        false => Ok(wanted),
    }
}

fn all(
    context: &Context,
    args: &LogArgs,
    filter: &Filter<'_>,
    hosts: &[(Host, String)],
) -> Result<ExitCode, LaunchError> {
    let only: Vec<_> = hosts.iter().map(|(host, _)| host.clone()).collect();
    let answers = fleet::each(&only, |host| {
        let mut lines = Vec::new();
        let deadline = context.deadline + ANSWER_TIME;
        let mut take = |line: &str| lines.push(line.to_owned());
        context.courier.logs(host, (args.lines, false), deadline, &mut take)?;
        Ok(lines)
    });
    let (mut logs, mut failed) = (Vec::new(), Vec::new());
    for ((host, of), answer) in hosts.iter().zip(answers) {
        match answer {
            Ok(lines) => logs.push((of.clone(), lines)),
            Err(error) => failed.push((host.name.clone(), error.to_string())),
        }
    }
    let entries = merged(logs).into_iter().filter(|entry| filter.takes(entry));
    super::print(&entries.map(|entry| shown(&entry)).collect::<String>())?;
    match failed.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(FleetError { step: "logs".into(), failed, of: hosts.len() }.into()),
    }
}

/// The lines of several logs, each under its name, by time. Lines of one log stay in their order.
pub fn merged(logs: Vec<(String, Vec<String>)>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (of, lines) in logs {
        let mut at_ms = i64::MIN;
        for text in lines {
            // A clock that was put back does not put lines of one log out of order.
            at_ms = time(&text).unwrap_or(at_ms).max(at_ms);
            entries.push(Entry { at_ms, of: of.clone(), text });
        }
    }
    entries.sort_by_key(|entry| entry.at_ms);
    entries
}

fn follow(
    context: &Context,
    args: &LogArgs,
    filter: &Filter<'_>,
    hosts: &[(Host, String)],
) -> Result<ExitCode, LaunchError> {
    let (send, entries) = mpsc::channel();
    thread::scope(|scope| {
        for (host, of) in hosts {
            let send = send.clone();
            scope.spawn(move || {
                let mut at_ms = i64::MIN;
                let mut take = |line: &str| {
                    at_ms = time(line).unwrap_or(at_ms).max(at_ms);
                    let _ = send.send(Entry { at_ms, of: of.clone(), text: line.into() });
                };
                let lines = (args.lines, true);
                let ended = context.courier.logs(host, lines, context.deadline, &mut take);
                let why = ended.err().map_or("its log has ended".into(), |e| e.to_string());
                eprintln!("tideflow: {}: {why}", host.name);
            });
        }
        drop(send);
        in_order(&entries, |entry| {
            if filter.takes(entry) && io::stdout().write_all(shown(entry).as_bytes()).is_err() {
                // The reader has seen enough, and the hosts' agents end with this program.
                std::process::exit(0);
            }
        });
    });
    Ok(ExitCode::FAILURE)
}

/// Hands entries on by time, each held for a moment, until nobody sends any.
fn in_order(entries: &Receiver<Entry>, mut take: impl FnMut(&Entry)) {
    let mut held: Vec<(Instant, Entry)> = Vec::new();
    loop {
        let next = entries.recv_timeout(HELD / 3);
        let over = matches!(next, Err(RecvTimeoutError::Disconnected));
        if let Ok(entry) = next {
            held.push((Instant::now(), entry));
        }
        held.sort_by_key(|(_, entry)| entry.at_ms);
        let ripe = |(came, _): &(Instant, Entry)| over || came.elapsed() >= HELD;
        // Up to the last one that was held long enough: what is earlier goes first.
        let count = held.iter().rposition(ripe).map_or(0, |last| last + 1);
        held.drain(..count).for_each(|(_, entry)| take(&entry));
        if over {
            return;
        }
    }
}

fn shown(entry: &Entry) -> String {
    format!("{} | {}\n", entry.of, entry.text)
}

fn since(text: &str) -> Result<i64, LaunchError> {
    let span = clock::span(text).and_then(|span| i64::try_from(span.as_millis()).ok());
    let found = span.map(|span| clock::now_ms() - span).or_else(|| clock::parse_ms(text));
    found.ok_or_else(|| {
        let expected = "expected a span as `10m` or a time as 2026-11-28T09:00:00Z";
        LaunchError::Refused(format!("--since: found `{text}`, {expected}"))
    })
}

/// The time of a line: it begins with it, or is an object with a `timestamp`.
fn time(line: &str) -> Option<i64> {
    match line.starts_with('{') {
        true => clock::parse_ms(json(line)?["timestamp"].as_str()?),
        false => clock::parse_ms(line.split(' ').next()?),
    }
}

fn level(line: &str) -> Option<usize> {
    match line.starts_with('{') {
        true => level_of(json(line)?["level"].as_str()?),
        false => level_of(line.split_whitespace().nth(1)?),
    }
}

fn level_of(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.eq_ignore_ascii_case(name))
}

fn json(line: &str) -> Option<serde_json::Value> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(of: &str, lines: &[&str]) -> (String, Vec<String>) {
        (of.into(), lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn lines_of_all_hosts_come_by_time_and_those_of_one_in_their_order() {
        let text = log(
            "0",
            &[
                "2026-11-28T09:00:00.100Z  INFO main tideflow: a",
                "tideflow: last words",
                "2026-11-28T09:00:00.300Z  WARN main tideflow: d",
            ],
        );
        let json = log(
            "1",
            &[r#"{"timestamp":"2026-11-28T09:00:00.200000Z","level":"ERROR","message":"c"}"#],
        );
        let entries = merged(vec![text, json]);
        let of: Vec<_> = entries.iter().map(|entry| entry.of.as_str()).collect();
        assert_eq!(of, ["0", "0", "1", "0"]);
        assert_eq!(shown(&entries[1]), "0 | tideflow: last words\n");
        let taken = |level: &str, grep| {
            let filter = Filter { since_ms: i64::MIN, grep, level: level_of(level) };
            entries.iter().filter(|entry| filter.takes(entry)).count()
        };
        assert_eq!((taken("info", None), taken("warn", None), taken("error", None)), (4, 3, 2));
        assert_eq!(taken("info", Some("last")), 1);
    }

    #[test]
    fn what_is_followed_is_held_for_a_moment_and_comes_by_time() {
        let (send, entries) = mpsc::channel();
        for at_ms in [3, 1, 2] {
            send.send(Entry { at_ms, of: "0".into(), text: String::new() }).unwrap();
        }
        drop(send);
        let mut times = Vec::new();
        in_order(&entries, |entry| times.push(entry.at_ms));
        assert_eq!(times, [1, 2, 3]);
    }
}
