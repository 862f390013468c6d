//! The exactly-once protocol as a small model: every interleaving of a few epochs, two shards, crashes
//! and zombies (a process whose successor has started goes on as it likes) at every step.
//!
//! What must hold in every state: no result is lost, duplicated or of two different cuts; no recovery
//! stops; whatever has happened, one more generation alone brings all results out; and the invariants that
//! the protocol rests on. And the checker must find it out when any rule of the protocol is left out: by
//! what becomes of the results, whatever the invariants say.
//!
//! Left out, and shown by tests of their own: more than one epoch at a time, the trimming of topics, the clean-up
//! of snapshots, `job.snapshot`, files.
#![expect(missing_docs, reason = "a test whose types a public trait shows")]

mod invariants;
mod process;
mod rules;
mod world;

use process::{Fate, Process, Step};
use rules::{Rule, Rules};
use stateright::{Checker, HasDiscoveries, Model, Property};
use world::World;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    world: World,
    processes: Vec<Process>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Start,
    Crash(usize),
    Take(usize, Step),
}

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.world.violation.is_some() {
            return;
        }
        if state.world.generation < self.generations {
            actions.push(Action::Start);
        }
        for (index, process) in state.processes.iter().enumerate() {
            actions.push(Action::Crash(index));
            actions.extend(process.steps(self).into_iter().map(|s| Action::Take(index, s)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Start => next.processes.push(Process::start(&mut next.world, self)),
            Action::Crash(index) => drop(next.processes.remove(index)),
            Action::Take(index, step) => {
                if next.processes[index].take(step, &mut next.world, self) == Fate::Ends {
                    next.processes.remove(index);
                }
            }
        }
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let outcomes = vec![
            Property::always(RIGHT, |_, state: &State| state.world.violation.is_none()),
            Property::always(GOES_ON, |rules: &Rules, state: &State| {
                state.world.violation.is_some() || finishes(state.world.clone(), rules)
            }),
            Property::sometimes(ENDS, |rules: &Rules, state: &State| {
                state.world.complete(rules) && state.world.generation == rules.generations
            }),
        ];
        match self.without {
            None => [outcomes, invariants::all()].concat(),
            Some(_) => outcomes,
        }
    }
}

const RIGHT: &str = "nothing is lost, duplicated or wrong, and no recovery stops";
const GOES_ON: &str = "one more generation alone brings all results out";
const ENDS: &str = "the last generation sees all results out";

/// Whether a new generation, alone, brings all results out and no wrong ones.
fn finishes(mut world: World, rules: &Rules) -> bool {
    let mut process = Process::start(&mut world, rules);
    while !world.complete(rules) && world.violation.is_none() {
        let Some(step) = process.steps(rules).into_iter().next() else { return false };
        if process.take(step, &mut world, rules) == Fate::Ends {
            return false;
        }
    }
    world.violation.is_none()
}

/// Two shards: results of the first in every epoch but the first, of the second in the third alone. So
/// there is an epoch without any results, and a shard that is idle. Two generations in any interleaving,
/// and a third, alone, from every state they can reach.
fn protocol(many_owners: bool) -> Rules {
    let (outputs, snapshots) = ([0b1100, 0b1000], 0b0110);
    Rules { epochs: 3, generations: 2, outputs, snapshots, many_owners, without: None }
}

#[test]
fn the_protocol_holds_in_every_interleaving() {
    for many_owners in [false, true] {
        let checker = protocol(many_owners).checker().threads(2).spawn_bfs().join();
        println!("{} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn no_rule_can_be_left_out() {
    for rule in Rule::ALL {
        // Where the process that recovers owns all shards, its own second look is what counts; where
        // others own them, theirs.
        let rules = protocol(rule == Rule::OwnersReadGenerationAgain);
        let checker = Rules { without: Some(rule), ..rules }.checker().threads(2);
        let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found = [RIGHT, GOES_ON].iter().find_map(|p| Some((p, checker.discovery(p)?)));
        let Some((property, path)) = found else { panic!("{rule:?} is not missed") };
        let violation = path.last_state().world.violation;
        println!("without {rule:?}: not `{property}`: {violation:?}\n  {:?}", path.into_actions());
    }
}
