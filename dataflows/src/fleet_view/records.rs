//! What `fleet_view` writes: one struct a topic, its JSON described in `schemas/`.

use serde::{Deserialize, Serialize};
use tideflow::core::Update;

use super::Sums;

/// Devices and what they said last, taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollUp {
    /// How many devices the registry has here.
    pub devices: u64,
    /// How many of them were heard of.
    pub reporting: u64,
    /// The mean of their last temperatures, in degrees Celsius; none where none was heard of.
    pub temperature: Option<f64>,
    /// The mean of their last vibrations, in millimetres a second.
    pub vibration: Option<f64>,
    /// The mean of their last currents, in amperes.
    pub current: Option<f64>,
}

impl From<Sums> for RollUp {
    fn from(sums: Sums) -> Self {
        let count = |n: i64| u64::try_from(n).expect("a device is taken away once, as it came");
        let [devices, reporting] = [sums.devices, sums.reporting].map(count);
        let means = sums.values.map(|sum| (reporting > 0).then(|| sum.mean(reporting)));
        let [temperature, vibration, current] = means;
        RollUp { devices, reporting, temperature, vibration, current }
    }
}

/// A site on the sites topic; a tombstone when its last device is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// The site; the record's key.
    pub site: String,
    /// Its devices.
    #[serde(flatten)]
    pub devices: RollUp,
}

/// A region on the regions topic; a tombstone when its last device is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionRecord {
    /// The region; the record's key.
    pub region: String,
    /// Its devices.
    #[serde(flatten)]
    pub devices: RollUp,
}

impl SiteRecord {
    /// What has become of a site.
    pub fn update(of: Update<String, Sums>) -> Update<String, SiteRecord> {
        let record = |sums: Sums| SiteRecord { site: of.key.clone(), devices: sums.into() };
        Update { value: of.value.map(record), key: of.key }
    }
}

impl RegionRecord {
    /// What has become of a region.
    pub fn update(of: Update<String, Sums>) -> Update<String, RegionRecord> {
        let record = |sums: Sums| RegionRecord { region: of.key.clone(), devices: sums.into() };
        Update { value: of.value.map(record), key: of.key }
    }
}
