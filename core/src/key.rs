//! Keys, their stable hash and the key groups that state lives in.

use compact_str::CompactString;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use xxhash_rust::xxh3::xxh3_64;

/// How many key groups a job's state is divided into. Part of a job's identity: state moves by group.
pub const KEY_GROUPS: usize = 256;

/// What records can be keyed by.
///
/// The hash decides where a key's state lives, in memory and in snapshots, so it must never change:
/// it is XXH3-64 with seed 0 over the key's canonical bytes (text as UTF-8, integers little-endian).
///
/// ```
/// use tideflow_core::{DeviceId, Key, KeyGroup};
/// let device: DeviceId = "d000123".parse()?;
/// assert_eq!(device.stable_hash(), "d000123".to_string().stable_hash());
/// assert_eq!(KeyGroup::of(device.stable_hash()), KeyGroup(40));
/// # Ok::<(), tideflow_core::InvalidDeviceId>(())
/// ```
pub trait Key: Ord + Clone + std::fmt::Debug + ExchangeData {
    /// The key's hash: the same on every machine, in every release.
    fn stable_hash(&self) -> u64;

    /// Bytes of memory that it holds beside its own size, for the account of an operator's state; none,
    /// unless it says otherwise.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Key for DeviceId {
    fn stable_hash(&self) -> u64 {
        xxh3_64(self.as_str().as_bytes())
    }

    fn heap_bytes(&self) -> usize {
        if self.0.is_heap_allocated() { self.0.capacity() } else { 0 }
    }
}

impl Key for String {
    fn stable_hash(&self) -> u64 {
        xxh3_64(self.as_bytes())
    }

    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Key for u64 {
    fn stable_hash(&self) -> u64 {
        xxh3_64(&self.to_le_bytes())
    }
}

/// One of the [`KEY_GROUPS`] parts of a job's keyed state: the top eight bits of the key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyGroup(pub u8);

impl KeyGroup {
    /// The group of a key with this hash.
    #[inline]
    pub fn of(hash: u64) -> Self {
        KeyGroup((hash >> 56) as u8)
    }
}

/// A device's name: 1 to 64 of `A-Z a-z 0-9 . _ : -`. Up to 24 bytes are kept without an allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct DeviceId(CompactString);

/// A device id outside its alphabet or length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device id `{found}` is not 1 to 64 of `A-Z a-z 0-9 . _ : -`")]
pub struct InvalidDeviceId {
    /// The text found, cut to 80 characters.
    pub found: String,
}

impl DeviceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether these bytes form an id.
    #[inline]
    pub fn is_valid(bytes: &[u8]) -> bool {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        (1..=64).contains(&bytes.len()) && bytes.iter().all(allowed)
    }
}

impl TryFrom<&str> for DeviceId {
    type Error = InvalidDeviceId;

    #[inline]
    fn try_from(text: &str) -> Result<Self, InvalidDeviceId> {
        if Self::is_valid(text.as_bytes()) {
            Ok(DeviceId(CompactString::new(text)))
        } else {
            Err(InvalidDeviceId { found: text.chars().take(80).collect() })
        }
    }
}

/// Straight from the text that is read: one is in each reading.
impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = DeviceId;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<DeviceId, E> {
                text.try_into().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl std::str::FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceId> {
        text.try_into()
    }
}

impl std::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_hashes_never_change() {
        let cases = [("", 0x2d06_8005_38d3_94c2), ("d000123", 0x28b4_f194_b6b7_4ded)];
        for (text, hash) in cases {
            assert_eq!(text.to_string().stable_hash(), hash, "{text:?}");
        }
        assert_eq!(7u64.stable_hash(), 0x8167_1e58_d6b5_96af);
    }

    #[test]
    fn ids_of_the_wrong_shape_are_refused() {
        for bad in ["", "a b", "ü", "a\"b", &"x".repeat(65)] {
            assert!(DeviceId::try_from(bad).is_err(), "{bad:?}");
        }
        assert!(DeviceId::try_from("line-4:pump_07.b").is_ok());
        assert!(serde_json::from_str::<DeviceId>("\"a b\"").is_err());
    }
}
