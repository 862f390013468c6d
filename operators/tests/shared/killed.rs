//! Where a run that was killed is gone on from.

use tideflow_core::{Binding, Resume};

use crate::memory::{Memory, States};

/// What a run has left behind it, cut off somewhere.
pub struct Killed {
    /// Where the next run goes on.
    pub resume: Resume,
    /// The states of its snapshot.
    pub states: States,
    /// The bindings that the next run is to replay, and all before them.
    pub recorded: Vec<Binding>,
}

impl Killed {
    /// What was ruled upon the epochs that are replayed was recorded, and of no other was anything published.
    ///
    /// From one of its snapshots, or none, and with what of the log behind it is left: both as a share of
    /// what there is, from 0 to 1.
    pub fn of(run: &Memory, snapshot: f64, left: f64) -> Killed {
        let mut bindings = run.log();
        let mut snapshots: Vec<_> =
            run.snapshots().into_iter().map(|(at, states)| (Some(at), states)).collect();
        snapshots.insert(0, Default::default());
        let (standing, states) =
            snapshots.swap_remove((snapshot * snapshots.len() as f64) as usize);
        let state_of = standing.as_ref().map_or(0, |s| s.epoch);
        let rest = &bindings[state_of as usize..];
        let recorded = rest[..(left * (rest.len() + 1) as f64) as usize].to_vec();
        let mut resume =
            Resume { snapshot: standing, recorded: recorded.into(), ..Resume::default() };
        let replayed = state_of + 1..=resume.last();
        resume.rulings =
            run.rulings().into_iter().filter(|r| replayed.contains(&r.epoch)).collect();
        resume.published = resume.last();
        bindings.truncate(resume.last() as usize);
        Killed { resume, states, recorded: bindings }
    }
}
