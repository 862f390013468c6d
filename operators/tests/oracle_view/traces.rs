//! What a view keeps: what its tables hold, and not how they came to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tideflow_core::differential_dataflow::logging::{DifferentialEvent, DifferentialEventBuilder};
use tideflow_core::prometheus::GaugeVec;
use tideflow_core::{EpochSettings, Flow, Job, LogOnly, RecentBindings, execute, timely};
use tideflow_sinks::VecSink;

use crate::graph;
use crate::history::{History, Reading, registry};

/// How many updates the traces of a run hold, now and at most, and how many were added.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    now: isize,
    most: isize,
    added: isize,
}

impl Held {
    fn hear(&mut self, event: &DifferentialEvent) {
        match event {
            DifferentialEvent::Batch(batch) => {
                self.now += batch.length as isize;
                self.added += batch.length as isize;
            }
            DifferentialEvent::Merge(merge) => {
                let Some(merged) = merge.complete else { return };
                self.now += merged as isize - (merge.length1 + merge.length2) as isize;
            }
            DifferentialEvent::Drop(batch) => self.now -= batch.length as isize,
            _ => {}
        }
        self.most = self.most.max(self.now);
    }
}

const DEVICES: u64 = 20;

/// Devices that move, go and come back in every epoch, and report in between.
fn restless(steps: u64) -> History {
    let said = |n: u64| (n % DEVICES, (!n.is_multiple_of(7)).then_some((n % 5, n % 3)), 99);
    let reading = |n: u64| Reading {
        ts: 1_000 + n as i64,
        device: n * 7 % DEVICES,
        value: (n * 31 % 100) as i64,
    };
    let readings = vec![(0..steps).map(reading).collect()];
    History { registry: registry((0..steps).map(said), 1), readings, bound_ms: 0 }
}

/// What the traces of a run over so many steps held, and of how many epochs.
fn held(steps: u64) -> (Held, usize) {
    let held = Arc::<Mutex<Held>>::default();
    let hears = held.clone();
    let (history, log) = (restless(steps), RecentBindings::new(usize::MAX));
    // A cut after every record.
    let interval = Duration::from_millis(20);
    let epochs = EpochSettings { interval, inflight_max: 3, bytes_max: 1, ..Default::default() };
    let graph = move |flow: &Flow<'_>| {
        let hears = hears.clone();
        let mut loggers = flow.scope().worker().log_register().expect("a worker has a register");
        loggers.insert::<DifferentialEventBuilder, _>("differential/arrange", move |_, events| {
            let mut held = hears.lock().expect("nobody panics with it");
            events.iter().flatten().for_each(|(_, event)| held.hear(event));
        });
        drop(loggers);
        graph(flow, &history, 1, &(VecSink::new(), VecSink::new()))
    };
    let job = Job { epochs, ..Job::default() };
    let config = timely::Config::process(1);
    execute(config, &job, LogOnly::new(log.clone()), |_| (), graph).expect("the graph runs");
    // Every device has a last reading, as the page of metrics says.
    let shown = |of: &GaugeVec| of.with_label_values(&["states", "0"]).get();
    assert_eq!(shown(&job.metrics.state_keys), DEVICES as f64);
    assert!(shown(&job.metrics.state_bytes) > (DEVICES as usize * size_of::<Reading>()) as f64);
    (*held.lock().expect("nobody panics with it"), log.kept().len())
}

#[test]
fn what_a_view_keeps_does_not_grow_with_the_number_of_epochs() {
    let (short, few) = held(500);
    let (long, many) = held(5_000);
    println!("{few} epochs: {short:?}, {many} epochs: {long:?}");
    assert!(many >= 5 * few && few >= 100, "{few} and {many} epochs");
    assert!(long.added > 5 * short.added, "{short:?}, {long:?}");
    // What devices hold, and what waits to be merged.
    assert!(short.most > 0 && long.most < 2 * short.most, "{short:?}, {long:?}");
}
