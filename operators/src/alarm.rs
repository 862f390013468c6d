//! Alarms with hysteresis on scored windows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::form::restore_known;
use tideflow_core::prometheus::IntCounterVec;
use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, Entries, EventTime, Groups, Key, KeyGroup, KeyedState, Row, Stateful,
    Stream, minutes,
};

use crate::{Scored, Window};

/// When an alarm is raised, and when it is cleared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hysteresis {
    raise_above: f64,
    clear_below: f64,
    at_least: u32,
    forget_after: Duration,
    /// What lies below raises: scores and thresholds are taken with the other sign.
    falling: bool,
}

impl Hysteresis {
    /// Raises when a score lies above this; clears below it unless told otherwise.
    pub fn raise_above(score: f64) -> Self {
        let (at_least, forget_after) = (1, minutes(24 * 60));
        let (raise_above, clear_below) = (score, score);
        Hysteresis { raise_above, clear_below, at_least, forget_after, falling: false }
    }

    /// Raises when a score lies below this; clears above it unless told otherwise.
    pub fn raise_below(score: f64) -> Self {
        Hysteresis { falling: true, ..Self::raise_above(-score) }
    }

    /// Clears when a score lies below this: at most the score that raises. The gap between them keeps
    /// an alarm from flickering.
    #[must_use]
    pub fn clear_below(self, score: f64) -> Self {
        Hysteresis { clear_below: score, ..self }
    }

    /// Clears an alarm that is raised below a score when one lies above this: at least that score.
    #[must_use]
    pub fn clear_above(self, score: f64) -> Self {
        self.clear_below(-score)
    }

    /// Raises only after this many windows of the key, one after the other, lay above. Windows in
    /// which the key was silent do not count, for or against.
    #[must_use]
    pub fn for_at_least(self, windows: u32) -> Self {
        Hysteresis { at_least: windows.max(1), ..self }
    }

    /// Forgets a key that was last seen this long before the watermark, one day by default. An alarm
    /// that was raised then expires.
    #[must_use]
    pub fn forget_after(self, silence: Duration) -> Self {
        Hysteresis { forget_after: silence, ..self }
    }

    /// A score, or a threshold, as it is meant: more is worse.
    fn graded(self, score: f64) -> f64 {
        if self.falling { -score } else { score }
    }
}

/// What happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// The scores have been high for long enough.
    Raised,
    /// A score is low again.
    Cleared,
    /// The key was not seen for so long that nothing can be said.
    Expired,
}

impl AlarmState {
    /// The name used in records, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmState::Raised => "raised",
            AlarmState::Cleared => "cleared",
            AlarmState::Expired => "expired",
        }
    }
}

/// A change of a key's alarm.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Alarm<K> {
    /// The key.
    pub key: K,
    /// The name of the alarm.
    pub alarm: String,
    /// What happened.
    pub state: AlarmState,
    /// The start of the window that made it happen; of the last one seen when it expired.
    pub start: EventTime,
    /// The end of that window.
    pub end: EventTime,
    /// The score of that window.
    pub score: f64,
    /// The start of the first window of the run above the threshold.
    pub since: EventTime,
}

/// Raises alarms on scored windows.
pub trait Alarms<'s, K: 'static> {
    /// Yields a record when a key's alarm is raised, cleared or expires, and none in between.
    ///
    /// State: about 80 bytes for each key whose last score lay above the threshold or whose alarm is
    /// raised; none for healthy keys. A key not seen for `forget_after` is forgotten. Assumes that a
    /// key's windows come in order of time, as a window operator yields them. Fails: never.
    ///
    /// # Errors
    /// When the name is taken, a threshold is no number, or it would clear above where it raises.
    fn alarm(self, name: &str, when: Hysteresis) -> Result<Stream<'s, Alarm<K>>, BuildError>;
}

impl<'s, K: Key, A: ExchangeData + Clone> Alarms<'s, K> for Stream<'s, Scored<Window<K, A>>> {
    fn alarm(self, name: &str, when: Hysteresis) -> Result<Stream<'s, Alarm<K>>, BuildError> {
        let (raise, clear) = (when.raise_above, when.clear_below);
        if !raise.is_finite() || !clear.is_finite() || clear > raise {
            let (raise, clear) = (when.graded(raise), when.graded(clear));
            let expected = match when.falling {
                false => "`clear_below` at most `raise_above`",
                true => "`clear_above` at least `raise_below`",
            };
            let what = format!("expected numbers, {expected}; found {clear} and {raise}");
            return Err(BuildError::invalid(name, what));
        }
        let [above, below] = if when.falling { ["below", "above"] } else { ["above", "below"] };
        let (raise, clear) = (when.graded(raise), when.graded(clear));
        let at_least = when.at_least;
        let about =
            format!("raised {above} {raise} for {at_least} windows, cleared {below} {clear}");
        let logic = Watch::new(name, when, self.flow().job().metrics.alarms.clone());
        let group = |s: &Scored<Window<K, A>>| KeyGroup::of(s.of.key.stable_hash());
        let (alarms, _) = self.stateful(name, about, "", group, logic)?;
        Ok(alarms)
    }
}

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Watched {
    above: u32,
    since: EventTime,
    raised: bool,
    start: EventTime,
    end: EventTime,
    score: f64,
}

