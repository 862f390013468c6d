//! What a page of metrics shows of a model's versions.

use std::collections::VecDeque;

use tideflow_core::prometheus::GaugeVec;
use tideflow_models::VersionId;

/// Versions with series at a time, for each worker: the one that scores, and the one before.
const VERSIONS_MAX: usize = 2;

/// The series of one operator: those of the versions of which a worker was told last.
pub(super) struct Shown {
    gauges: GaugeVec,
    operator: String,
    versions: VecDeque<Version>,
}

struct Version {
    model: String,
    version: String,
    figures: Vec<String>,
}

impl Shown {
    /// `gauges` has the labels operator, model and version, and one for the figure.
    pub fn new(gauges: GaugeVec, operator: &str) -> Self {
        Shown { gauges, operator: operator.to_string(), versions: VecDeque::new() }
    }

    /// Shows figures of a version. What is not among them stays as it was.
    pub fn show<'a>(&mut self, id: &VersionId, figures: impl Iterator<Item = (&'a str, f64)>) {
        let known = |shown: &Version| shown.model == id.name && shown.version == id.version;
        let mut shown = match self.versions.iter().position(known) {
            Some(at) => self.versions.remove(at).expect("just found"),
            None => {
                let (model, version) = (id.name.clone(), id.version.clone());
                Version { model, version, figures: Vec::new() }
            }
        };
        for (figure, value) in figures {
            let labels = [self.operator.as_str(), &shown.model, &shown.version, figure];
            self.gauges.with_label_values(&labels).set(value);
            if !shown.figures.iter().any(|known| known == figure) {
                shown.figures.push(figure.to_string());
            }
        }
        self.versions.push_back(shown);
        if self.versions.len() > VERSIONS_MAX
            && let Some(Version { model, version, figures }) = self.versions.pop_front()
        {
            for figure in figures {
                // There is none where another worker has taken it away.
                let labels = [self.operator.as_str(), &model, &version, &figure];
                let _ = self.gauges.remove_label_values(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tideflow_core::Metrics;

    use super::*;

    #[test]
    fn series_are_those_of_two_versions_at_most() {
        let metrics = Metrics::default();
        let mut shown = Shown::new(metrics.model_psi.clone(), "drift");
        for version in ["1", "2", "1", "3"] {
            let id =
                VersionId { name: "m".into(), version: version.into(), ..VersionId::default() };
            shown.show(&id, [("a", 0.5), ("b", 0.25)].into_iter());
        }
        let text = metrics.text();
        let series = |version: &str| text.matches(&format!("version=\"{version}\"")).count();
        assert_eq!(["1", "2", "3"].map(series), [2, 0, 2]);
        let one =
            "tideflow_model_psi{feature=\"b\",model=\"m\",operator=\"drift\",version=\"3\"} 0.25";
        assert!(text.contains(one), "{text}");
    }
}
