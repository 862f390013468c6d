//! Brings hosts to what is wanted: what they lack is sent while the old processes run, then all stop well
//! and all start. Every step may be done again.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::wanted::Wanted;
use super::{ANSWER_TIME, Context, LaunchError, between, index, status};
use crate::clock;
use crate::cluster_file::Host;
use crate::courier::{CallError, Cargo};
use crate::fleet::{self, FleetError};
use crate::release::{self, Release};
use crate::wire::{Ask, Checked, Facts, Placement, State, Status};

/// Time for a host to stop that is no host of the job any more: it may be gone.
const FORMER_TIME: Duration = Duration::from_secs(20);
/// How often processes that start are asked whether they are ready.
const READY_EVERY: Duration = Duration::from_millis(300);

/// Brings the hosts to what the cluster file says.
pub(super) fn up(context: &mut Context) -> Result<ExitCode, LaunchError> {
    let processes = context.file.job.processes.unwrap_or(context.hosts.len());
    let wanted = Wanted::read(context, processes)?;
    let facts = context.facts(processes)?;
    apply(context, &wanted, &facts)
}

/// Goes on with another number of processes, of the release that runs.
pub(super) fn rescale(context: &mut Context, processes: usize) -> Result<ExitCode, LaunchError> {
    if processes > context.hosts.len() {
        let why = format!("{processes} processes, and there are {} hosts", context.hosts.len());
        return Err(LaunchError::Refused(why));
    }
    let wanted = Wanted::read(context, processes)?;
    let facts = context.facts(processes)?;
    let runs = facts.iter().find_map(|facts| facts.assigned.as_ref().and(facts.current.as_ref()));
    match runs {
        None => return Err(LaunchError::Refused("nothing runs yet: `tideflow up` first".into())),
        Some((_, release)) if release.digest() != wanted.release.digest() => {
            let why = "the program or its settings are others than those that run (`tideflow plan`): \
                       `tideflow up` first, then `rescale`";
            return Err(LaunchError::Refused(why.into()));
        }
        Some(_) => {}
    }
    let told = context.file.job.processes.unwrap_or(context.hosts.len());
    if told != processes {
        eprintln!(
            "note       the cluster file says {told} processes, and the next `up` goes back to that: \
             set `job.processes = {processes}`"
        );
    }
    apply(context, &wanted, &facts)
}

/// Stops and starts what is there.
pub(super) fn restart(context: &mut Context) -> Result<ExitCode, LaunchError> {
    let facts = context.facts(0)?;
    let hosts = placed(context, &facts)?;
    stop(context, &hosts)?;
    fleet::step("start", &hosts, |host| start(context, host, None, None))?;
    ready(context, &hosts)
}

/// Goes back to the release before the current one.
pub(super) fn rollback(context: &mut Context) -> Result<ExitCode, LaunchError> {
    let facts = context.facts(0)?;
    let hosts = placed(context, &facts)?;
    // A host that came later has it under another number.
    let content = |name: &str| name.split_once('-').map_or(name, |(_, digest)| digest).to_owned();
    let before = |facts: &Facts| facts.previous.as_deref().map_or("none".into(), content);
    let placed = facts.iter().filter(|facts| facts.assigned.is_some());
    let releases: BTreeSet<String> = placed.map(before).collect();
    if releases.len() > 1 || releases.contains("none") {
        let shown: Vec<_> = releases.into_iter().collect();
        let why = format!("the hosts' releases before are not one: {}", shown.join(", "));
        return Err(LaunchError::Refused(why));
    }
    stop(context, &hosts)?;
    fleet::step("start", &hosts, |host| {
        let previous = facts[index(&context.hosts, host)].previous.clone();
        start(context, host, previous, None)
    })?;
    eprintln!("note       `tideflow up` goes forward again to what the cluster file says");
    ready(context, &hosts)
}