impl Row for Watched {
    /// Versions 1 and 2 had scores of 32 bits; 1 is a map in postcard's format.
    const VERSION: u32 = 3;

    fn restore(version: u32, bytes: &[u8]) -> Result<Self, String> {
        if version == 2 {
            let before: Before = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
            return Ok(before.into());
        }
        restore_known(Self::VERSION, version, bytes)
    }

    fn restore_group<K: Key>(version: u32, bytes: &[u8]) -> Result<Option<Vec<(K, Self)>>, String> {
        if version != 1 {
            return Ok(None);
        }
        let map: Vec<(K, Before)> =
            postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
        Ok(Some(map.into_iter().map(|(key, before)| (key, before.into())).collect()))
    }
}

/// What was remembered of a key before version 3.
#[derive(Deserialize)]
struct Before {
    above: u32,
    since: EventTime,
    raised: bool,
    start: EventTime,
    end: EventTime,
    score: f32,
}

impl From<Before> for Watched {
    fn from(before: Before) -> Self {
        let Before { above, since, raised, start, end, score } = before;
        Watched { above, since, raised, start, end, score: f64::from(score) }
    }
}

struct Watch<K, A> {
    name: String,
    when: Hysteresis,
    keys: KeyedState<K, Watched>,
    scores: Vec<Scored<Window<K, A>>>,
    alarms: IntCounterVec,
}

impl<K: Key, A: Clone + 'static> Stateful<Scored<Window<K, A>>> for Watch<K, A> {
    type Out = Alarm<K>;
    type Side = ();
    type State = Entries<K, Watched>;

    fn state(&mut self) -> &mut Groups<Entries<K, Watched>> {
        self.keys.groups()
    }

    fn resume(&mut self, watermark: EventTime) {
        self.keys.resume(watermark);
    }

    fn fold(&mut self, scores: &mut Vec<Scored<Window<K, A>>>, _: &mut Emit<()>) {
        self.scores.append(scores);
    }

    fn close(&mut self, bound: &Bound, out: &mut Emit<Alarm<K>>, _: &mut Emit<()>) {
        for Scored { of, score, .. } in std::mem::take(&mut self.scores) {
            self.see(of, score, out);
        }
        for (key, watched) in self.keys.expire(bound.watermark) {
            if watched.raised {
                self.tell(key, AlarmState::Expired, watched, out);
            }
        }
    }
}

impl<K: Key, A> Watch<K, A> {
    fn new(name: &str, when: Hysteresis, alarms: IntCounterVec) -> Self {
        let keys = KeyedState::expiring(when.forget_after, |watched: &Watched| watched.end);
        Watch { name: name.to_string(), when, keys, scores: Vec::new(), alarms }
    }

    fn see(&mut self, of: Window<K, A>, score: f64, out: &mut Emit<Alarm<K>>) {
        let (when, Window { key, start, end, .. }) = (self.when, of);
        let graded = when.graded(score);
        let (high, before) = (graded > when.raise_above, self.keys.get(&key).copied());
        if !high && before.is_none() {
            return; // a healthy key costs nothing
        }
        let fresh = Watched { above: 0, since: start, raised: false, start, end, score };
        let mut watched = Watched { start, end, score, ..before.unwrap_or(fresh) };
        let was_raised = watched.raised;
        if high {
            if watched.above == 0 && !was_raised {
                watched.since = start;
            }
            watched.above = watched.above.saturating_add(1);
            watched.raised |= watched.above >= when.at_least;
        } else {
            watched.above = 0;
            let low = graded < when.clear_below;
            watched.raised &= !low;
        }
        if high || watched.raised {
            self.keys.insert(key.clone(), watched);
        } else {
            self.keys.remove(&key);
        }
        match (was_raised, watched.raised) {
            (false, true) => self.tell(key, AlarmState::Raised, watched, out),
            (true, false) => self.tell(key, AlarmState::Cleared, watched, out),
            _ => {}
        }
    }

