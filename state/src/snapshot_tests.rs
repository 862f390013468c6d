use std::collections::BTreeSet;

use proptest::prelude::*;
use tideflow_core::{GroupState, Groups, PartState, Show};

use super::*;

/// A number, kept as text.
#[derive(Clone, Debug, Default, PartialEq)]
struct Count(u64);

impl GroupState for Count {
    const VERSION: u32 = 3;

    fn keys(&self) -> usize {
        usize::from(self.0 > 0)
    }

    fn bytes(&self) -> usize {
        0
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_string().as_bytes());
    }

    fn decode(version: u32, bytes: &[u8]) -> Result<Self, String> {
        assert_eq!(version, Self::VERSION);
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        text.parse().map(Count).map_err(|_| format!("expected a number, found `{text}`"))
    }

    fn show(&self, each: &mut Show<'_>) {
        each("\"all\"", &self.0.to_string());
    }
}

fn store(folder: &tempfile::TempDir) -> Store {
    let store = Store::open(folder.path().to_str().expect("plain"), "fleet").expect("it is there");
    (0..5).for_each(|_| assert!(store.take_generation().is_ok()));
    store
}

fn manifest(generation: u64, epoch: Epoch, operators: Operators) -> Manifest {
    let (source, watermark) = ("readings".to_string(), EventTime(5));
    let state = PartState::Active;
    let part = Part { source, partition: 0, from: None, next: 7, watermark, state };
    Manifest {
        v: Manifest::VERSION,
        generation: Generation(generation),
        epoch,
        watermark,
        parts: vec![part],
        chosen: Default::default(),
        binding_offset: 40 + epoch as i64,
        binding_generation: Generation(1),
        progress: vec![epoch, 0],
        operators,
    }
}

/// Takes a snapshot of all workers' counts, and makes its manifest.
fn take(
    store: &Store,
    workers: &mut [Groups<Count>],
    generation: u64,
    epoch: Epoch,
    last: Option<&Manifest>,
) -> Manifest {
    let mut written = Vec::new();
    for (worker, counts) in workers.iter_mut().enumerate() {
        let mut state = WorkerState::default();
        state.add(
            "counts",
            Count::VERSION,
            &counts.snapshot_some(usize::MAX / 2).expect("in one slice"),
        );
        written
            .push(store.write_state(Generation(generation), epoch, worker, state).expect("well"));
    }
    let manifest = manifest(generation, epoch, Manifest::operators(last, &written));
    store.write_manifest(&manifest).expect("well");
    manifest
}

/// The groups of one of `workers` workers.
fn own(worker: usize, workers: usize) -> impl Fn(KeyGroup) -> bool {
    move |group| usize::from(group.0) % workers == worker
}

fn recover(store: &Store, manifest: &Manifest, workers: usize) -> Vec<Groups<Count>> {
    let of = |worker| {
        let mut counts = Groups::new();
        let read = store.read_state(manifest, "counts", own(worker, workers)).expect("well");
        for (group, version, bytes) in read {
            counts.restore(group, version, &bytes).expect("as it was written");
        }
        counts
    };
    (0..workers).map(of).collect()
}

