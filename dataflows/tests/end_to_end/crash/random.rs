//! Kills at random moments and places, on layouts that change with every start.

use std::time::{Duration, Instant};

use super::check::Difference;
use super::job::Job;
use super::start::{Killed, Layout, Start};
use super::view::View;
use crate::fleet::Numbers;
use crate::topics::DEADLINE;

/// How often a job is killed, unless `KILLS` says otherwise.
const KILLS: usize = 20;
/// Longest life of a run that is killed, in milliseconds.
const LIFE_MS: u64 = 3_000;
/// Where a job kills itself, in a build that can.
#[cfg(feature = "crash-points")]
const POINTS: &[&str] = super::points::POINTS;
#[cfg(not(feature = "crash-points"))]
const POINTS: &[&str] = &[];

/// What a number of kills came to.
#[derive(Default)]
struct Campaign {
    kills: usize,
    difference: Difference,
    /// From a start to its first committed results, in milliseconds.
    recoveries: Vec<u128>,
}

impl Campaign {
    /// Kills a job again and again until it is through, or there were so many kills in all.
    fn round(&mut self, job: &dyn Killed, kills: usize, numbers: &mut Numbers) {
        let mut killed = false;
        loop {
            let layout = (1 + numbers.below(2) as usize, 1 + numbers.below(2) as usize);
            let last = self.kills == kills;
            let crash = Some(numbers.below(2)).filter(|n| *n == 0 && !last && !POINTS.is_empty());
            let crash = crash.map(|_| point(layout, numbers));
            let run = job.start_with(layout, &[], crash.as_ref().map(|(n, at)| (*n, at.as_str())));
            let life = Duration::from_millis(numbers.below(LIFE_MS));
            let life = match (last, &crash) {
                (true, _) => DEADLINE,
                // It may take a while until it comes by.
                (false, Some(_)) => 2 * Duration::from_millis(LIFE_MS),
                (false, None) => life,
            };
            let mut recovered = None;
            let ended = run.lives_for(life, |run| {
                if recovered.is_none() && run.has_published() {
                    recovered = Some(run.age().as_millis());
                }
            });
            self.recoveries.extend(recovered.filter(|_| killed));
            if ended && crash.is_none() {
                run.end_well();
                break;
            }
            let age = run.age();
            if !ended {
                kill(&run, numbers);
            }
            // Whoever is left ends by itself.
            let codes = run.end_however();
            if codes.iter().all(|code| *code == 0) {
                break;
            }
            assert!(codes.contains(&-9), "nobody was killed: {codes:?}");
            self.kills += 1;
            killed = true;
            let place = crash.map_or(String::new(), |(n, at)| format!(" at `{at}` in process {n}"));
            println!("kill {} of {layout:?} after {age:?}{place}", self.kills);
        }
        self.difference += job.difference();
    }

    /// The last line of `make crash`.
    fn summary(mut self) -> String {
        self.recoveries.sort_unstable();
        let (p50, max) = (self.recoveries.len() / 2, self.recoveries.len().saturating_sub(1));
        let at = |place: usize| self.recoveries.get(place).copied().unwrap_or_default();
        let Difference { lost, duplicated, wrong, .. } = self.difference;
        format!(
            "{{\"kills\":{},\"lost\":{lost},\"duplicated\":{duplicated},\"wrong\":{wrong},\
             \"recovery_ms_p50\":{},\"recovery_ms_max\":{}}}",
            self.kills,
            at(p50),
            at(max),
        )
    }
}

/// A point to crash at, of one of the processes.
fn point(layout: Layout, numbers: &mut Numbers) -> (usize, String) {
    let name = POINTS[numbers.below(POINTS.len() as u64) as usize];
    // Most are come by in the first process only.
    let process = numbers.below(4) as usize / 3 * (layout.0 - 1);
    (process, format!("{name}:{}", 1 + numbers.below(8)))
}

/// Kills one process or all of them.
fn kill(run: &Start, numbers: &mut Numbers) {
    let one = numbers.below(run.processes().len() as u64) as usize;
    run.processes()[one].signal("KILL");
    if numbers.below(2) == 0 {
        run.signal("KILL");
    }
}

#[test]
fn crash_a_job_killed_at_random_publishes_every_result_once() {
    let kills = std::env::var("KILLS").ok().filter(|kills| !kills.is_empty());
    let kills = kills.map_or(KILLS, |kills| kills.parse().expect("`KILLS` is a number"));
    let (mut campaign, mut numbers, since) = (Campaign::default(), Numbers(11), Instant::now());
    // Each graph gets its half, on as many jobs as that takes.
    for (graph, kills) in [("device_health", kills / 2), ("fleet_view", kills)] {
        let mut jobs = 0;
        while campaign.kills < kills {
            let job: Box<dyn Killed> = match graph {
                "fleet_view" => Box::new(View::shared()),
                _ => Box::new(Job::shared()),
            };
            campaign.round(&*job, kills, &mut numbers);
            jobs += 1;
            println!("{graph}: {} kills in {:?}", campaign.kills, since.elapsed());
        }
        let by_end = campaign.difference.by_end;
        assert!(2 * by_end <= jobs, "{by_end} of {jobs} were held against their end only");
    }
    let difference = campaign.difference.clone();
    println!("{}", campaign.summary());
    assert!(difference.is_none(), "{difference:?}");
}
