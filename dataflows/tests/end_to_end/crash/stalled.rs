//! A sink that takes nothing for a while, under full load.

use std::time::{Duration, Instant};

use super::job::Job;
use super::start::Killed;
use crate::program::Running;

/// How long nothing is taken, in seconds, unless `STALL_S` says otherwise.
const STALL_S: u64 = 8;
/// What the options below allow, in kilobytes: epochs in flight and one that is being read, each as records
/// and as results, of two workers; what they fetch ahead; and what an allocator keeps beside.
const BUDGET_KB: u64 = 2 * (5 * 2 * 1_024 + 8_192) + 32_768;

const FLAGS: &[&str] = &[
    "--job.transaction_timeout_ms=600000",
    "--epochs.inflight_max=4",
    "--epochs.bytes_max=1048576",
    "--readings.queue_kb=8192",
];

fn resident_kb(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()));
    let status = status.expect("it is our child");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.unwrap_or_else(|| panic!("it has ended: {}", process.said()));
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn fault_a_sink_that_stalls_under_full_load_costs_bounded_memory_and_no_result() {
    let mut job = Job::shared();
    let folder = tempfile::tempdir().expect("a folder for a while");
    let go_on = folder.path().join("go on");
    // One shard: nothing is published then. Its thread waits with a transaction in its hands.
    let stall = format!("produced:5:{}", go_on.display());
    job.topics.environment.push(("TIDEFLOW_STALL_AT", stall));
    let run = job.start_with((1, 2), FLAGS, None);
    run.must_publish();
    let process = &run.processes()[0];
    let before = resident_kb(process);
    let stall = std::env::var("STALL_S").ok().and_then(|s| s.parse().ok()).unwrap_or(STALL_S);
    let (since, mut most) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(stall) {
        most = most.max(resident_kb(process));
        std::thread::park_timeout(Duration::from_millis(50));
    }
    println!("{before} KB before, {most} KB at most in {stall} s of a stalled sink");
    assert!(most < before + BUDGET_KB, "{before} KB before, {most} KB while stalled");
    std::fs::write(go_on, "").expect("the folder is ours");
    run.end_well();
    job.check();
}
