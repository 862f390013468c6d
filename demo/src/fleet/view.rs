//! The live view: what happened in the last second.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tideflow::core::Metrics;

use super::results::Found;
use super::sender::Progress;
use crate::screen::{Screen, grouped};

/// What is looked at, and what it was a second ago.
pub struct View {
    metrics: Arc<Metrics>,
    progress: Arc<Progress>,
    partitions: usize,
    start_ms: i64,
    begun: Instant,
    last: Totals,
}

struct Totals {
    at: Instant,
    readings: u64,
    windows: u64,
    inferences: u64,
}

/// One look.
struct Figures {
    seconds: u64,
    simulated_ms: i64,
    sent: u64,
    readings_per_s: u64,
    windows_per_s: u64,
    inferences_per_s: u64,
    /// Milliseconds, once there is a result.
    p50_p99: Option<(f64, f64)>,
    lag: u64,
    /// Seconds of event time, once there is a watermark.
    watermark_delay_s: Option<f64>,
    alarms: usize,
}

/// The name of the graph's source.
const SOURCE: &str = "readings";

impl View {
    /// Begins to count.
    pub fn new(
        metrics: Arc<Metrics>,
        progress: Arc<Progress>,
        partitions: usize,
        start_ms: i64,
    ) -> View {
        let begun = Instant::now();
        let last = Totals::of(&metrics, begun);
        View { metrics, progress, partitions, start_ms, begun, last }
    }

    /// Shows what has happened since the last time.
    pub fn show(&mut self, found: &Found, screen: &mut Screen) {
        let now = Totals::of(&self.metrics, Instant::now());
        let seconds = now.at.duration_since(self.last.at).as_secs_f64().max(1e-3);
        let rate = |now: u64, last: u64| ((now - last) as f64 / seconds).round() as u64;
        let simulated_ms = self.progress.simulated_ms.load(Ordering::Acquire);
        let watermark_s = self.metrics.watermark.get().unwrap_or_default();
        let latency = &found.latency;
        let figures = Figures {
            seconds: self.begun.elapsed().as_secs(),
            simulated_ms: (simulated_ms - self.start_ms).max(0),
            sent: self.progress.sent.load(Ordering::Acquire),
            readings_per_s: rate(now.readings, self.last.readings),
            windows_per_s: rate(now.windows, self.last.windows),
            inferences_per_s: rate(now.inferences, self.last.inferences),
            p50_p99: (!latency.is_empty())
                .then(|| (milliseconds(latency, 50.0), milliseconds(latency, 99.0))),
            lag: self.lag(),
            watermark_delay_s: (watermark_s > 0.0)
                .then_some(simulated_ms as f64 / 1e3 - watermark_s),
            alarms: found.raised.len(),
        };
        self.last = now;
        screen.show(&figures.block(), &figures.line());
    }

    fn lag(&self) -> u64 {
        let lag = &self.metrics.consumer_lag;
        let partitions = 0..self.partitions;
        let of = |partition: usize| lag.with_label_values(&[SOURCE, &partition.to_string()]).get();
        partitions.map(of).sum::<f64>() as u64
    }
}

impl Totals {
    fn of(metrics: &Metrics, at: Instant) -> Totals {
        Totals {
            at,
            readings: Metrics::total(&metrics.readings),
            windows: Metrics::total(&metrics.windows),
            inferences: Metrics::total(&metrics.inference_rows),
        }
    }
}

/// A percentile of microseconds, in milliseconds.
pub fn milliseconds(latency: &hdrhistogram::Histogram<u64>, percentile: f64) -> f64 {
    latency.value_at_percentile(percentile) as f64 / 1e3
}

impl Figures {
    fn latency(&self) -> String {
        match self.p50_p99 {
            None => "p50 -  p99 -".to_string(),
            Some((p50, p99)) => format!("p50 {p50:.0} ms  p99 {p99:.0} ms"),
        }
    }

    fn watermark(&self) -> String {
        match self.watermark_delay_s {
            None => "-".to_string(),
            Some(seconds) => format!("{seconds:.1} s behind"),
        }
    }

    fn line(&self) -> String {
        format!(
            "{:>4} s  {} readings/s  {} windows/s  {} inferences/s  {}  lag {}  watermark {}  alarms {}",
            self.seconds,
            grouped(self.readings_per_s),
            grouped(self.windows_per_s),
            grouped(self.inferences_per_s),
            self.latency(),
            grouped(self.lag),
            self.watermark(),
            self.alarms,
        )
    }

    fn block(&self) -> Vec<String> {
        let minutes = self.simulated_ms as f64 / 60_000.0;
        vec![
            format!("  clock         {} s, {minutes:.1} min of event time", self.seconds),
            format!(
                "  readings      {:>8} /s   {} sent",
                grouped(self.readings_per_s),
                grouped(self.sent)
            ),
            format!("  windows       {:>8} /s", grouped(self.windows_per_s)),
            format!("  inferences    {:>8} /s", grouped(self.inferences_per_s)),
            format!("  end to end    {}", self.latency()),
            format!("  consumer lag  {} readings", grouped(self.lag)),
            format!("  watermark     {}, event time", self.watermark()),
            format!("  alarms        {}", self.alarms),
        ]
    }
}
