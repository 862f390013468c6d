//! A run that goes on where another one was killed: what it publishes again is what was published, and
//! all of it together is what the bindings of both say.

use proptest::prelude::*;
use tideflow_core::Binding;

use crate::history::histories;
use crate::killed::Killed;
use crate::memory::Memory;
use crate::recomputed::recompute;
use crate::{run, shapes};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn oracle_a_view_goes_on_from_any_snapshot_and_any_end_of_the_log(
        history in histories(),
        first in shapes(),
        second in shapes(),
        (snapshot, killed) in (0.0..1.0f64, 0.0..1.0f64),
    ) {
        let memory = Memory::default().snapshots_every(first.snapshot_every);
        let before = run(&history, first, memory.clone());
        let Killed { resume, states, recorded } = Killed::of(&memory, snapshot, killed);
        let (state_of, last) = (resume.state_of(), resume.last());
        let memory = Memory::resume(resume, states).snapshots_every(second.snapshot_every);
        let after = run(&history, second, memory.clone());
        let again = |epoch| epoch > state_of && epoch <= last;
        prop_assert_eq!(after.within(again), before.within(again));

        let both: Vec<Binding> = recorded.into_iter().chain(memory.log()).collect();
        let whole = recompute(&history, &both);
        prop_assert_eq!(after, whole.within(|epoch| epoch > state_of));
    }
}
