//! Kills at every step of the protocol.

use super::job::Job;
use super::start::{Killed, Layout};
use super::view::View;
use crate::program::Ended;

/// Where a job kills itself: those of a start, of an epoch, of a snapshot.
pub const POINTS: &[&str] = &[
    "generation taken",
    "shards fenced",
    "sentinels committed",
    "marker acknowledged",
    "plan shared",
    "binding appended",
    "binding acknowledged",
    "produced",
    "sent",
    "committed",
    "state written",
    "manifest written",
    "manifest committed",
    "old snapshots removed",
    "cleaned up",
];

/// Where it does so when it has come by before.
const LATER: &[&str] =
    &["plan shared:2", "binding appended:9", "produced:5", "sent:6", "committed:4"];

/// Where the second of two processes does so.
const SECOND: &[&str] =
    &["plan shared:1", "produced:2", "sent:2", "committed:2", "state written:2"];

/// Has one of its processes kill itself.
fn killed(job: &dyn Killed, layout: Layout, (process, point): (usize, &str)) -> Vec<Ended> {
    // Snapshots come soon enough for the input to last.
    let often = ["--job.snapshot_every=20"];
    let run = job.start_with(layout, &often, Some((process, point)));
    run.wait_until(&format!("`{point}`"), || run.has_ended());
    let ended = run.end();
    // By a signal, which nobody but itself has sent.
    assert_eq!(ended[process].code, -9, "`{point}`: {}", ended[process].err);
    ended
}

/// Kills it at each of them, and has it come to its end.
fn killed_at_every_point(job: &dyn Killed) {
    let first = POINTS.iter().map(|point| format!("{point}:1"));
    let later = LATER.iter().map(|point| (*point).to_string());
    for (n, point) in first.chain(later).enumerate() {
        // A point that is passed twice in a start has two workers in its process.
        let layout = [(2, 1), (1, 2)][n % 2];
        let ended = killed(job, layout, (0, &point));
        assert!(ended.iter().all(|ended| ended.code != 0), "`{point}`: {ended:?}");
    }
    for point in SECOND {
        let ended = killed(job, (2, 1), (1, point));
        assert!(ended[0].code != 0, "`{point}`: {ended:?}");
    }
    job.start((1, 1)).end_well();
    job.check();
}

#[test]
fn crash_a_job_killed_at_every_step_of_the_protocol_publishes_every_result_once() {
    killed_at_every_point(&Job::shared());
}

#[test]
fn crash_a_view_killed_at_every_step_of_the_protocol_holds_what_is_recomputed() {
    killed_at_every_point(&View::shared());
}
