//! What a graph makes of state that another one, or an earlier form of it, has left.

use std::collections::BTreeSet;
use std::fmt;

use tideflow_core::{Epoch, EventTime, Inputs, Resume, StateForm};
use tideflow_state::{Manifest, Topics};

use crate::StartError;

/// The sources and operators of a graph and those of a snapshot, by their names. Of a source that is its
/// positions.
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
    pub fn between(manifest: &Manifest, inputs: &Inputs, states: &[StateForm]) -> Self {
        let over = manifest.watermark == EventTime::MAX;
        let mut changes = Changes { epoch: manifest.epoch, over, ..Changes::default() };
        let known: BTreeSet<_> = manifest.parts.iter().map(|part| &part.source).collect();
        for source in inputs.keys() {
            let place = match known.contains(source) {
                true => &mut changes.same,
                false => &mut changes.empty,
            };
            place.push(source.clone());
        }
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
        let operators = manifest.operators.keys().filter(gone);
        let sources = known.into_iter().filter(|source| !inputs.contains_key(*source));
        changes.dropped = sources.chain(operators).cloned().collect();
        changes
    }

    /// Whether what was kept of a source or an operator of this name is dropped.
    pub fn drops(&self, name: &String) -> bool {
        self.dropped.contains(name)
    }

    /// That no state is lost, but what may be.
    pub fn allowed(&self, drop_state: &[String]) -> Result<(), StartError> {
        if let Some((operator, found, known)) = self.migrated.iter().find(|(_, f, k)| f > k) {
            let (operator, found, known) = (operator.clone(), *found, *known);
            return Err(StartError::Newer { operator, found, known });
        }
        may_drop(self.dropped.iter().map(String::as_str), drop_state, self.epoch)
    }
}

/// That all that is gone may be.
fn may_drop<'a>(
    gone: impl Iterator<Item = &'a str>,
    drop_state: &[String],
    epoch: Epoch,
) -> Result<(), StartError> {
    let lost = gone.filter(|gone| !drop_state.iter().any(|name| name == gone));
    let operators: Vec<_> = lost.map(str::to_string).collect();
    match operators[..] {
        [] => Ok(()),
        _ => Err(StartError::WouldDrop { operators, epoch }),
    }
}

/// That no source is gone that something is known of, be it recorded since the snapshot, but what may be.
pub(crate) fn check_sources(
    resume: &Resume,
    inputs: &Inputs,
    drop_state: &[String],
) -> Result<(), StartError> {
    let gone = resume.sources().into_iter().filter(|source| !inputs.contains_key(*source));
    may_drop(gone, drop_state, resume.last())
}

/// What was recorded of sources and operators that the next start still finds in a snapshot or a binding: where
/// this graph has none of the name, a later one may again.
pub(crate) fn still_known(
    before: Option<Topics>,
    resume: &Resume,
    manifest: Option<&Manifest>,
) -> Topics {
    let mut topics = before.unwrap_or_default();
    let sources = resume.sources();
    topics.inputs.retain(|name, _| sources.contains(name.as_str()));
    let kept = |name: &String| manifest.is_some_and(|m| m.operators.contains_key(name));
    topics.meanings.retain(|name, _| kept(name));
    topics
}

