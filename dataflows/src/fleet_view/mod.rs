//! A fleet as it stands: where devices are and what they said last, rolled up by site and by region.

mod config;
mod records;
mod registry;
mod sums;

pub use config::{DEFAULTS, FleetView, LatestConfig, Topics};
pub use records::{RegionRecord, RollUp, SiteRecord};
pub use registry::{Measured, Registered};
pub use sums::Sums;

use tideflow::core::differential_dataflow::operators::CountTotal;
use tideflow::operators::{Upserts, View};
use tideflow::prelude::*;

use crate::Reading;

/// Keeps a record of every site and of every region: how many devices it has, how many of them were heard
/// of, and the means of what these said last. It follows a device that moves, and is taken back with the
/// last device.
///
/// # Errors
/// When a part cannot start.
pub fn fleet_view(flow: &Flow<'_>, config: &FleetView) -> Result<(), BuildError> {
    let registry = KafkaSource::keyed_json(&config.kafka, &config.registry);
    let (registry, no_entries) = flow.source("registry", registry.validate(Registered::check))?;
    let source = KafkaSource::flat_json(&config.kafka, &config.readings).validate(Reading::check);
    let (readings, rejects) = flow.source("readings", source)?;

    let view = View::new(flow);
    let devices = view.collection(registry.upserts("devices")?);
    let measured = readings
        .map("measured", Measured::from)?
        .key_by(|m: &Measured| &m.device)
        .latest("latest", config.latest.keep())?;
    let measured = view.collection(measured).map(|(device, m)| (device, m.values));

    // Each device becomes its place, as often as `Sums` say: once, with its values where it was heard of.
    // `count_total` adds these up, so that a change costs the same in a site of ten devices and of ten
    // thousand: the old sums less what one device was, plus what it is.
    //   (ams, eu) x {1 device} + (ams, eu) x {1 heard, 21.5 degrees} = ams: {1 device, 1 heard, 21.5 degrees}
    let there = devices.clone().explode(|(_, at)| [((at.site, at.region), Sums::device())]);
    let heard = devices
        .join(measured)
        .explode(|(_, (at, values))| [((at.site, at.region), Sums::reporting(values))]);
    let places = there.concat(heard);
    let by_site = places.clone().map(|(site, _)| site).count_total();
    let by_region = places.map(|(_, region)| region).count_total();

    let topics = &config.topics;
    let sites = view.updates("sites", by_site)?.map("site records", SiteRecord::update)?;
    flow.sink("sites out", sites, KafkaSink::changelog(&config.kafka, &topics.sites()))?;

    let regions =
        view.updates("regions", by_region)?.map("region records", RegionRecord::update)?;
    flow.sink("regions out", regions, KafkaSink::changelog(&config.kafka, &topics.regions()))?;

    let rejects = rejects.and(no_entries);
    flow.sink("rejects out", rejects, KafkaSink::dead_letters(&config.kafka, &topics.rejects()))
}
