use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A number, and when it was said. In version 1 there was none.
#[derive(Clone, Debug, PartialEq, serde::Serialize, Deserialize)]
struct Said {
    at: EventTime,
    number: i32,
}

impl Row for Said {
    const VERSION: u32 = 2;

    fn restore(version: u32, bytes: &[u8]) -> Result<Self, String> {
        match version {
            1 => restore_known(1, 1, bytes).map(|at| Said { at, number: -1 }),
            _ => restore_known(Self::VERSION, version, bytes),
        }
    }

    fn restore_group<K: Key>(version: u32, bytes: &[u8]) -> Result<Option<Vec<(K, Self)>>, String> {
        let old = version == 0;
        old.then(|| postcard::from_bytes(bytes).map_err(|error| error.to_string())).transpose()
    }

    fn heap_bytes(&self) -> usize {
        100
    }
}

fn said(at: i64, number: i32) -> Said {
    Said { at: EventTime(at), number }
}

const AFTER_MS: i64 = 640;

fn empty() -> KeyedState<u64, Said> {
    KeyedState::expiring(Duration::from_millis(AFTER_MS as u64), |said| said.at)
}

/// Key groups as they are stored.
type Stored = BTreeMap<KeyGroup, Vec<u8>>;

fn snapshot(state: &mut KeyedState<u64, Said>, stored: &mut Stored) {
    let segment = std::iter::repeat_with(|| state.groups().snapshot_some(50)).find_map(|s| s);
    let segment = segment.expect("every slice has a group at least");
    for (group, _) in &segment.groups {
        stored.insert(*group, segment.of(*group).expect("it is listed").to_vec());
    }
}

fn restored(stored: &Stored, watermark: i64) -> KeyedState<u64, Said> {
    let mut state = empty();
    for (group, bytes) in stored {
        state.groups().restore(*group, Said::VERSION, bytes).expect("it was just written");
    }
    state.resume(EventTime(watermark));
    state
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, i64, i32),
    /// Made anew when it is not there.
    Touch(u64, i64),
    Remove(u64),
    /// The watermark moves by so much.
    Expire(i64),
    Snapshot,
    /// Goes on from the last snapshot: what was done since is done again.
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop_oneof![3 => 0..20u64, 1 => 0..2_000u64];
    let step = prop_oneof![
        8 => (key(), -900..300i64, 0..100).prop_map(|(key, at, n)| Step::Insert(key, at, n)),
        8 => (key(), -900..300i64).prop_map(|(key, at)| Step::Touch(key, at)),
        3 => key().prop_map(Step::Remove),
        3 => prop_oneof![0..20i64, 0..900i64].prop_map(Step::Expire),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 0..300)
}

/// What a step does to a map, and what expires.
fn model(
    map: &mut BTreeMap<(KeyGroup, u64), Said>,
    watermark: &mut i64,
    step: &Step,
) -> Vec<(u64, Said)> {
    let place = |key: u64| (KeyGroup::of(key.stable_hash()), key);
    match *step {
        Step::Insert(key, at, number) => {
            map.insert(place(key), said(*watermark + at, number));
        }
        Step::Touch(key, at) => {
            map.entry(place(key)).or_insert(said(0, 0)).at = EventTime(*watermark + at);
        }
        Step::Remove(key) => {
            map.remove(&place(key));
        }
        Step::Expire(by) => {
            let tick = |at: i64| at.div_euclid(AFTER_MS / 64);
            let before = std::mem::replace(watermark, *watermark + by);
            if tick(*watermark) > tick(before) {
                let gone = map.extract_if(.., |_, row| row.at.0 < *watermark - AFTER_MS);
                return gone.map(|((_, key), row)| (key, row)).collect();
            }
        }
        Step::Snapshot | Step::Restore => {}
    }
    Vec::new()
}

/// The same to a state.
fn apply(state: &mut KeyedState<u64, Said>, watermark: i64, step: &Step) -> Vec<(u64, Said)> {
    match *step {
        Step::Insert(key, at, number) => {
            state.insert(key, said(watermark + at, number));
        }
        Step::Touch(key, at) => {
            state.change(&key, || said(0, 0), |row| row.at = EventTime(watermark + at));
        }
        Step::Remove(key) => {
            state.remove(&key);
        }
        Step::Expire(by) => return state.expire(EventTime(watermark + by)),
        Step::Snapshot | Step::Restore => {}
    }
    Vec::new()
}

proptest! {
    #[test]
    fn oracle_a_state_is_what_a_map_is_and_goes_on_from_its_snapshots(steps in steps()) {
        let (mut state, mut map, mut now) = (empty(), BTreeMap::new(), 0);
        state.resume(EventTime(0));
        // What is stored, the watermark there, and what has happened since.
        let (mut stored, mut stored_at, mut since) = (Stored::new(), 0, Vec::new());
        for step in steps {
            let watermark = now;
            let expected = model(&mut map, &mut now, &step);
            prop_assert_eq!(&apply(&mut state, watermark, &step), &expected);
            match step {
                Step::Snapshot => {
                    snapshot(&mut state, &mut stored);
                    (stored_at, since) = (now, Vec::new());
                }
                Step::Restore => {
                    state = restored(&stored, stored_at);
                    for (watermark, step, expected) in &since {
                        prop_assert_eq!(&apply(&mut state, *watermark, step), expected);
                    }
                }
                step => since.push((watermark, step, expected)),
            }
            let held = map.iter().map(|((_, key), row)| (key, row));
            prop_assert!(state.iter().eq(held), "{:?}", map);
            prop_assert_eq!(state.groups().keys(), map.len());
        }
    }
}

