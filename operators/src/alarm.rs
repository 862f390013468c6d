//! Alarms with hysteresis on scored windows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tideflow_core::prometheus::IntCounterVec;
use tideflow_core::timely::ExchangeData;
use tideflow_core::{
    Bound, BuildError, Emit, EventTime, Key, KeyGroup, Route, Stateful, Stream, minutes,
};

use crate::{Scored, Window};

/// When an alarm is raised, and when it is cleared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hysteresis {
    raise_above: f32,
    clear_below: f32,
    at_least: u32,
    forget_after: Duration,
}

impl Hysteresis {
    /// Raises when a score lies above this; clears below half of it unless told otherwise.
    pub fn raise_above(score: f32) -> Self {
        let (at_least, forget_after) = (1, minutes(24 * 60));
        Hysteresis { raise_above: score, clear_below: score / 2.0, at_least, forget_after }
    }

    /// Clears when a score lies below this: at most the score that raises.
    #[must_use]
    pub fn clear_below(self, score: f32) -> Self {
        Hysteresis { clear_below: score, ..self }
    }

    /// Raises only after this many windows of the key, one after the other, lay above.
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
    pub score: f32,
    /// The start of the first window of the run above the threshold.
    pub since: EventTime,
}

/// Raises alarms on scored windows.
pub trait Alarms<'s, K: 'static> {
    /// Yields a record when a key's alarm is raised, cleared or expires, and none in between.
    ///
    /// State: about 60 bytes for each key whose last score lay above the threshold or whose alarm is
    /// raised; none for healthy keys. A key not seen for `forget_after` is forgotten. Assumes that a
    /// key's windows come in order of time, as a window operator yields them. Fails: never.
    ///
    /// # Errors
    /// When the name is taken, or it would clear above where it raises.
    fn alarm(self, name: &str, when: Hysteresis) -> Result<Stream<'s, Alarm<K>>, BuildError>;
}

impl<'s, K: Key, A: ExchangeData + Clone> Alarms<'s, K> for Stream<'s, Scored<Window<K, A>>> {
    fn alarm(self, name: &str, when: Hysteresis) -> Result<Stream<'s, Alarm<K>>, BuildError> {
        if when.clear_below > when.raise_above {
            let (raise, clear) = (when.raise_above, when.clear_below);
            let what = format!("`clear_below` {clear} lies above `raise_above` {raise}");
            return Err(BuildError::invalid(name, what));
        }
        let about = format!(
            "raised above {} for {} windows, cleared below {}",
            when.raise_above, when.at_least, when.clear_below
        );
        let logic = Watch {
            name: name.to_string(),
            when,
            keys: BTreeMap::new(),
            next_sweep: EventTime::MIN,
            scores: Vec::new(),
            alarms: self.flow().job().metrics.alarms.clone(),
        };
        let by_group = |s: &Scored<Window<K, A>>| u64::from(KeyGroup::of(s.of.key.stable_hash()).0);
        let (alarms, _) = self.stateful(name, about, "", Route::By(Box::new(by_group)), logic)?;
        Ok(alarms)
    }
}

/// One key with something to remember.
struct Watched {
    above: u32,
    since: EventTime,
    raised: bool,
    start: EventTime,
    end: EventTime,
    score: f32,
}

struct Watch<K, A> {
    name: String,
    when: Hysteresis,
    keys: BTreeMap<K, Watched>,
    next_sweep: EventTime,
    scores: Vec<Scored<Window<K, A>>>,
    alarms: IntCounterVec,
}

impl<K: Key, A: Clone + 'static> Stateful<Scored<Window<K, A>>> for Watch<K, A> {
    type Out = Alarm<K>;
    type Aside = ();

    fn fold(&mut self, scores: &mut Vec<Scored<Window<K, A>>>, _: &mut Emit<()>) {
        self.scores.append(scores);
    }

    fn close(&mut self, bound: &Bound, out: &mut Emit<Alarm<K>>, _: &mut Emit<()>) {
        for scored in std::mem::take(&mut self.scores) {
            if let Some(alarm) = self.see(scored) {
                self.tell(alarm, out);
            }
        }
        if bound.watermark >= self.next_sweep && bound.watermark < EventTime::MAX {
            self.forget(bound.watermark, out);
            self.next_sweep = bound.watermark.plus(self.when.forget_after / 64);
        }
    }
}

