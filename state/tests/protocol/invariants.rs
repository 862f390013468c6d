//! What the protocol rests on: the invariants of its design, each by its number.

use stateright::Property;

use crate::State;
use crate::rules::Rules;
use crate::world::{SHARDS, World};

/// All of them.
pub fn all() -> Vec<Property<Rules>> {
    vec![
        Property::always("I1: an epoch has one binding that counts", |_, state: &State| {
            state.world.bindings().is_some()
        }),
        Property::always("I2: what is published is of bindings that count", |_, state: &State| {
            published_as_bound(&state.world)
        }),
        Property::always("I3: progress is not ahead of the bindings", |_, state: &State| {
            let bound = state.world.bindings().map_or(0, |bindings| bindings.len());
            state.world.shards.iter().all(|shard| usize::from(shard.progress) <= bound)
        }),
        Property::always("I4: who was fenced commits nothing", |_, state: &State| {
            state.world.fenced_commit.is_none()
        }),
        Property::always(
            "I5: a manifest that counts is of bindings that count",
            |_, state: &State| {
                let of = |bindings: &[u8], manifest: &crate::world::Manifest| {
                    bindings.starts_with(&manifest.state)
                };
                let bindings = state.world.bindings().unwrap_or_default();
                state.world.counts().is_none_or(|manifest| of(&bindings, manifest))
            },
        ),
        Property::always(
            "I6: what is before a manifest that counts is out",
            |rules, state: &State| {
                state.world.counts().is_none_or(|m| out_up_to(&state.world, rules, m.epoch))
            },
        ),
    ]
}

fn published_as_bound(world: &World) -> bool {
    let bindings = world.bindings().unwrap_or_default();
    let mut results = world.shards.iter().flat_map(|shard| &shard.results);
    results.all(|(epoch, history)| bindings.get(..usize::from(*epoch)) == Some(&history[..]))
}

fn out_up_to(world: &World, rules: &Rules, last: u8) -> bool {
    (0..SHARDS).all(|shard| {
        let expected = (1..=last).filter(|epoch| rules.has_output(shard, *epoch)).count();
        world.shards[shard].results.iter().filter(|(epoch, _)| *epoch <= last).count() == expected
    })
}
