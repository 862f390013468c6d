//! The same from the history and the bindings alone, all of it anew after every epoch.

use std::collections::BTreeMap;

use tideflow_core::{Binding, EventTime, Update};
use tideflow_operators::Fixed;

use crate::history::{History, Place, Reading};
use crate::{FORGET_MS, Published, Site};

/// What holds after an epoch.
#[derive(Clone, Default)]
struct Held {
    places: BTreeMap<u64, Place>,
    last: BTreeMap<u64, Reading>,
    watermark: Option<EventTime>,
}

impl Held {
    fn sites(&self) -> BTreeMap<u64, Site> {
        let mut sites = BTreeMap::<u64, Site>::new();
        for (device, place) in &self.places {
            let (devices, reporting, sum) = sites.entry(place.site).or_default();
            *devices += 1;
            if let Some(reading) = self.last.get(device) {
                *reporting += 1;
                *sum = sum.plus(Fixed::from(reading.value as f64));
            }
        }
        sites
    }

    fn regions(&self) -> BTreeMap<u64, i64> {
        let mut regions = BTreeMap::new();
        for (device, place) in &self.places {
            if let Some(Reading { value, .. }) = self.last.get(device) {
                let highest = regions.entry(place.region).or_insert(*value);
                *highest = (*highest).max(*value);
            }
        }
        regions
    }

    /// Takes what lies in an epoch: between two cuts.
    fn take(&mut self, history: &History, before: Option<&Binding>, binding: &Binding) {
        let next = |binding: &Binding, source: &str, partition: usize| {
            let is = |part: &&tideflow_core::Part| {
                part.source == source && part.partition as usize == partition
            };
            binding.parts.iter().find(is).map_or(0, |part| part.next as usize)
        };
        let range = |source, partition| {
            let from = before.map_or(0, |before| next(before, source, partition));
            from..next(binding, source, partition)
        };
        for (partition, log) in history.registry.iter().enumerate() {
            for upsert in &log[range("registry", partition)] {
                match &upsert.value {
                    Some(place) => drop(self.places.insert(upsert.key, place.clone())),
                    None => drop(self.places.remove(&upsert.key)),
                }
            }
        }
        for (partition, readings) in history.readings.iter().enumerate() {
            for reading in &readings[range("readings", partition)] {
                let last = self.last.entry(reading.device).or_insert_with(|| reading.clone());
                if *reading > *last {
                    *last = reading.clone();
                }
            }
        }
        let ticks = |at: EventTime| at.0.div_euclid(FORGET_MS / 64);
        let ticked = ticks(binding.watermark) > ticks(self.watermark.unwrap_or(EventTime::MIN));
        if ticked && binding.watermark < EventTime::MAX {
            self.last.retain(|_, r| r.ts >= binding.watermark.0.saturating_sub(FORGET_MS));
        }
        self.watermark = Some(binding.watermark);
    }
}

/// What one became of the other, by key.
fn updates<V: PartialEq + Clone>(
    epoch: u64,
    before: &BTreeMap<u64, V>,
    now: &BTreeMap<u64, V>,
) -> Vec<(u64, Update<u64, V>)> {
    let gone = before.keys().filter(|key| !now.contains_key(key)).map(|key| (*key, None));
    let other = now.iter().filter(|(key, value)| before.get(key) != Some(value));
    let all = gone.chain(other.map(|(key, value)| (*key, Some(value.clone()))));
    all.map(|(key, value)| (epoch, Update { key, value })).collect()
}

pub fn recompute(history: &History, bindings: &[Binding]) -> Published {
    let (mut held, mut published) = (Held::default(), Published::default());
    for (i, binding) in bindings.iter().enumerate() {
        let (sites, regions) = (held.sites(), held.regions());
        held.take(history, i.checked_sub(1).map(|i| &bindings[i]), binding);
        published.sites.extend(updates(binding.epoch, &sites, &held.sites()));
        published.regions.extend(updates(binding.epoch, &regions, &held.regions()));
    }
    published.sites.sort();
    published.regions.sort();
    published
}

/// The sites after all epochs.
pub fn at_the_end(history: &History, bindings: &[Binding]) -> BTreeMap<u64, Site> {
    let mut held = Held::default();
    for (i, binding) in bindings.iter().enumerate() {
        held.take(history, i.checked_sub(1).map(|i| &bindings[i]), binding);
    }
    held.sites()
}