#[test]
fn only_what_changes_is_written_again() {
    let (mut state, mut written) = (empty(), Stored::new());
    for key in 0..100 {
        state.insert(key, said(key as i64, 0));
    }
    snapshot(&mut state, &mut written);
    assert!(written.len() > 50);
    written.clear();
    state.remove(&1_000);
    state.expire(EventTime(AFTER_MS));
    snapshot(&mut state, &mut written);
    assert_eq!(written, Stored::new(), "nothing has changed");
    state.expire(EventTime(AFTER_MS + 10));
    state.change(&50, || said(0, 0), |row| row.number = 1);
    snapshot(&mut state, &mut written);
    let changed = (0..10).chain([50]).map(|key: u64| KeyGroup::of(key.stable_hash()));
    assert!(written.keys().copied().eq(std::collections::BTreeSet::from_iter(changed)));
}

thread_local! {
    static LOOKED: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn keys_that_are_touched_are_looked_at_about_once_in_their_time() {
    fn touched(row: &Said) -> EventTime {
        LOOKED.set(LOOKED.get() + 1);
        row.at
    }
    let mut state = KeyedState::expiring(Duration::from_millis(AFTER_MS as u64), touched);
    let (keys, rounds) = (1_000u64, 40);
    for now in (0..rounds).map(|round| round * AFTER_MS / 2) {
        for key in 0..keys {
            state.insert(key, said(now, 0));
        }
        // Each inserted row was looked at once.
        LOOKED.set(LOOKED.get() - keys as usize);
        for at in (now..now + AFTER_MS / 2).step_by(10) {
            assert_eq!(state.expire(EventTime(at)), []);
        }
    }
    let lives = keys * rounds as u64 / 2;
    assert!((LOOKED.get() as u64) < lives * 3 / 2, "{} looks, {lives} lives", LOOKED.get());
}

#[test]
fn nothing_expires_at_the_end_of_time_or_without_a_time_to_live() {
    let mut state = empty();
    state.insert(1, said(0, 0));
    assert_eq!(state.expire(EventTime::MAX), []);
    let mut state = KeyedState::new();
    state.insert(1u64, said(0, 0));
    assert_eq!(state.expire(EventTime(i64::MAX - 1)), []);
    assert_eq!(state.get(&1), Some(&said(0, 0)));
}

#[test]
fn golden_rows_lie_in_the_order_of_their_keys_each_with_its_length() {
    let mut group = Entries::<u64, Said>::default();
    for (key, row) in [(300u64, said(-1, 5)), (7, said(1_000, -2))] {
        group.rows.insert(key.stable_hash(), key, row);
    }
    let mut bytes = Vec::new();
    group.encode(&mut bytes);
    let expected = [
        &[7, 3, 0, 0, 0, 0xd0, 0x0f, 3][..], // 1000 is 2000 after zigzag, -2 is 3
        &[0xac, 2, 2, 0, 0, 0, 1, 10],       // 300, -1 is 1, 5 is 10
    ];
    assert_eq!(bytes, expected.concat());
}

fn decoded(version: u32, bytes: &[u8]) -> Result<BTreeMap<u64, Said>, String> {
    Ok(Entries::<u64, Said>::decode(version, bytes)?.rows.into_iter().collect())
}

#[test]
fn golden_earlier_versions_are_migrated_row_by_row_or_as_a_whole() {
    let expected = |number| Ok(BTreeMap::from([(7, said(1_000, number))]));
    assert_eq!(decoded(2, &[7, 3, 0, 0, 0, 0xd0, 0x0f, 3]), expected(-2));
    assert_eq!(decoded(1, &[7, 2, 0, 0, 0, 0xd0, 0x0f]), expected(-1));
    assert_eq!(decoded(0, &[1, 7, 0xd0, 0x0f, 3]), expected(-2));
}

#[test]
fn fault_bytes_that_are_no_rows_are_told() {
    let told = decoded(3, &[7, 0, 0, 0, 0]).unwrap_err();
    assert_eq!(told, "expected version 2 of its form, found 3");
    for short in [&[7, 3, 0][..], &[7, 3, 0, 0, 0, 1]] {
        assert_eq!(decoded(2, short).unwrap_err(), "it ends too early");
    }
    assert!(decoded(2, &[0x80]).is_err() && decoded(2, &[7, 1, 0, 0, 0, 0x80]).is_err());
}

#[test]
fn people_are_shown_keys_and_rows_in_their_order() {
    let mut bytes = Vec::new();
    put_entry(&7u64, &said(1, 2), &mut bytes);
    put_entry(&8u64, &said(3, 4), &mut bytes);
    let (mut shown, form) = (Vec::new(), crate::StateForm::of::<Entries<u64, Said>>("rows"));
    let mut each = |key: &str, row: &str| shown.push(format!("{key} {row}"));
    form.show(2, &bytes, &mut each).expect("as it was written");
    assert_eq!(shown, [r#"7 {"at":1,"number":2}"#, r#"8 {"at":3,"number":4}"#]);
}
