//! Views against a recomputation from scratch after every epoch: a registry whose devices move, go and
//! come back, and their readings, cut at random places, on one to four workers; the same when a run goes
//! on where another one was killed; and what a view keeps.

mod history;
#[path = "../shared/killed.rs"]
mod killed;
#[path = "../shared/memory.rs"]
mod memory;
mod recomputed;
mod resume;
#[path = "../shared/shape.rs"]
mod shape;
mod traces;

use std::time::Duration;

use proptest::prelude::*;
use tideflow_core::differential_dataflow::difference::Monoid;
use tideflow_core::differential_dataflow::operators::CountTotal;
use tideflow_core::{BuildError, Durability, EpochSettings, Flow, Job, Update, execute, timely};
use tideflow_operators::{Fixed, KeyBy, Latest, Upserts, View};
use tideflow_sinks::VecSink;
use tideflow_sources::VecSource;

use history::{History, Reading, histories};
use memory::Memory;
use recomputed::recompute;
use shape::Shape;

/// For how long a device's last reading stands.
const FORGET_MS: i64 = 640;

/// Of a site: its devices, those with a reading, and the sum of their last ones.
type Site = (isize, isize, Fixed);

/// What a run published, with the epoch of each: of sites, and the highest last reading of regions.
#[derive(Clone, Debug, Default, PartialEq)]
struct Published {
    sites: Vec<(u64, Update<u64, Site>)>,
    regions: Vec<(u64, Update<u64, i64>)>,
}

impl Published {
    /// What of it lies in these epochs.
    fn within(&self, epochs: impl Fn(u64) -> bool) -> Published {
        Published {
            sites: self.sites.iter().filter(|(e, _)| epochs(*e)).cloned().collect(),
            regions: self.regions.iter().filter(|(e, _)| epochs(*e)).cloned().collect(),
        }
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    shape::shapes(1..30, 200..6_000, 1..8)
}

/// Where a run's updates go.
type Sinks = (VecSink<Update<u64, Site>>, VecSink<Update<u64, i64>>);

/// Devices by site and by region.
fn graph(
    flow: &Flow<'_>,
    history: &History,
    chunk: usize,
    (sites_out, regions_out): &Sinks,
) -> Result<(), BuildError> {
    let (log, _) =
        flow.source("registry", VecSource::new(history.registry.clone()).chunk(chunk))?;
    let readings = VecSource::new(history.readings.clone())
        .out_of_orderness(Duration::from_millis(history.bound_ms))
        .chunk(chunk);
    let (readings, _) = flow.source("readings", readings)?;

    let view = View::new(flow);
    let places = view.collection(log.upserts("places")?);
    let keep = Latest::forget_after(Duration::from_millis(FORGET_MS as u64));
    let states = readings.key_by(|r: &Reading| &r.device).latest("states", keep)?;
    let states = view.collection(states);

    let devices = places.clone().explode(|(_, place)| [(place.site, (1, 0, Fixed::zero()))]);
    let placed = places.join(states);
    let reporting = placed
        .clone()
        .explode(|(_, (place, reading))| [(place.site, (0, 1, Fixed::from(reading.value as f64)))]);
    let sites = view.updates("sites", devices.concat(reporting).count_total())?;
    let highest = placed
        .map(|(_, (place, reading))| (place.region, reading.value))
        .reduce(|_, values, highest| highest.push((*values[values.len() - 1].0, 1)));
    let regions = view.updates("regions", highest)?;
    flow.sink("sites out", sites, sites_out.clone())?;
    flow.sink("regions out", regions, regions_out.clone())
}

fn run(history: &History, shape: Shape, durability: impl Durability) -> Published {
    let sinks = (VecSink::new(), VecSink::new());
    let interval = Duration::from_millis(20);
    let epochs = EpochSettings {
        interval,
        inflight_max: 3,
        bytes_max: shape.epoch_bytes,
        ..Default::default()
    };
    let job = Job { epochs, ..Job::default() };
    let (of, out) = (history.clone(), sinks.clone());
    let graph = move |flow: &Flow<'_>| graph(flow, &of, shape.chunk, &out);
    execute(timely::Config::process(shape.workers), &job, durability, |_| (), graph)
        .expect("the graph runs");
    let (mut sites, mut regions) = (sinks.0.take(), sinks.1.take());
    // Epochs are published in order on each worker, not over all of them.
    sites.sort();
    regions.sort();
    Published { sites, regions }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn oracle_views_equal_a_recomputation_after_every_epoch(
        history in histories(), shape in shapes(),
    ) {
        let memory = Memory::default();
        let published = run(&history, shape, memory.clone());
        let bindings = memory.log();
        prop_assert_eq!(&published, &recompute(&history, &bindings));
        // Applied one after the other, the updates are what holds at the end.
        let held = |updates: Vec<(u64, Update<u64, Site>)>| {
            let mut held = std::collections::BTreeMap::new();
            for (_, Update { key, value }) in updates {
                match value {
                    Some(value) => drop(held.insert(key, value)),
                    None => assert!(held.remove(&key).is_some(), "{key} goes without having been"),
                }
            }
            held
        };
        prop_assert_eq!(held(published.sites), recomputed::at_the_end(&history, &bindings));
    }
}
