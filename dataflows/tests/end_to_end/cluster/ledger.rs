//! What a job on a cluster has published, step by step.

use std::process::Command;
use std::time::Instant;

use super::operator::Cluster;
use crate::crash::check::Difference;
use crate::crash::job::LeftAlone;
use crate::topics::{DEADLINE, Topics};

/// What a process logs once it has committed results of its own.
const PUBLISHED: &str = "first results published";

/// Steps, and what was found after each.
pub struct Ledger<'a> {
    left_alone: &'a LeftAlone,
    topics: &'a Topics,
    cluster: &'a Cluster,
    steps: usize,
    difference: Difference,
    /// From a kill to the next results, in milliseconds.
    recoveries: Vec<i64>,
}

impl<'a> Ledger<'a> {
    pub fn new(left_alone: &'a LeftAlone, topics: &'a Topics, cluster: &'a Cluster) -> Ledger<'a> {
        let (difference, recoveries) = (Difference::default(), Vec::new());
        Ledger { left_alone, topics, cluster, steps: 0, difference, recoveries }
    }

    /// Takes a step, and looks at all that was published so far.
    pub fn step(&mut self, name: &str, take: impl FnOnce(&mut Self)) {
        let since = Instant::now();
        take(self);
        self.steps += 1;
        let difference = self.left_alone.so_far(self.topics);
        assert!(difference.is_none(), "after `{name}`: {difference:?}");
        self.difference += difference;
        println!("{name}: {} windows published, {:?}", self.published(), since.elapsed());
    }

    /// The wall clock, in milliseconds since 1970.
    pub fn now(&self) -> i64 {
        let output = Command::new("date").arg("+%s%3N").output().expect("every system has it");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    }

    /// Windows that were published.
    pub fn published(&self) -> usize {
        self.topics.read(&self.topics.windows).len()
    }

    /// Waits for more windows than so many.
    pub fn goes_on(&self, before: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.published() <= before {
            let status = || self.cluster.says(&["status"]);
            assert!(Instant::now() < deadline, "nothing was published: {:?}", status());
        }
    }

    /// Waits until a start after this time has published results.
    pub fn recovers(&mut self, since: i64) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let times = self.cluster.times_of(PUBLISHED);
            if let Some(next) = times.into_iter().filter(|time| *time > since).min() {
                self.recoveries.push(next - since);
                return;
            }
            let status = || self.cluster.says(&["status"]);
            assert!(Instant::now() < deadline, "nothing was published: {:?}", status());
        }
    }

    /// The last line: what it all came to.
    pub fn ends(mut self, difference: Difference) {
        self.recoveries.sort_unstable();
        let (p50, max) = (self.recoveries.len() / 2, self.recoveries.len() - 1);
        let (p50, max) = (self.recoveries[p50], self.recoveries[max]);
        let Difference { lost, duplicated, wrong, .. } = difference;
        println!(
            "{{\"hosts\":3,\"steps\":{},\"steps_failed\":0,\"lost\":{lost},\"duplicated\":{duplicated},\
             \"wrong\":{wrong},\"recovery_ms_p50\":{p50},\"recovery_ms_max\":{max}}}",
            self.steps
        );
        assert!(difference.is_none(), "{difference:?}");
    }
}