/// The hosts that a process is placed on. All must be reached: the job needs each.
fn placed(context: &Context, facts: &[Facts]) -> Result<Vec<Host>, LaunchError> {
    let missing: Vec<_> = context.former(facts).into_iter().map(|host| host.name).collect();
    if !missing.is_empty() {
        let why = format!(
            "{} has a process of the job: bring it back, or go on without it by `tideflow up` with it taken off \
             the list of hosts",
            missing.join(", ")
        );
        return Err(LaunchError::Failed(why));
    }
    let placed = context.hosts.iter().zip(facts).filter(|(_, facts)| facts.assigned.is_some());
    let placed: Vec<_> = placed.map(|(host, _)| host.clone()).collect();
    match placed.is_empty() {
        true => Err(LaunchError::Refused("nothing is there yet: `tideflow up` first".into())),
        false => Ok(placed),
    }
}

fn apply(context: &Context, wanted: &Wanted, facts: &[Facts]) -> Result<ExitCode, LaunchError> {
    let assigned: Vec<_> = (0..wanted.hosts.len()).map(|i| wanted.assigned(i)).collect();
    let all: Vec<_> = context.hosts.iter().zip(facts).collect();
    let changes = between((&wanted.release, assigned.as_slice()), &all);
    if changes.is_empty() {
        return super::print("nothing to change\n");
    }
    changes.iter().for_each(|change| eprintln!("change     {change}"));
    let names = send(context, wanted, facts)?;
    check(context, wanted, &names)?;
    stop_former(context, facts);
    let placed = all.iter().filter(|(_, facts)| facts.assigned.is_some() || facts.running);
    let placed: Vec<_> = placed.map(|(host, _)| (*host).clone()).collect();
    stop(context, &placed)?;
    let count = wanted.hosts.len();
    let left = all[count..].iter().filter(|(_, facts)| facts.assigned.is_some());
    let left: Vec<_> = left.map(|(host, _)| (*host).clone()).collect();
    fleet::step("leave", &left, |host| context.ask::<()>(host, Ask::Leave))?;
    fleet::step("start", &wanted.hosts, |host| {
        let process = index(&wanted.hosts, host);
        start(context, host, Some(names[process].clone()), Some(wanted.placement(process)))
    })?;
    ready(context, &wanted.hosts)
}

/// Sends what hosts lack, and lays the release out beside the current one: its name on each host.
pub(super) fn send(
    context: &Context,
    wanted: &Wanted,
    facts: &[Facts],
) -> Result<Vec<String>, LaunchError> {
    let all = facts.iter().flat_map(|facts| &facts.releases);
    let number = all.map(|name| release::number(name)).max().unwrap_or(0) + 1;
    Ok(fleet::step("send", &wanted.hosts, |host| {
        let there = &facts[index(&wanted.hosts, host)].releases;
        send_to(context, wanted, host, (there.as_slice(), number))
    })?)
}

/// The same for one host: the release's name there.
pub(super) fn send_to(
    context: &Context,
    wanted: &Wanted,
    host: &Host,
    (there, number): (&[String], u64),
) -> Result<String, CallError> {
    let release: &Release = &wanted.release;
    if let Some(name) = there.iter().rev().find(|name| release.is_named(name)) {
        return Ok(name.clone());
    }
    let objects = release.objects();
    let missing: BTreeSet<String> = context.ask(host, Ask::Missing(objects.clone()))?;
    let objects: Vec<_> =
        objects.into_iter().filter(|object| missing.contains(&object.digest)).collect();
    if !objects.is_empty() {
        let cargo = Cargo { objects, sources: &wanted.sources };
        context.courier.put(host, &cargo, context.deadline + ANSWER_TIME)?;
    }
    let name = release.name(number);
    let ask = Ask::Install { name: name.clone(), release: Box::new(release.clone()) };
    context.ask::<()>(host, ask)?;
    Ok(name)
}

/// Has the new program look at what it needs on each host while the old one still runs: what it would be refused
/// for costs nothing.
fn check(context: &Context, wanted: &Wanted, names: &[String]) -> Result<(), LaunchError> {
    let timeout_ms = context.timeout_ms();
    fleet::step("check", &wanted.hosts, |host| {
        let process = index(&wanted.hosts, host);
        let placement = Some(Box::new(wanted.placement(process)));
        let ask = Ask::Check { release: Some(names[process].clone()), placement, timeout_ms };
        let time = context.deadline + ANSWER_TIME;
        let Checked { code, lines } = context.courier.ask(host, ask, time)?;
        let wrong = lines.into_iter().filter(|line| !line.starts_with("ok "));
        match code {
            0 => Ok(()),
            _ => Err(CallError::Failed(wrong.collect::<Vec<_>>().join("\n    "))),
        }
    })?;
    Ok(())
}

