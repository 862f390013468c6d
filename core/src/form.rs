//! The forms of state that operators share: an entry in snapshots, and what people are shown.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends an entry: the key in postcard's format, the length of the value (u32, little-endian), and the
/// value in postcard's format. The length lets a value be read in the form of another version.
pub fn put_entry(key: &impl Serialize, value: &impl Serialize, out: &mut Vec<u8>) {
    const FITS: &str = "memory takes what is written";
    postcard::to_io(key, &mut *out).expect(FITS);
    let len_at = out.len();
    out.extend_from_slice(&[0; 4]);
    postcard::to_io(value, &mut *out).expect(FITS);
    let len = (out.len() - len_at - 4) as u32;
    out[len_at..len_at + 4].copy_from_slice(&len.to_le_bytes());
}

/// Reads the entry in front: its key, the bytes of its value, and what follows.
///
/// # Errors
/// When there is no key, or less than the length says.
pub fn take_entry<K: DeserializeOwned>(bytes: &[u8]) -> Result<(K, &[u8], &[u8]), String> {
    let short = || "it ends too early".to_string();
    let (key, rest) = postcard::take_from_bytes(bytes).map_err(|error| error.to_string())?;
    let (len, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (value, rest) =
        rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(short)?;
    Ok((key, value, rest))
}

/// Reads a value that has one form only, postcard's of its fields.
///
/// # Errors
/// When it lies in the form of another version than the `known` one, or is none.
pub fn restore_known<T: DeserializeOwned>(
    known: u32,
    version: u32,
    bytes: &[u8],
) -> Result<T, String> {
    if version != known {
        return Err(format!("expected version {known} of its form, found {version}"));
    }
    postcard::from_bytes(bytes).map_err(|error| error.to_string())
}

/// As JSON; what JSON has no form for is said in its place.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{:?}", error.to_string()))
}
