//! The figures a process shows, by their Prometheus names. One [`Metrics`] a process.

use std::sync::OnceLock;

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    TextEncoder,
};

const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
const DIFFERENCES: &[f64] = &[0.0, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];
const ROWS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Every metric of a process. Fetch a series once (`with_label_values`), then count in batches.
///
/// ```
/// let metrics = tideflow_core::Metrics::default();
/// metrics.readings.with_label_values(&["readings"]).inc_by(3);
/// assert!(metrics.text().contains("tideflow_readings_total{source=\"readings\"} 3"));
/// ```
pub struct Metrics {
    registry: Registry,
    /// `tideflow_readings_total{source}`: records taken from a source, rejected ones included.
    pub readings: IntCounterVec,
    /// `tideflow_rejected_total{operator,reason}`: records sent to dead letters.
    pub rejected: IntCounterVec,
    /// `tideflow_late_total{operator}`: records that came after their window had closed.
    pub late: IntCounterVec,
    /// `tideflow_windows_total{operator}`: windows closed.
    pub windows: IntCounterVec,
    /// `tideflow_windowed_total{operator}`: records taken into a window.
    pub windowed: IntCounterVec,
    /// `tideflow_alarms_total{operator,state}`: alarms raised, cleared, expired.
    pub alarms: IntCounterVec,
    /// `tideflow_state_keys{operator,worker}`: entries that an operator keeps on a worker: keys, and of
    /// windows each key once for each that is open. This and the next are looked at every 64 epochs.
    pub state_keys: GaugeVec,
    /// `tideflow_state_bytes{operator,worker}`: about how many bytes of memory they take: reserved room
    /// counts, what the allocator adds does not.
    pub state_bytes: GaugeVec,
    /// `tideflow_inference_rows_total{operator}`: rows scored.
    pub inference_rows: IntCounterVec,
    /// `tideflow_inference_batch_rows{operator}`: rows a batch held before padding.
    pub inference_batch: HistogramVec,
    /// `tideflow_inference_seconds{operator}`: time of one batch in the model.
    pub inference_seconds: HistogramVec,
    /// `tideflow_inference_failures_total{operator}`: batches that the model failed on twice, or took too long for.
    pub inference_failures: IntCounterVec,
    /// `tideflow_inference_fallbacks_total{operator}`: rows that got the score for when the model fails.
    pub inference_fallbacks: IntCounterVec,
    /// `tideflow_candidate_difference{operator}`: how far a candidate's score lies from the champion's.
    pub candidate_difference: HistogramVec,
    /// `tideflow_candidate_unscored_total{operator}`: rows that a candidate had no score for.
    pub candidate_unscored: IntCounterVec,
    /// `tideflow_model_failures_total{operator}`: tries to find out or open the version of a model that should
    /// score, which did not work: the one before goes on.
    pub model_failures: IntCounterVec,
    /// `tideflow_model_version{operator,model,version,digest}`: 1 for the version that scores on a worker's
    /// process, 0 for those that did.
    pub model_version: GaugeVec,
    /// `tideflow_model_psi{operator,model,version,feature}`: the population stability index of a feature or an
    /// output in the last window that had enough rows: of the last two versions that a worker compared.
    pub model_psi: GaugeVec,
    /// `tideflow_model_quality{operator,model,version,figure}`: how good scores were by their labels, in the last
    /// time that had enough of them: of the last two versions that a worker judged.
    pub model_quality: GaugeVec,
    /// `tideflow_sink_records_total{sink}`: records published.
    pub sink_records: IntCounterVec,
    /// `tideflow_sink_seconds{sink}`: from an epoch's hand-over to its publication.
    pub sink_seconds: HistogramVec,
    /// `tideflow_generation`: the number of this start of the job, of one that keeps state.
    pub generation: Known,
    /// `tideflow_epoch`: the newest epoch bound. This and the next four are known to the process of
    /// worker 0; others do not show them.
    pub epoch: Known,
    /// `tideflow_epoch_lag`: epochs bound and not yet published everywhere.
    pub epoch_lag: Known,
    /// `tideflow_snapshot_lag`: epochs bound since the last snapshot that counts, which a start replays, where
    /// snapshots are taken. One that grows beyond two snapshots' epochs says that the store is away.
    pub snapshot_lag: Known,
    /// `tideflow_watermark_seconds`: the graph's watermark, in seconds since 1970.
    pub watermark: Known,
    /// `tideflow_watermark_delay_seconds`: the wall clock less the watermark. Over history or simulated
    /// time it says how far in the past that is.
    pub watermark_delay: Known,
    /// `tideflow_consumer_lag{source,partition}`: records between position and the partition's end.
    pub consumer_lag: GaugeVec,
    /// `tideflow_worker_busy_ratio{worker}`: share of a core used since the last scrape, at least a
    /// second before.
    pub worker_busy: GaugeVec,
}

/// A gauge that is shown from when it is known on: what a process does not know is not 0.
pub struct Known {
    series: GaugeVec,
    gauge: OnceLock<Gauge>,
}

impl Known {
    /// It is known, and this.
    pub fn set(&self, value: f64) {
        let gauge = self.gauge.get_or_init(|| self.series.with_label_values::<&str>(&[]));
        gauge.set(value);
    }

