//! One thing on all hosts, side by side: a line of progress for each, and what failed where.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::cluster_file::Host;
use crate::courier::CallError;

/// Hosts that are worked on at once.
const AT_ONCE: usize = 16;

/// Hosts on which a step failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed on {} of {of} hosts:{}", .failed.len(), lines(.failed))]
pub struct FleetError {
    /// What was done.
    pub step: String,
    /// The host's name and why.
    pub failed: Vec<(String, String)>,
    /// Hosts it was done on.
    pub of: usize,
}

fn lines(failed: &[(String, String)]) -> String {
    failed.iter().map(|(host, why)| format!("\n  {host}: {why}")).collect()
}

/// Does something on each host. The answers come in the order of the hosts.
pub fn each<T: Send>(
    hosts: &[Host],
    work: impl Fn(&Host) -> Result<T, CallError> + Sync,
) -> Vec<Result<T, CallError>> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<Option<Result<T, CallError>>>> =
        Mutex::new(hosts.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for _ in 0..hosts.len().min(AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(host) = hosts.get(index) else { return };
                    let answer = work(host);
                    answers.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(answer);
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.into_iter().map(|answer| answer.expect("every index was taken")).collect()
}

/// Does a step on each host, with a line of progress. The answers come in the order of the hosts.
pub fn try_step<T: Send>(
    step: &str,
    hosts: &[Host],
    work: impl Fn(&Host) -> Result<T, CallError> + Sync,
) -> Vec<Result<T, CallError>> {
    each(hosts, |host| {
        let began = Instant::now();
        let answer = work(host);
        let seconds = began.elapsed().as_secs_f64();
        match &answer {
            Ok(_) => eprintln!("{step:<10} {:<16} {seconds:.1}s", host.name),
            Err(_) => eprintln!("{step:<10} {:<16} FAILED after {seconds:.1}s", host.name),
        }
        answer
    })
}

/// Does a step on each host, with a line of progress.
///
/// # Errors
/// When it failed on some host, with what failed where.
pub fn step<T: Send>(
    step: &str,
    hosts: &[Host],
    work: impl Fn(&Host) -> Result<T, CallError> + Sync,
) -> Result<Vec<T>, FleetError> {
    all(step, hosts, try_step(step, hosts, work))
}

/// What hosts have answered to a step.
///
/// # Errors
/// When it failed on some host, with what failed where.
pub fn all<T>(
    step: &str,
    hosts: &[Host],
    answers: Vec<Result<T, CallError>>,
) -> Result<Vec<T>, FleetError> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (host, answer) in hosts.iter().zip(answers) {
        match answer {
            Ok(answer) => done.push(answer),
            Err(error) => failed.push((host.name.clone(), error.to_string())),
        }
    }
    match failed.is_empty() {
        true => Ok(done),
        false => Err(FleetError { step: step.into(), failed, of: hosts.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(count: usize) -> Vec<Host> {
        let host = |i| Host { name: format!("w{i}"), address: format!("10.0.0.{i}") };
        (0..count).map(host).collect()
    }

    #[test]
    fn answers_come_in_the_order_of_the_hosts() {
        let hosts = hosts(40);
        let names = step("name", &hosts, |host| Ok(host.name.clone())).unwrap();
        assert!(names.iter().zip(&hosts).all(|(name, host)| *name == host.name));
        assert!(step("none", &[], |_| Ok(())).unwrap().is_empty());
    }

    #[test]
    fn golden_what_failed_where_is_told_at_once() {
        let error = step("stop", &hosts(3), |host| match host.name.as_str() {
            "w1" => Ok(()),
            name => Err(CallError::Failed(format!("no {name}"))),
        });
        let expected = "stop failed on 2 of 3 hosts:\n  w0: no w0\n  w2: no w2";
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}
