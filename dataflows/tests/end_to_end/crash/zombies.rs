//! Processes that were taken for dead, and are not.

use tideflow::core::kafka::testing::TestBroker;

use super::job::Job;
use super::start::{Killed, Layout, Start};
use super::view::View;
use crate::fleet::Numbers;
use crate::program::{Running, device_health};
use crate::python::model;
use crate::topics::Topics;

/// How often a process is frozen while another takes its place.
const ROUNDS: usize = 5;

fn layout(numbers: &mut Numbers) -> Layout {
    (1 + numbers.below(2) as usize, 1 + numbers.below(2) as usize)
}

/// Has a job run for so many milliseconds more.
fn for_a_moment(job: &Start, ms: u64) {
    let until = job.age().as_millis() as u64 + ms;
    job.wait_until("a moment", || job.age().as_millis() as u64 >= until);
}

/// Waits for the end of one that was superseded: it says so, by a code of its own.
fn ends_superseded(start: Start) {
    let ended = start.end();
    let codes: Vec<i32> = ended.iter().map(|ended| ended.code).collect();
    // A process that had not begun yet knows only that the other one is gone.
    assert!(codes.contains(&4) && codes.iter().all(|code| [4, 5].contains(code)), "{ended:?}");
    let said = ended.iter().any(|ended| ended.err.contains("has taken over from generation"));
    assert!(said, "{ended:?}");
}

/// Waits for the end of one that was superseded, or fenced by one that is older and slower, or whose processes have
/// met while another began: it says so.
fn ends_fenced(start: Start) {
    let said = start.end_badly();
    let fenced = [
        "taken over",
        "has written before the sentinel of",
        "another generation in the state store",
    ];
    assert!(fenced.iter().any(|words| said.contains(words)), "{said}");
}

/// Freezes a job while another start takes its place, and has it go on then, again and again.
fn thaws_behind_its_successor(job: &dyn Killed) {
    let mut numbers = Numbers(5);
    let mut newest = job.start(layout(&mut numbers));
    newest.must_publish();
    for round in 0..ROUNDS {
        newest.signal("STOP");
        let successor = job.start(layout(&mut numbers));
        successor.must_publish();
        let zombie = std::mem::replace(&mut newest, successor);
        if round % 2 == 0 {
            // What the zombie does then, it does alone.
            newest.signal("STOP");
            zombie.signal("CONT");
        } else {
            zombie.signal("CONT");
            for_a_moment(&newest, 200);
            // The input must last.
            newest.signal("STOP");
        }
        ends_superseded(zombie);
        newest.signal("CONT");
    }
    newest.end_well();
    job.check();
}

#[test]
fn crash_a_frozen_job_that_thaws_behind_its_successor_ends_and_publishes_nothing() {
    thaws_behind_its_successor(&Job::shared());
}

#[test]
fn crash_a_frozen_view_that_thaws_behind_its_successor_ends_and_publishes_nothing() {
    thaws_behind_its_successor(&View::shared());
}

/// Freezes a job while it takes over, and has it go on behind the one that came after it.
fn is_frozen_while_it_takes_over(job: &dyn Killed) {
    let mut numbers = Numbers(8);
    for round in 0..ROUNDS as u64 {
        let slow = job.start(layout(&mut numbers));
        slow.wait_until("a generation", || slow.said("taking over") || slow.has_ended());
        // Somewhere between its generation and its first epochs.
        for_a_moment(&slow, 60 * round);
        slow.signal("STOP");
        let successor = job.start(layout(&mut numbers));
        successor.must_publish();
        slow.signal("CONT");
        for_a_moment(&successor, 200);
        // The input must last.
        successor.signal("STOP");
        ends_superseded(slow);
        // It may have been fenced by the slow one, which is no harm but to itself.
        successor.signal("KILL");
        successor.end_badly();
    }
    job.start((1, 2)).end_well();
    job.check();
}

#[test]
fn crash_a_job_frozen_while_it_takes_over_ends_behind_the_one_that_came_after_it() {
    is_frozen_while_it_takes_over(&Job::shared());
}

#[test]
fn crash_a_view_frozen_while_it_takes_over_ends_behind_the_one_that_came_after_it() {
    is_frozen_while_it_takes_over(&View::shared());
}

/// Fencing goes by who comes last, not by who is newest: a start looks for a later one behind it.
#[cfg(feature = "crash-points")]
#[test]
fn crash_a_start_that_was_slow_to_fence_says_nothing_behind_the_one_that_came_after_it() {
    // On the process that fences first, and on one that does so for shards of its own.
    for (layout, point) in [((1, 2), "generation taken"), ((2, 1), "plan shared")] {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let go_on = folder.path().join("go on");
        let mut job = Job::shared();
        let stall = format!("{point}:1:{}", go_on.display());
        job.topics.environment.push(("TIDEFLOW_STALL_AT", stall));
        let slow = job.start(layout);
        let there = if point == "plan shared" { "taken over" } else { "taking over" };
        slow.wait_until(point, || slow.said(there));
        job.topics.environment.pop();
        let successor = job.start((1, 2));
        successor.must_publish();
        std::fs::write(&go_on, "").expect("the folder is ours");
        ends_superseded(slow);
        // The slow one has fenced it.
        successor.signal("KILL");
        successor.end_badly();
        let progress = job.topics.read(&format!("{}.progress", job.topics.windows));
        for shard in [0, 1] {
            let own = progress.iter().filter(|sent| sent.partition == shard);
            let by: Vec<_> = own.map(|sent| sent.json()["generation"].as_u64()).collect();
            assert!(
                by.is_sorted() && by.last() == Some(&Some(2)),
                "{point}, shard {shard}: {by:?}"
            );
        }
        job.start((2, 1)).end_well();
        job.check();
    }
}

/// Has two starts of a job race, again and again.
fn has_racing_successors(job: &dyn Killed) {
    let mut numbers = Numbers(3);
    for _ in 0..ROUNDS {
        let racing = [(); 2].map(|()| job.start(layout(&mut numbers)));
        let ended = || racing.iter().filter(|start| start.has_ended()).count();
        racing[0].wait_until("an end of the race", || ended() >= 1);
        let (over, left): (Vec<_>, Vec<_>) = racing.into_iter().partition(Start::has_ended);
        over.into_iter().for_each(ends_fenced);
        for winner in left {
            // Fenced by one that was older and slower, it ends too, and the next round begins.
            if winner.publishes() {
                winner.signal("KILL");
                winner.end_badly();
            } else {
                ends_fenced(winner);
            }
        }
    }
    job.start((2, 1)).end_well();
    job.check();
}

#[test]
fn crash_of_successors_that_race_one_at_most_goes_on() {
    has_racing_successors(&Job::shared());
}

#[test]
fn crash_of_successors_of_a_view_that_race_one_at_most_goes_on() {
    has_racing_successors(&View::shared());
}

/// It commits nothing by which it could be told.
#[test]
fn crash_an_idle_job_ends_when_another_start_has_taken_over() {
    let topics = Topics::new(TestBroker::shared(), 1, 1);
    let start = || {
        let mut command = device_health("run", &topics, &model("health"));
        Running::start(command.arg("--job.snapshot_every=1000000"))
    };
    let idle = start();
    idle.wait_until("epochs", |m| m.sum("tideflow_epoch", &[]) > 3.0);
    let successor = start();
    let ended = idle.end();
    ended.with_code(4);
    assert!(ended.err.contains("has taken over from generation"), "{}", ended.err);
    successor.signal("TERM");
    successor.end().with_code(0);
}
