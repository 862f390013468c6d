//! What a graph makes of state that another one, or an earlier form of it, has left.

use std::fmt;

use tideflow_core::{Epoch, EventTime, StateForm};
use tideflow_state::Manifest;

use crate::StartError;

/// The operators of a graph and those of a snapshot, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    epoch: Epoch,
    /// All of the input was read, and every window has closed.
    over: bool,
    /// Go on with what they had.
    same: Vec<String>,
    /// Go on with what they had in the form of another version: the name, theirs, the graph's.
    migrated: Vec<(String, u32, u32)>,
    /// Begin with nothing.
    empty: Vec<String>,
    /// Are in the snapshot only.
    dropped: Vec<String>,
}

impl Changes {
    pub fn between(manifest: &Manifest, states: &[StateForm]) -> Self {
        let over = manifest.watermark == EventTime::MAX;
        let mut changes = Changes { epoch: manifest.epoch, over, ..Changes::default() };
        for StateForm { operator, version, .. } in states {
            let stored = manifest.operators.get(operator).into_iter();
            // Groups that have not changed since are in the form that they were written in.
            let stored = stored.flat_map(|groups| groups.values().map(|place| place.version));
            let other = stored.clone().filter(|stored| stored != version).max();
            match (stored.count(), other) {
                (0, _) => changes.empty.push(operator.clone()),
                (_, None) => changes.same.push(operator.clone()),
                (_, Some(other)) => changes.migrated.push((operator.clone(), other, *version)),
            }
        }
        let gone = |name: &&String| !states.iter().any(|form| form.operator == **name);
        changes.dropped = manifest.operators.keys().filter(gone).cloned().collect();
        changes
    }

    /// That no state is lost, but what may be.
    pub fn allowed(&self, drop_state: &[String]) -> Result<(), StartError> {
        if let Some((operator, found, known)) = self.migrated.iter().find(|(_, f, k)| f > k) {
            let (operator, found, known) = (operator.clone(), *found, *known);
            return Err(StartError::Newer { operator, found, known });
        }
        let lost = self.dropped.iter().filter(|name| !drop_state.contains(name));
        let operators: Vec<_> = lost.cloned().collect();
        match operators[..] {
            [] => Ok(()),
            _ => Err(StartError::WouldDrop { operators, epoch: self.epoch }),
        }
    }
}

/// What a person is told before the start.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after epoch {}", self.epoch)?;
        let mut told = |what: &str, names: &[String]| match names {
            [] => Ok(()),
            _ => write!(f, "; {what}: {}", names.join(", ")),
        };
        let migrated =
            |(name, from, to): &(String, u32, u32)| format!("{name} (version {from} to {to})");
        told("as it was", &self.same)?;
        told("migrated", &self.migrated.iter().map(migrated).collect::<Vec<_>>())?;
        told("empty", &self.empty)?;
        told("dropped", &self.dropped)?;
        if self.over {
            write!(f, "; the job is at its end: a start has nothing left to do")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tideflow_core::{GroupState, Show};
    use tideflow_state::{Generation, Place};

    use super::*;

    /// Nothing, in the form of a version.
    #[derive(Default)]
    struct Nothing<const VERSION: u32>;

    impl<const VERSION: u32> GroupState for Nothing<VERSION> {
        const VERSION: u32 = VERSION;

        fn keys(&self) -> usize {
            0
        }

        fn bytes(&self) -> usize {
            0
        }

        fn encode(&self, _: &mut Vec<u8>) {}

        fn decode(_: u32, _: &[u8]) -> Result<Self, String> {
            Ok(Nothing)
        }

        fn show(&self, _: &mut Show<'_>) {}
    }

    /// A snapshot of these operators, each with a key group in the form of every version given.
    fn snapshot(operators: &[(&str, &[u32])]) -> Manifest {
        let groups = |versions: &[u32]| {
            let place = |version: &u32| Place {
                segment: String::new(),
                from: 0,
                len: 1,
                sum: String::new(),
                version: *version,
            };
            (0..).zip(versions.iter().map(place)).collect::<BTreeMap<u8, _>>()
        };
        let operators = operators.iter().map(|(name, of)| (name.to_string(), groups(of)));
        Manifest {
            v: Manifest::VERSION,
            generation: Generation(1),
            epoch: 7,
            watermark: EventTime(0),
            parts: Vec::new(),
            binding_offset: 0,
            binding_generation: Generation(1),
            progress: Vec::new(),
            operators: operators.collect(),
        }
    }

    #[test]
    fn what_becomes_of_each_operator_is_told() {
        let states = [
            StateForm::of::<Nothing<1>>("windows"),
            StateForm::of::<Nothing<3>>("alarms"),
            StateForm::of::<Nothing<1>>("new"),
        ];
        let snapshot = snapshot(&[("windows", &[1, 1]), ("alarms", &[3, 2]), ("old", &[1])]);
        let changes = Changes::between(&snapshot, &states);
        assert_eq!(
            changes.to_string(),
            "after epoch 7; as it was: windows; migrated: alarms (version 2 to 3); empty: new; \
             dropped: old"
        );
        let told = changes.allowed(&[]).expect_err("state would be dropped").to_string();
        assert!(told.starts_with("the state of `old` is in the snapshot after epoch 7"), "{told}");
        changes.allowed(&["old".to_string()]).expect("it may be dropped");
    }

    #[test]
    fn fault_state_of_a_newer_graph_is_refused() {
        let states = [StateForm::of::<Nothing<2>>("alarms")];
        let changes = Changes::between(&snapshot(&[("alarms", &[2, 3])]), &states);
        let told = changes.allowed(&[]).expect_err("it cannot be read").to_string();
        assert!(told.contains("version 3, and this graph knows it up to 2"), "{told}");
    }
}