    /// What it is, once it is known.
    pub fn get(&self) -> Option<f64> {
        self.gauge.get().map(Gauge::get)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let r = &registry;
        Metrics {
            readings: counts(r, "readings_total", "Records taken from a source.", &["source"]),
            rejected: counts(
                r,
                "rejected_total",
                "Records sent to dead letters.",
                &["operator", "reason"],
            ),
            late: counts(
                r,
                "late_total",
                "Records that came after their window had closed.",
                &["operator"],
            ),
            windows: counts(r, "windows_total", "Windows closed.", &["operator"]),
            windowed: counts(r, "windowed_total", "Records taken into a window.", &["operator"]),
            alarms: counts(
                r,
                "alarms_total",
                "Alarms raised, cleared or expired.",
                &["operator", "state"],
            ),
            state_keys: levels(
                r,
                "state_keys",
                "Entries that an operator keeps.",
                &["operator", "worker"],
            ),
            state_bytes: levels(
                r,
                "state_bytes",
                "Bytes of memory that an operator's state takes.",
                &["operator", "worker"],
            ),
            inference_rows: counts(r, "inference_rows_total", "Rows scored.", &["operator"]),
            inference_batch: spread(
                r,
                "inference_batch_rows",
                "Rows a batch held before padding.",
                "operator",
                ROWS,
            ),
            inference_seconds: spread(
                r,
                "inference_seconds",
                "Time of one batch in the model.",
                "operator",
                SECONDS,
            ),
            inference_failures: counts(
                r,
                "inference_failures_total",
                "Batches that the model failed on twice, or took too long for.",
                &["operator"],
            ),
            inference_fallbacks: counts(
                r,
                "inference_fallbacks_total",
                "Rows that got the score for when the model fails.",
                &["operator"],
            ),
            candidate_difference: spread(
                r,
                "candidate_difference",
                "How far a candidate's score lies from the champion's.",
                "operator",
                DIFFERENCES,
            ),
            candidate_unscored: counts(
                r,
                "candidate_unscored_total",
                "Rows that a candidate had no score for.",
                &["operator"],
            ),
            model_failures: counts(
                r,
                "model_failures_total",
                "Tries to find out or open a model's version that did not work.",
                &["operator"],
            ),
            model_version: levels(
                r,
                "model_version",
                "1 for the version of a model that scores, 0 for those that did.",
                &["operator", "model", "version", "digest"],
            ),
            model_psi: levels(
                r,
                "model_psi",
                "The population stability index of a feature or an output against the training.",
                &["operator", "model", "version", "feature"],
            ),
            model_quality: levels(
                r,
                "model_quality",
                "How good a model's scores were, by labels that came later.",
                &["operator", "model", "version", "figure"],
            ),
            sink_records: counts(r, "sink_records_total", "Records published.", &["sink"]),
            sink_seconds: spread(
                r,
                "sink_seconds",
                "From an epoch's hand-over to its publication.",
                "sink",
                SECONDS,
            ),
            generation: level(r, "generation", "The number of this start of the job."),
            epoch: level(r, "epoch", "The newest epoch bound."),
            epoch_lag: level(r, "epoch_lag", "Epochs bound and not yet published everywhere."),
            snapshot_lag: level(
                r,
                "snapshot_lag",
                "Epochs bound since the last snapshot that counts.",
            ),
            watermark: level(r, "watermark_seconds", "The watermark, in seconds since 1970."),
            watermark_delay: level(
                r,
                "watermark_delay_seconds",
                "The wall clock less the watermark.",
            ),
            consumer_lag: levels(
                r,
                "consumer_lag",
                "Records between the position and the partition's end.",
                &["source", "partition"],
            ),
            worker_busy: levels(
                r,
                "worker_busy_ratio",
                "Share of a core used since the last scrape.",
                &["worker"],
            ),
            registry,
        }
    }
}

impl Metrics {
    /// All series in the text format that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut bytes)
            .expect("writing to memory cannot fail");
        String::from_utf8(bytes).expect("the text format is UTF-8")
    }

    /// The sum of a counter over all its series.
    pub fn total(counts: &IntCounterVec) -> u64 {
        use prometheus::core::Collector;
        let families = counts.collect();
        let series = families.iter().flat_map(|f| f.get_metric());
        series.map(|m| m.get_counter().get_value() as u64).sum()
    }
}

const UNIQUE: &str = "names are unique and well formed";

fn register<M: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("tideflow")
}

fn counts(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(opts(name, help), labels).expect(UNIQUE))
}

fn levels(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(registry, GaugeVec::new(opts(name, help), labels).expect(UNIQUE))
}

fn level(registry: &Registry, name: &str, help: &str) -> Known {
    Known { series: levels(registry, name, help, &[]), gauge: OnceLock::new() }
}

fn spread(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    buckets: &[f64],
) -> HistogramVec {
    let opts = HistogramOpts::new(name, help).namespace("tideflow").buckets(buckets.to_vec());
    register(registry, HistogramVec::new(opts, &[label]).expect(UNIQUE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_shown_as_0() {
        let metrics = Metrics::default();
        assert!(!metrics.text().contains("tideflow_epoch"));
        assert_eq!(metrics.epoch.get(), None);
        metrics.epoch.set(3.0);
        assert!(metrics.text().contains("\ntideflow_epoch 3\n"));
        assert_eq!(metrics.epoch.get(), Some(3.0));
    }
}
