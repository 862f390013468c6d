//! Looks for what is wrong, on this machine and on each host, with what to do about it.

use std::fmt::Write;
use std::process::ExitCode;

use super::{Context, LaunchError};
use crate::agent;
use crate::certs::{Certs, SOON_DAYS};
use crate::clock;
use crate::cluster_file::Host;
use crate::courier::CallError;
use crate::fleet;
use crate::wire::{Ask, Checked, Facts, Finding, Grade};

/// How far apart clocks may be.
const SKEW_MAX_MS: i64 = 500;

/// Prints what is wrong. 1 where something cannot work.
pub(super) fn doctor(context: &Context) -> Result<ExitCode, LaunchError> {
    let mut text = String::new();
    let mut worst = Grade::Ok;
    let mut tell = |of: &str, findings: &[Finding]| {
        for finding in findings {
            worst = worst.max(finding.grade);
            let grade = match finding.grade {
                Grade::Ok => "ok  ",
                Grade::Warn => "WARN",
                Grade::Fail => "FAIL",
            };
            let Finding { what, found, remedy, .. } = finding;
            let _ = writeln!(text, "{grade}  {of}  {what}: {found}");
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "      {remedy}");
            }
        }
    };
    tell("here", &certificates(context));
    let answers = fleet::each(&context.hosts, |host| Ok(of_host(context, host)));
    for (host, findings) in context.hosts.iter().zip(answers) {
        let findings = findings.unwrap_or_else(|error| vec![unreached(&error)]);
        tell(&host.name, &findings);
    }
    super::print(&text)?;
    Ok(if worst == Grade::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn certificates(context: &Context) -> Vec<Finding> {
    let what = "certificates";
    if !context.file.certs.join("ca.pem").exists() {
        return vec![Finding::ok(what, "none yet; `tideflow up` makes them where they are needed")];
    }
    let remedy =
        "`tideflow certs rotate` makes new ones, with `--ca` the authority too; then `tideflow up`";
    match Certs::at(&context.file.certs).show() {
        Err(error) => vec![Finding::bad(Grade::Fail, what, error.to_string(), remedy)],
        Ok(shown) => {
            let ends = shown.iter().map(|shown| (shown.days_left(), &shown.subject)).min();
            let Some((days, subject)) = ends else { return Vec::new() };
            let found = format!("the first to end is `{subject}`, in {days} days");
            vec![match days {
                ..0 => Finding::bad(Grade::Fail, what, found, remedy),
                0..SOON_DAYS => Finding::bad(Grade::Warn, what, found, remedy),
                _ => Finding::ok(what, found),
            }]
        }
    }
}

fn unreached(error: &CallError) -> Finding {
    // What is wrong with a connection is told with what to do about it.
    Finding { grade: Grade::Fail, what: "ssh".into(), found: error.to_string(), remedy: None }
}

/// Everything about one host. What cannot be asked is a finding too.
fn of_host(context: &Context, host: &Host) -> Vec<Finding> {
    let facts: Facts = match context.ask(host, Ask::Facts) {
        Ok(facts) => facts,
        Err(error) => return vec![unreached(&error)],
    };
    let mut found = vec![Finding::ok("ssh", "reached, its key is known")];
    found.push(clock_of(context, host).unwrap_or_else(|error| unreached(&error)));
    found.push(library(&facts));
    let (http, cluster) = (context.file.ports.http, context.file.ports.cluster);
    let (hosts, own) = (context.hosts.clone(), super::index(&context.hosts, host));
    let ask = Ask::Doctor { http, cluster, hosts, own };
    match context.ask::<Vec<Finding>>(host, ask) {
        Ok(findings) => found.extend(findings),
        Err(error) => found.push(unreached(&error)),
    }
    if facts.current.is_none() || facts.assigned.is_none() {
        let why = "nothing is here yet: `tideflow plan` checks on the first host";
        found.push(Finding::ok("graph", why));
        return found;
    }
    let ask = Ask::Check { release: None, placement: None, timeout_ms: context.timeout_ms() };
    match context.ask::<Checked>(host, ask) {
        Ok(checked) => found.extend(of_graph(&checked)),
        Err(error) => found.push(Finding::bad(
            Grade::Fail,
            "graph",
            error.to_string(),
            "`tideflow up` brings it anew",
        )),
    }
    found
}

/// How far its clock is from this machine's. Asked a second time: the connection is there by now.
fn clock_of(context: &Context, host: &Host) -> Result<Finding, CallError> {
    let before = clock::now_ms();
    let facts: Facts = context.ask(host, Ask::Facts)?;
    let after = clock::now_ms();
    Ok(skew(facts.now_ms, before, after))
}

fn skew(theirs: i64, before: i64, after: i64) -> Finding {
    let (skew, unsure) = (theirs - (before + after) / 2, (after - before) / 2);
    let found = format!("{skew:+} ms from this machine's, give or take {unsure} ms");
    if skew.abs() - unsure > SKEW_MAX_MS {
        let remedy = "have it kept by NTP (`timedatectl set-ntp true`, or chrony): idle partitions and \
                      certificates go by it";
        return Finding::bad(Grade::Warn, "clock", found, remedy);
    }
    Finding::ok("clock", found)
}

/// Whether programs of this machine find their C library there. The processor is the same: the agent runs.
fn library(facts: &Facts) -> Finding {
    let what = "C library";
    let remedy = "build the graph on a machine of the hosts' kind, and call the launcher there";
    match (&facts.libc, agent::libc()) {
        (Some(theirs), Some(own)) if version(theirs) < version(&own) => {
            let shown = format!("{theirs}, older than this machine's {own}");
            Finding::bad(Grade::Warn, what, shown, remedy)
        }
        (Some(theirs), _) => Finding::ok(what, theirs.as_str()),
        (None, _) => Finding::bad(Grade::Warn, what, "not glibc, or no `getconf`", remedy),
    }
}

/// The numbers in a text as `glibc 2.36`.
fn version(text: &str) -> Vec<u32> {
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The lines of the graph's own check.
fn of_graph(checked: &Checked) -> Vec<Finding> {
    // The codes of `tideflow_cluster::Exit`.
    let remedy = match checked.code {
        2 => "change the settings, or what is found there; then `tideflow up`",
        3 => "bring up what is not reached, or let this host reach it",
        _ => "`tideflow logs` may say more",
    };
    let findings = checked.lines.iter().filter_map(|line| {
        let (grade, rest) = line.split_once(' ')?;
        let (what, found) = rest.trim_start().split_once(": ")?;
        match grade {
            "ok" => Some(Finding::ok(what, found)),
            "FAIL" => Some(Finding::bad(Grade::Fail, what, found, remedy)),
            _ => None,
        }
    });
    let mut findings: Vec<_> = findings.collect();
    if checked.code != 0 && findings.iter().all(|finding| finding.grade == Grade::Ok) {
        let words = checked.lines.last().map_or("no words", String::as_str);
        findings.push(Finding::bad(Grade::Fail, "graph", words, remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_when_it_is_so_beyond_doubt() {
        assert_eq!(skew(1_000, 900, 1_100).grade, Grade::Ok);
        assert_eq!(skew(1_700, 900, 1_300).grade, Grade::Ok);
        assert_eq!(skew(1_700, 900, 1_100).grade, Grade::Warn);
        assert!(skew(0, 1_000, 1_000).found.starts_with("-1000 ms"));
        assert!(version("glibc 2.9") < version("glibc 2.36"));
    }

    #[test]
    fn golden_the_graphs_own_findings_come_with_a_remedy() {
        let lines = ["ok    broker: 3 brokers", "FAIL  topic readings: missing", "tideflow: x"];
        let checked = Checked { code: 2, lines: lines.map(String::from).to_vec() };
        let found = of_graph(&checked);
        assert_eq!(found[0], Finding::ok("broker", "3 brokers"));
        assert_eq!((found[1].grade, found[1].what.as_str()), (Grade::Fail, "topic readings"));
        assert_eq!(found.len(), 2);
        let broken = Checked { code: 101, lines: vec!["panic".into()] };
        assert_eq!(of_graph(&broken)[0].found, "panic");
    }
}