/// That every source reads what it has read, at whose offsets it goes on, and that state means what it meant.
pub(crate) fn same_as_before(
    before: &Topics,
    inputs: &Inputs,
    states: &[StateForm],
) -> Result<(), StartError> {
    let other = states.iter().find_map(|StateForm { operator, meaning, .. }| {
        let expected = before.meanings.get(operator)?;
        let found = if meaning.is_empty() { "something else" } else { meaning };
        (expected != meaning).then(|| (operator.clone(), expected.clone(), found.to_string()))
    });
    if let Some((operator, expected, found)) = other {
        return Err(StartError::OtherMeaning { operator, expected, found });
    }
    let other = inputs.iter().find_map(|(name, input)| {
        let (expected, found) = (before.inputs.get(name)?, input.as_ref()?);
        (expected != found).then(|| (name.clone(), expected.clone(), found.clone()))
    });
    match other {
        None => Ok(()),
        Some((name, expected, found)) => Err(StartError::OtherInput { name, expected, found }),
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

    use tideflow_core::{GroupState, Part, PartState, Show};
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

    fn part(source: &str) -> Part {
        let (source, watermark, state) = (source.to_string(), EventTime(0), PartState::Active);
        Part { source, partition: 0, from: None, next: 7, watermark, state }
    }

    /// Sources, with the topics that they read.
    fn inputs(topics: &[(&str, &str)]) -> Inputs {
        topics.iter().map(|(name, topic)| (name.to_string(), Some(topic.to_string()))).collect()
    }

    /// A snapshot of a source and these operators, each with a key group in the form of every version given.
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
            parts: vec![part("readings")],
            chosen: Default::default(),
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
        let changes = Changes::between(&snapshot, &inputs(&[("readings", "in")]), &states);
        assert_eq!(
            changes.to_string(),
            "after epoch 7; as it was: readings, windows; migrated: alarms (version 2 to 3); \
             empty: new; dropped: old"
        );
        let told = changes.allowed(&[]).expect_err("state would be dropped").to_string();
        assert!(told.starts_with("the state of `old` is kept after epoch 7"), "{told}");
        changes.allowed(&["old".to_string()]).expect("it may be dropped");
    }

    #[test]
    fn fault_a_source_that_is_gone_has_to_be_named() {
        let changes = Changes::between(&snapshot(&[]), &inputs(&[("sensors", "in")]), &[]);
        let told = "after epoch 7; empty: sensors; dropped: readings";
        assert_eq!(changes.to_string(), told);
        let told = changes.allowed(&[]).expect_err("it would be dropped").to_string();
        assert!(told.starts_with("the state of `readings` is kept"), "{told}");
        changes.allowed(&["readings".to_string()]).expect("it may be dropped");
    }

    #[test]
    fn fault_what_is_recorded_since_the_snapshot_is_of_the_same_sources() {
        let binding = tideflow_core::Binding {
            epoch: 1,
            parts: vec![part("readings")],
            watermark: EventTime(0),
            wall_ms: 0,
            ending: tideflow_core::Ending::No,
            chosen: Default::default(),
        };
        let resume = Resume { recorded: [binding].into(), ..Resume::default() };
        let check = |topics, drop: &[String]| check_sources(&resume, &inputs(topics), drop);
        check(&[("readings", "in"), ("sites", "sites")], &[]).expect("it is there");
        let told = check(&[("sensors", "in")], &[]).expect_err("it is gone").to_string();
        assert!(told.starts_with("the state of `readings` is kept after epoch 1"), "{told}");
        check(&[("sensors", "in")], &["readings".to_string()]).expect("it may be dropped");
    }

    #[test]
    fn fault_a_source_that_is_to_read_another_topic_is_refused() {
        let before = inputs(&[("readings", "in")]).into_iter();
        let before = before.filter_map(|(name, topic)| Some((name, topic?))).collect();
        let before = Topics { inputs: before, ..Topics::default() };
        let same = [("readings", "in"), ("sites", "sites")];
        same_as_before(&before, &inputs(&same), &[]).expect("one is new");
        let other = inputs(&[("readings", "other")]);
        let told = same_as_before(&before, &other, &[]).expect_err("another");
        let words =
            "source `readings` goes on at the offsets of topic `in`, and is to read topic `other`";
        assert!(told.to_string().starts_with(words), "{told}");
    }

    #[test]
    fn what_a_snapshot_still_has_of_a_source_or_an_operator_that_is_gone_stays_known() {
        let named = |names: [&str; 2]| names.map(|n| (n.to_string(), n.to_string())).into();
        let (inputs, meanings) = (named(["readings", "old"]), named(["windows", "older"]));
        let before = Topics { inputs, meanings, ..Topics::default() };
        let snapshot = snapshot(&[("windows", &[1])]);
        let standing = tideflow_core::Standing {
            epoch: 7,
            watermark: EventTime(0),
            parts: snapshot.parts.clone(),
            chosen: Default::default(),
        };
        let resume = Resume { snapshot: Some(standing), ..Resume::default() };
        let known = still_known(Some(before), &resume, Some(&snapshot));
        assert_eq!(known.inputs.into_keys().collect::<Vec<_>>(), ["readings"]);
        assert_eq!(known.meanings.into_keys().collect::<Vec<_>>(), ["windows"]);
    }

    #[test]
    fn fault_state_that_is_to_mean_something_else_is_refused() {
        let windows =
            |meaning: &str| [StateForm::of::<Nothing<1>>("windows").meaning(meaning.to_string())];
        let meanings = [("windows".to_string(), "windows of 60000 ms".to_string())].into();
        let before = Topics { meanings, ..Topics::default() };
        let check = |states: &[StateForm]| same_as_before(&before, &Inputs::new(), states);
        check(&windows("windows of 60000 ms")).expect("it is the same");
        let told = check(&windows("")).expect_err("none").to_string();
        assert!(told.contains("and is to keep something else: "), "{told}");
        let told = check(&windows("windows of 30000 ms")).expect_err("another").to_string();
        let words =
            "operator `windows` has kept windows of 60000 ms, and is to keep windows of 30000 ms";
        assert!(told.starts_with(words), "{told}");
    }

    #[test]
    fn fault_state_of_a_newer_graph_is_refused() {
        let states = [StateForm::of::<Nothing<2>>("alarms")];
        let snapshot = snapshot(&[("alarms", &[2, 3])]);
        let changes = Changes::between(&snapshot, &inputs(&[("readings", "in")]), &states);
        let told = changes.allowed(&[]).expect_err("it cannot be read").to_string();
        assert!(told.contains("version 3, and this graph knows it up to 2"), "{told}");
    }
}