/// Stops the processes of hosts well, side by side, and says which did not end as they should.
pub(super) fn stop(context: &Context, hosts: &[Host]) -> Result<(), LaunchError> {
    fleet::all("stop", hosts, try_stop(context, hosts))?;
    Ok(())
}

/// The same, with an answer for each.
pub(super) fn try_stop(context: &Context, hosts: &[Host]) -> Vec<Result<(), CallError>> {
    let timeout_ms = context.timeout_ms();
    fleet::try_step("stop", hosts, |host| {
        let ended: Option<String> = context.ask(host, Ask::Stop { timeout_ms })?;
        if let Some(ended) = ended {
            eprintln!("note       {}: {ended}", host.name);
        }
        Ok(())
    })
}

/// Stops the processes of hosts that are no hosts of the job any more. One that is gone cannot be asked; what
/// still runs there can publish nothing once the job has started again.
fn stop_former(context: &Context, facts: &[Facts]) {
    let former = context.former(facts);
    let timeout_ms = u64::try_from(FORMER_TIME.as_millis()).unwrap_or(u64::MAX);
    let stopped = fleet::step("stop", &former, |host| {
        let time = FORMER_TIME + ANSWER_TIME;
        context.courier.ask::<Option<String>>(host, Ask::Stop { timeout_ms }, time)?;
        context.courier.ask::<()>(host, Ask::Leave, time)
    });
    if let Err(error) = stopped {
        eprintln!("note       {error}");
    }
}

fn start(
    context: &Context,
    host: &Host,
    release: Option<String>,
    placement: Option<Placement>,
) -> Result<(), CallError> {
    let ask = Ask::Start { release, placement: placement.map(Box::new) };
    let left: Option<String> = context.ask(host, ask)?;
    if let Some(why) = left {
        eprintln!("note       {}: {why}", host.name);
    }
    Ok(())
}

/// Waits until all are ready, and shows them. One that has failed ends the wait: the others wait for it.
fn ready(context: &Context, hosts: &[Host]) -> Result<ExitCode, LaunchError> {
    let mut rows: Vec<status::Row> = Vec::new();
    let over = clock::until(Instant::now() + context.deadline, READY_EVERY, || {
        let answers = fleet::each(hosts, |host| context.ask::<Status>(host, Ask::Status));
        rows = hosts.iter().cloned().zip(answers).collect();
        let failed = rows.iter().any(|(_, status)| unready(status, None).is_some());
        let ready = rows.iter().all(|(_, status)| unready(status, Some(READY_EVERY)).is_none());
        (failed || ready).then_some(())
    });
    let late = over.is_none().then_some(context.deadline);
    let failed = rows.iter().filter_map(|(host, s)| Some((host.name.clone(), unready(s, late)?)));
    let failed: Vec<_> = failed.collect();
    match failed.is_empty() {
        true => super::print(&status::table(&rows)),
        false => Err(FleetError { step: "ready".into(), failed, of: hosts.len() }.into()),
    }
}

/// Why a process is not ready: how it failed, or, once it is `late`, that it is not.
fn unready(status: &Result<Status, CallError>, late: Option<Duration>) -> Option<String> {
    match status {
        Err(error) => Some(error.to_string()),
        Ok(status) if status.ready == Some(true) => None,
        // One that had little to do has come to its end already.
        Ok(Status { state: State::Stopped, .. }) => None,
        Ok(Status { state: State::Failed | State::Nothing, words, .. }) => {
            Some(words.clone().unwrap_or_else(|| "it ended at once".into()))
        }
        Ok(Status { words, .. }) => late.map(|span| {
            let words = words.as_ref().map_or(String::new(), |words| format!(": {words}"));
            format!("not ready within {}{words} (`tideflow logs`)", clock::shown(span))
        }),
    }
}