fn content(workers: &[Groups<Count>]) -> BTreeMap<u8, u64> {
    let all = workers.iter().flat_map(Groups::iter).filter(|(_, count)| !count.is_empty());
    all.map(|(group, count)| (group.0, count.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Each run: some epochs, each with changes and a snapshot after it; then another number of workers
    /// goes on from the last manifest.
    #[test]
    fn oracle_state_moves_to_another_number_of_workers_by_snapshots(
        runs in prop::collection::vec(
            (1..5usize, prop::collection::vec(prop::collection::vec((any::<u8>(), 0..3u64), 0..20), 1..4)),
            1..5,
        ),
    ) {
        let folder = tempfile::tempdir().expect("a folder for a while");
        let store = store(&folder);
        let (mut expected, mut last, mut epoch) = (BTreeMap::new(), None::<Manifest>, 0);
        for (generation, (count, epochs)) in (1..).zip(runs) {
            let manifest = last.as_ref().map(|l| store.manifest(&l.name()).expect("it is there"));
            let mut workers = match &manifest {
                Some(manifest) => recover(&store, manifest, count),
                None => (0..count).map(|_| Groups::new()).collect(),
            };
            prop_assert_eq!(&content(&workers), &expected);
            for changes in epochs {
                for (group, value) in changes {
                    workers[usize::from(group) % count].change(KeyGroup(group)).0 = value;
                    match value {
                        0 => drop(expected.remove(&group)),
                        _ => drop(expected.insert(group, value)),
                    }
                }
                epoch += 1;
                let manifest = take(&store, &mut workers, generation, epoch, last.as_ref());
                let before: Vec<_> = last.iter().map(Manifest::name).collect();
                store.collect_garbage(&manifest, &before).expect("well");
                last = Some(manifest);
            }
            prop_assert!(store.names(MANIFESTS).expect("well").len() <= 2);
        }
        // Nothing is kept that no manifest names, but for what the last snapshot has just written.
        let names: BTreeSet<_> = store.names(SEGMENTS).expect("well").into_iter().collect();
        let mut named = BTreeSet::new();
        for name in store.names(MANIFESTS).expect("well") {
            named.extend(store.manifest(&name).expect("well").segments().map(str::to_string));
        }
        let limit = format!("{epoch:020}-");
        prop_assert!(names.iter().all(|name| named.contains(name) || *name >= limit));
        prop_assert!(named.is_subset(&names));
    }
}

#[test]
fn golden_a_manifest_is_written_as_documented() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let mut workers = [Groups::<Count>::new(), Groups::<Count>::new()];
    workers[1].change(KeyGroup(7)).0 = 42;
    let manifest = take(&store, &mut workers, 2, 9, None);
    let name = "00000000000000000002-00000000000000000009";
    assert_eq!(manifest.name(), name);
    assert_eq!(store.manifest(name).expect("it is there"), manifest);
    let text = store.read(&format!("{MANIFESTS}/{name}")).expect("it is there");
    let values = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
    let values: Vec<_> = values.map(|value| value.expect("JSON")).collect();
    let segment = "00000000000000000009-00000000000000000002-1";
    let expected = serde_json::json!({
        "v": 1, "generation": 2, "epoch": 9, "watermark": 5,
        "parts": [{
            "source": "readings", "partition": 0, "from": null, "next": 7, "watermark": 5,
            "state": "active"
        }],
        "binding_offset": 49, "binding_generation": 1, "progress": [9, 0],
        "operators": {"counts": {"7": {
            "segment": segment, "from": 0, "len": 2, "sum": sum(b"42"), "version": 3
        }}},
    });
    let json = serde_json::to_vec_pretty(&manifest).expect("names and numbers are JSON");
    assert_eq!(values, [expected, serde_json::json!(sum(&json))]);
    assert_eq!(text.len(), json.len() + "\n\"0123456789abcdef\"\n".len());
}

#[test]
fn fault_what_is_missing_or_damaged_is_named() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let mut workers = [Groups::<Count>::new()];
    workers[0].change(KeyGroup(7)).0 = 41;
    let first = take(&store, &mut workers, 1, 3, None);
    workers[0].change(KeyGroup(7)).0 = 42;
    let second = take(&store, &mut workers, 1, 6, Some(&first));

    let at = |name: &str| folder.path().join("fleet").join(name);
    let segment = at(SEGMENTS).join("00000000000000000006-00000000000000000001-0");
    std::fs::write(&segment, "43").expect("the folder is ours");
    let told = store.read_state(&second, "counts", |_| true).expect_err("damaged").to_string();
    let start = "key group 7 of operator `counts` in \
                 `state/00000000000000000006-00000000000000000001-0` is damaged: expected checksum ";
    assert!(told.starts_with(start), "{told}");
    assert_eq!(content(&recover(&store, &first, 1)), BTreeMap::from([(7, 41)]));

    std::fs::write(&segment, "4").expect("the folder is ours");
    let told = store.read_state(&second, "counts", |_| true).expect_err("cut off");
    let cut = "`state/00000000000000000006-00000000000000000001-0` is cut short: expected 2 bytes or \
               more, found 1";
    assert_eq!((told.to_string().as_str(), told.kind()), (cut, ErrorKind::Fatal));
    std::fs::remove_file(&segment).expect("it is there");
    let told = store.read_state(&second, "counts", |_| true).expect_err("gone").to_string();
    assert!(
        told.ends_with("`state/00000000000000000006-00000000000000000001-0` is missing"),
        "{told}"
    );

    let manifest = at(MANIFESTS).join(second.name());
    std::fs::write(&manifest, r#"{"v":2}"#).expect("the folder is ours");
    let told = store.manifest(&second.name()).expect_err("another version").to_string();
    assert!(told.contains("expected version 1, found 2"), "{told}");
    // Another number is still JSON; a text that was cut off may be too.
    let whole = String::from_utf8(second.text()).expect("JSON");
    let other = whole.replace("\"watermark\": 5", "\"watermark\": 6");
    let cut = &whole[..whole.len() - 1];
    for damaged in [other.as_str(), cut, whole.trim_end_matches(|c| c != '}'), "{", ""] {
        std::fs::write(&manifest, damaged).expect("the folder is ours");
        let told = store.manifest(&second.name()).expect_err("damaged").to_string();
        assert!(told.contains(&second.name()), "{told}");
    }
    std::fs::remove_file(&manifest).expect("it is there");
    let told = store.manifest(&second.name()).expect_err("gone").to_string();
    assert!(told.ends_with("it is missing"), "{told}");
}

#[test]
fn what_a_superseded_process_writes_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let mut old = [Groups::<Count>::new()];
    old[0].change(KeyGroup(7)).0 = 1;
    let mut new = [Groups::<Count>::new()];
    new[0].change(KeyGroup(7)).0 = 2;
    let by_new = take(&store, &mut new, 2, 5, None);
    let by_old = take(&store, &mut old, 1, 5, None);
    assert_eq!(content(&recover(&store, &by_new, 1)), BTreeMap::from([(7, 2)]));
    assert_eq!(content(&recover(&store, &by_old, 1)), BTreeMap::from([(7, 1)]));
}