impl<K: Key, A> Watch<K, A> {
    fn see(&mut self, scored: Scored<Window<K, A>>) -> Option<Alarm<K>> {
        let Scored { of: Window { key, start, end, .. }, score, .. } = scored;
        let when = self.when;
        if score <= when.raise_above && !self.keys.contains_key(&key) {
            return None; // a healthy key costs nothing
        }
        let fresh = Watched { above: 0, since: start, raised: false, start, end, score };
        let watched = self.keys.entry(key.clone()).or_insert(fresh);
        (watched.start, watched.end, watched.score) = (start, end, score);
        if score > when.raise_above {
            watched.since =
                if watched.above == 0 && !watched.raised { start } else { watched.since };
            watched.above = watched.above.saturating_add(1);
            if !watched.raised && watched.above >= when.at_least {
                watched.raised = true;
                return Some(self.alarm(&key, AlarmState::Raised));
            }
        } else {
            watched.above = 0;
            let cleared = watched.raised && score < when.clear_below;
            if cleared || !watched.raised {
                let alarm = cleared.then(|| self.alarm(&key, AlarmState::Cleared));
                self.keys.remove(&key);
                return alarm;
            }
        }
        None
    }

    fn alarm(&self, key: &K, state: AlarmState) -> Alarm<K> {
        let Watched { start, end, score, since, .. } = self.keys[key];
        Alarm { key: key.clone(), alarm: self.name.clone(), state, start, end, score, since }
    }

    fn tell(&self, alarm: Alarm<K>, out: &mut Emit<Alarm<K>>) {
        self.alarms.with_label_values(&[self.name.as_str(), alarm.state.as_str()]).inc();
        out.push(alarm);
    }

    fn forget(&mut self, watermark: EventTime, out: &mut Emit<Alarm<K>>) {
        let limit = watermark.minus(self.when.forget_after);
        let silent = |(_, w): &(&K, &Watched)| w.end < limit;
        let silent: Vec<K> = self.keys.iter().filter(silent).map(|(k, _)| k.clone()).collect();
        for key in silent {
            let alarm = self.keys[&key].raised.then(|| self.alarm(&key, AlarmState::Expired));
            self.keys.remove(&key);
            alarm.into_iter().for_each(|a| self.tell(a, out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tideflow_core::Metrics;

    fn run(when: Hysteresis, scores: &[(i64, f32)]) -> Vec<(AlarmState, i64, i64)> {
        let mut watch = Watch {
            name: "test".to_string(),
            when,
            keys: BTreeMap::new(),
            next_sweep: EventTime::MIN,
            scores: Vec::new(),
            alarms: Metrics::default().alarms,
        };
        let mut out = Emit::default();
        for (minute, score) in scores {
            let (start, end) = (EventTime(minute * 60_000), EventTime((minute + 1) * 60_000));
            if *score >= 0.0 {
                let of = Window { key: 7u64, start, end, value: () };
                let scored = Scored { of, score: *score, model: Default::default() };
                watch.fold(&mut vec![scored], &mut Emit::default());
            }
            let bound = Bound { epoch: 1, watermark: end, wall_ms: 0 };
            watch.close(&bound, &mut out, &mut Emit::default());
        }
        out.take().iter().map(|a| (a.state, a.start.0 / 60_000, a.since.0 / 60_000)).collect()
    }

    const WHEN: Hysteresis =
        Hysteresis { raise_above: 0.9, clear_below: 0.6, at_least: 2, forget_after: minutes(10) };

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
    fn a_silent_key_expires() {
        let scores = [(0, 0.95), (1, 0.95), (30, -1.0)];
        let expected = [(AlarmState::Raised, 1, 0), (AlarmState::Expired, 1, 0)];
        assert_eq!(run(WHEN, &scores), expected);
    }
}