    fn tell(&self, key: K, state: AlarmState, of: Watched, out: &mut Emit<Alarm<K>>) {
        self.alarms.with_label_values(&[self.name.as_str(), state.as_str()]).inc();
        let Watched { start, end, score, since, .. } = of;
        out.push(Alarm { key, alarm: self.name.clone(), state, start, end, score, since });
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::{GroupState, Metrics};

    use super::*;

    fn run(when: Hysteresis, scores: &[(i64, f64)]) -> Vec<(AlarmState, i64, i64)> {
        let mut watch = Watch::new("test", when, Metrics::default().alarms);
        let mut out = Emit::default();
        for (minute, score) in scores {
            let (start, end) = (EventTime(minute * 60_000), EventTime((minute + 1) * 60_000));
            if *score >= 0.0 {
                let of = Window { key: 7u64, start, end, value: () };
                let scored = Scored {
                    of,
                    score: *score,
                    others: vec![],
                    model: Default::default(),
                    fallback: false,
                };
                watch.fold(&mut vec![scored], &mut Emit::default());
            }
            let bound = Bound { epoch: 1, watermark: end, wall_ms: 0, snapshot: false };
            watch.close(&bound, &mut out, &mut Emit::default());
        }
        out.take().iter().map(|a| (a.state, a.start.0 / 60_000, a.since.0 / 60_000)).collect()
    }

    const WHEN: Hysteresis = Hysteresis {
        raise_above: 0.9,
        clear_below: 0.6,
        at_least: 2,
        forget_after: minutes(10),
        falling: false,
    };

    #[test]
    fn one_high_score_raises_nothing() {
        assert_eq!(run(WHEN, &[(0, 0.95), (1, 0.1), (2, 0.95), (3, 0.7)]), []);
    }

    #[test]
    fn raised_once_and_cleared_below_the_lower_threshold_only() {
        let scores = [(0, 0.1), (1, 0.95), (2, 0.95), (3, 0.95), (4, 0.7), (5, 0.95), (6, 0.5)];
        let expected = [(AlarmState::Raised, 2, 1), (AlarmState::Cleared, 6, 1)];
        assert_eq!(run(WHEN, &scores), expected);
    }

    #[test]
    fn where_less_is_worse_it_is_the_other_way_round() {
        let when = Hysteresis::raise_below(0.5).clear_above(0.75).for_at_least(2);
        let scores = [(0, 0.5), (1, 0.25), (2, 0.25), (3, 0.5), (4, 0.75), (5, 1.0)];
        let expected = [(AlarmState::Raised, 2, 1), (AlarmState::Cleared, 5, 1)];
        assert_eq!(run(when, &scores), expected);
    }

    #[test]
    fn a_silent_key_expires() {
        let scores = [(0, 0.95), (1, 0.95), (30, -1.0)];
        let expected = [(AlarmState::Raised, 1, 0), (AlarmState::Expired, 1, 0)];
        assert_eq!(run(WHEN, &scores), expected);
    }

    fn stored(raised: bool) -> Watched {
        let (start, end) = (EventTime(60_000), EventTime(120_000));
        Watched { above: 2, since: EventTime(0), raised, start, end, score: 0.75 }
    }

    /// Of the fields above.
    const RAISED: &[u8] = &[2, 0, 1, 0xc0, 0xa9, 7, 0x80, 0xd3, 0x0e, 0, 0, 0, 0, 0, 0, 0xe8, 0x3f];
    /// The same before version 3.
    const BEFORE: &[u8] = &[2, 0, 1, 0xc0, 0xa9, 7, 0x80, 0xd3, 0x0e, 0, 0, 0x40, 0x3f];

    #[test]
    fn golden_a_watched_key_has_this_form_in_snapshots() {
        let mut watch = Watch::<u64, ()>::new("test", WHEN, Metrics::default().alarms);
        watch.keys.insert(7, stored(true));
        let segment = watch.state().snapshot_some(1_000).expect("it is small");
        let group = KeyGroup::of(7u64.stable_hash());
        let expected = [&[7, 17, 0, 0, 0], RAISED].concat();
        assert_eq!(segment.of(group), Some(&expected[..]));
        assert_eq!(<Entries<u64, Watched> as GroupState>::VERSION, 3);
    }

    #[test]
    fn golden_keys_watched_by_earlier_versions_are_migrated() {
        let group = KeyGroup::of(7u64.stable_hash());
        let entry = [&[7, 13, 0, 0, 0], BEFORE].concat();
        for (version, bytes) in [(1, [&[1, 7], BEFORE].concat()), (2, entry)] {
            let mut watch = Watch::<u64, ()>::new("test", WHEN, Metrics::default().alarms);
            watch.state().restore(group, version, &bytes).expect("an earlier version");
            assert_eq!(watch.keys.get(&7), Some(&stored(true)));
        }
        let mut watch = Watch::<u64, ()>::new("test", WHEN, Metrics::default().alarms);
        let entry = [&[7, 17, 0, 0, 0], RAISED].concat();
        let told = watch.state().restore(group, 4, &entry).unwrap_err();
        assert_eq!(told, "expected version 3 of its form, found 4");
    }
}