#[test]
fn fault_what_was_written_by_a_try_that_failed_is_written() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let mut counts = Groups::<Count>::new();
    counts.change(KeyGroup(3)).0 = 7;
    let mut state = WorkerState::default();
    state.add("counts", Count::VERSION, &counts.snapshot_some(100).expect("in one slice"));
    let write = |state: &WorkerState| store.write_state(Generation(1), 5, 0, state.clone());
    let written = write(&state).expect("well");
    assert_eq!(write(&state).expect("it is there"), written);
    let manifest = manifest(1, 5, Manifest::operators(None, &[written]));
    store.write_manifest(&manifest).expect("well");
    store.write_manifest(&manifest).expect("it is there");
    // Another content under the same name is nobody's try.
    state.add("more", Count::VERSION, &Segment { bytes: b"9".to_vec(), ..Segment::default() });
    assert!(matches!(write(&state), Err(StoreError::Taken { .. })));
}

#[test]
fn fault_a_store_that_is_away_is_not_made_anew() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let (here, away) = (folder.path().join("fleet"), folder.path().join("away"));
    std::fs::rename(&here, &away).expect("the folder is ours");
    let manifest = manifest(5, 5, Operators::new());
    let told = store.write_manifest(&manifest).expect_err("it is away");
    assert!(matches!(told, StoreError::Missing { .. }), "{told}");
    assert!(!here.exists());
    std::fs::rename(&away, &here).expect("the folder is ours");
    store.write_manifest(&manifest).expect("it is back");
}

#[test]
fn a_savepoint_keeps_its_parts_until_it_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let mut workers = [Groups::<Count>::new()];
    workers[0].change(KeyGroup(7)).0 = 42;
    let first = take(&store, &mut workers, 2, 1, None);
    store.save("before", &first).expect("it is whole");
    let again = store.save("before", &first).expect_err("the name is in use").to_string();
    assert!(again.ends_with("`savepoint/before` is there already"), "{again}");
    let mut last = first.clone();
    for epoch in 2..6 {
        workers[0].change(KeyGroup(7)).0 += 1;
        let next = take(&store, &mut workers, 2, epoch, Some(&last));
        let before = std::mem::replace(&mut last, next);
        store.collect_garbage(&last, &[before.name()]).expect("well");
    }
    let missing = store.manifest(&first.name()).expect_err("its manifest is gone").to_string();
    assert!(missing.ends_with("it is missing"), "{missing}");
    let kept = store.savepoint("before").expect("it is kept");
    assert_eq!(content(&recover(&store, &kept, 3)), BTreeMap::from([(7, 42)]));

    store.remove_savepoint("before").expect("it is there");
    assert!(store.savepoints().expect("it answers").is_empty());
    assert!(store.savepoint("before").is_err());
    store.collect_garbage(&last, &[]).expect("well");
    // What was deleted cannot be kept any more, and leaves no savepoint behind.
    let late = store.save("late", &kept).expect_err("its parts are gone").to_string();
    assert!(late.contains("is missing"), "{late}");
    assert!(store.savepoints().expect("it answers").is_empty());
}

#[test]
fn the_parts_of_a_snapshot_are_copied_to_another_job() {
    let folder = tempfile::tempdir().expect("a folder for a while");
    let store = store(&folder);
    let mut workers = [Groups::<Count>::new(), Groups::<Count>::new()];
    (0..9).for_each(|group| workers[usize::from(group % 2)].change(KeyGroup(group)).0 = 5);
    let manifest = take(&store, &mut workers, 2, 1, None);
    let other = Store::open(store.place(), "other").expect("it is there");
    store.copy_parts(&manifest, &other).expect("it is whole");
    assert_eq!(content(&recover(&other, &manifest, 3)), content(&workers));
}

#[test]
fn golden_the_manifest_of_the_documents_can_be_read() {
    let documents = include_str!("../../docs/formats.md");
    let mut blocks = documents.split("```json\n").map(|rest| rest.split("```").next());
    let text = blocks.find_map(|block| block.filter(|text| text.contains("\"segment\"")));
    let text = text.expect("there is one");
    let manifest = Manifest::from_text(text.as_bytes()).expect("as it is written");
    assert_eq!(String::from_utf8(manifest.text()).expect("JSON"), text);
}
