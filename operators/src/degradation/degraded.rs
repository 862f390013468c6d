//! Alarms of a model's versions.

use serde::{Deserialize, Serialize};
use tideflow_core::{BuildError, EventTime, Key, Stream};
use tideflow_models::VersionId;

use super::{Drift, Quality};
use crate::{Alarm, Alarms, Hysteresis, Map, Scored, Window};

/// What an alarm of a model is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Aspect {
    /// The version.
    pub model: VersionId,
    /// A feature, an output, or a figure.
    pub what: String,
}

impl Key for Aspect {
    fn stable_hash(&self) -> u64 {
        format!("{} {}", self.model, self.what).stable_hash()
    }

    fn heap_bytes(&self) -> usize {
        self.model.heap_bytes() + self.what.capacity()
    }
}

/// What was found of a version and a window: numbers by their names.
///
/// ```
/// use tideflow_core::EventTime;
/// use tideflow_models::VersionId;
/// use tideflow_operators::{Watched, Window};
/// /// How long a version took, in milliseconds.
/// struct Took { model: VersionId, start: EventTime, end: EventTime, mean: f64 }
/// impl Watched for Took {
///     fn window(&self) -> Window<VersionId, ()> {
///         Window { key: self.model.clone(), start: self.start, end: self.end, value: () }
///     }
///     fn figures(&self) -> Vec<(&str, f64)> { vec![("mean", self.mean)] }
/// }
/// ```
pub trait Watched {
    /// The version and the window.
    fn window(&self) -> Window<VersionId, ()>;
    /// The numbers.
    fn figures(&self) -> Vec<(&str, f64)>;
}

impl Watched for Drift {
    fn window(&self) -> Window<VersionId, ()> {
        window(&self.model, self.start, self.end)
    }

    fn figures(&self) -> Vec<(&str, f64)> {
        self.psi.iter().map(|(name, psi)| (name.as_str(), *psi)).collect()
    }
}

impl Watched for Quality {
    fn window(&self) -> Window<VersionId, ()> {
        window(&self.model, self.start, self.end)
    }

    fn figures(&self) -> Vec<(&str, f64)> {
        self.figures().collect()
    }
}

fn window(model: &VersionId, start: EventTime, end: EventTime) -> Window<VersionId, ()> {
    Window { key: model.clone(), start, end, value: () }
}

/// Raises alarms on models.
pub trait Degraded<'s> {
    /// Yields a record when the alarm of one of a version's numbers is raised, cleared or expires: of those whose
    /// name is `watched`. A window without a number counts neither for nor against. The alarms of a version that
    /// scores no more expire.
    ///
    /// State and the rest: as [`Alarms::alarm`], with a version's numbers as keys.
    ///
    /// # Errors
    /// When the name is taken, a threshold is no number, or it would clear above where it raises.
    fn degraded(
        self,
        name: &str,
        watched: impl Fn(&str) -> bool + 'static,
        when: Hysteresis,
    ) -> Result<Stream<'s, Alarm<Aspect>>, BuildError>;
}

impl<'s, W: Watched + Clone + 'static> Degraded<'s> for Stream<'s, W> {
    fn degraded(
        self,
        name: &str,
        watched: impl Fn(&str) -> bool + 'static,
        when: Hysteresis,
    ) -> Result<Stream<'s, Alarm<Aspect>>, BuildError> {
        let figures = self.flat_map(&format!("{name} figures"), move |found: W| {
            let Window { key: model, start, end, .. } = found.window();
            let figures = found.figures().into_iter().filter(|(name, _)| watched(name));
            let scored = figures.map(|(name, score)| {
                let key = Aspect { model: model.clone(), what: name.to_string() };
                let of = Window { key, start, end, value: () };
                Scored { of, score, others: Vec::new(), model: Default::default(), fallback: false }
            });
            scored.collect::<Vec<_>>()
        })?;
        figures.alarm(name, when)
    }
}
