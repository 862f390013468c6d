//! What the registry says of a device, and what the device said last.

use serde::{Deserialize, Serialize};
use tideflow::core::Upsert;
use tideflow::operators::{Fixed, Row};
use tideflow::prelude::*;

use crate::Reading;

/// A device's entry in the registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Registered {
    /// The device; the record's key.
    pub device: DeviceId,
    /// The site that it is at.
    pub site: String,
    /// The region that counts it.
    pub region: String,
}

impl Row for Registered {
    fn heap_bytes(&self) -> usize {
        self.device.heap_bytes() + self.site.capacity() + self.region.capacity()
    }
}

/// Bytes of a site's or a region's name at most.
const NAME_MAX: usize = 256;

impl Registered {
    /// Refuses an entry whose key is another device's, and names that are none.
    ///
    /// # Errors
    /// Says what was expected and found.
    pub fn check(entry: &Upsert<DeviceId, Registered>) -> Result<(), DecodeError> {
        let Some(Registered { device, site, region }) = &entry.value else { return Ok(()) };
        if *device != entry.key {
            let detail = format!("`device`: expected the key `{}`, found `{device}`", entry.key);
            return Err(DecodeError { reason: Reason::BadKey, detail });
        }
        let names = [("site", site), ("region", region)];
        match names.into_iter().find(|(_, name)| !(1..=NAME_MAX).contains(&name.len())) {
            None => Ok(()),
            Some((field, name)) => Err(DecodeError {
                reason: Reason::WrongType,
                detail: format!("`{field}`: expected 1 to {NAME_MAX} bytes, found {}", name.len()),
            }),
        }
    }
}

/// A reading with numbers that add up to the same in any order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Measured {
    /// The device.
    pub device: DeviceId,
    /// When it was taken, by the device's clock.
    pub ts: EventTime,
    /// Temperature in degrees Celsius, vibration in millimetres a second, current in amperes.
    pub values: [Fixed; 3],
}

impl Row for Measured {
    fn heap_bytes(&self) -> usize {
        self.device.heap_bytes()
    }
}

impl Event for Measured {
    fn event_time(&self) -> EventTime {
        self.ts
    }
}

impl From<Reading> for Measured {
    fn from(reading: Reading) -> Self {
        let values = [reading.temperature, reading.vibration, reading.current].map(Fixed::from);
        Measured { device: reading.device, ts: reading.ts, values }
    }
}

#[cfg(test)]
mod tests {
    use tideflow::core::{KeyGroup, KeyedState};

    use super::*;

    /// The bytes of a device's row in a snapshot, read back.
    fn stored<V: Row + Clone + PartialEq + std::fmt::Debug>(row: &V) -> Vec<u8> {
        let key: DeviceId = "d1".parse().expect("an id");
        let group = KeyGroup::of(key.stable_hash());
        let (mut state, mut again) = (KeyedState::new(), KeyedState::new());
        state.insert(key.clone(), row.clone());
        let segment = state.groups().snapshot_some(1_000).expect("it is small");
        let bytes = segment.of(group).expect("it has a key");
        again.groups().restore(group, V::VERSION, bytes).expect("it was just written");
        assert_eq!(again.get(&key), Some(row));
        bytes.to_vec()
    }

    #[test]
    fn golden_rows_have_this_form_in_snapshots() {
        let device: DeviceId = "d1".parse().expect("an id");
        let (site, region) = ("s".to_string(), "north".to_string());
        let entry = stored(&Registered { device: device.clone(), site, region });
        assert_eq!(entry, b"\x02d1\x0b\0\0\0\x02d1\x01s\x05north");
        let values = [0.0, 1.0, -0.5].map(Fixed::from);
        let entry = stored(&Measured { device, ts: EventTime(-1), values });
        let expected = [
            &b"\x02d1\x19\0\0\0\x02d1\x01\0"[..], // 25 bytes; -1 is 1 after zigzag
            &[0x80; 9],                           // 2^64 is 2^65
            &[0x04],
            &[0xff; 9], // -2^63 is 2^64 - 1
            &[0x01],
        ];
        assert_eq!(entry, expected.concat());
        assert_eq!((Registered::VERSION, Measured::VERSION), (1, 1));
    }

    fn refused(key: &str, device: &str, site: &str) -> Option<Reason> {
        let id = |text: &str| text.parse::<DeviceId>().expect("an id");
        let (site, region) = (site.to_string(), "north".to_string());
        let value = Some(Registered { device: id(device), site, region });
        let entry = Upsert { partition: 0, offset: 0, key: id(key), value };
        Registered::check(&entry).err().map(|error| error.reason)
    }

    #[test]
    fn an_entry_under_another_key_or_without_a_site_is_refused() {
        assert_eq!(refused("d1", "d1", "s"), None);
        assert_eq!(refused("d1", "d2", "s"), Some(Reason::BadKey));
        assert_eq!(refused("d1", "d1", ""), Some(Reason::WrongType));
        assert_eq!(refused("d1", "d1", &"s".repeat(257)), Some(Reason::WrongType));
    }
}
