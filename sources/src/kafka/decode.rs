//! JSON bytes to records, and what is wrong with those that are none.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tideflow_core::{DecodeError, Reason, Upsert};

use super::consumer::MessageRef;

/// Decodes one JSON value. About 7 million short records a second; [`crate::kafka::FlatRecord`] is
/// faster where records are flat.
///
/// # Errors
/// Says what kind of fault it is, and what was expected and found where.
///
/// ```
/// use tideflow_core::Reason;
/// use tideflow_sources::kafka::decode_json;
/// #[derive(serde::Deserialize, Debug)]
/// struct Reading { ts: i64 }
/// let reason = |bytes: &[u8]| decode_json::<Reading>(bytes).unwrap_err().reason;
/// assert_eq!(reason(b"{\"ts\":"), Reason::Malformed);
/// assert_eq!(reason(b"{\"ts\":\"now\"}"), Reason::WrongType);
/// assert_eq!(reason(b"{}"), Reason::MissingField);
/// assert_eq!(reason(b"{\"ts\":NaN}"), Reason::NotFinite);
/// ```
pub fn decode_json<D: DeserializeOwned>(payload: &[u8]) -> Result<D, DecodeError> {
    serde_json::from_slice(payload).map_err(|e| explain(payload, &e))
}

/// As [`decode_json`], for records that are objects: serde would also read a struct from an array of
/// its fields.
pub(super) fn decode_object<D: DeserializeOwned>(payload: &[u8]) -> Result<D, DecodeError> {
    let record = decode_json(payload)?;
    match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Err(DecodeError {
            reason: Reason::WrongType,
            detail: "expected an object, found an array".to_string(),
        }),
        _ => Ok(record),
    }
}

/// What a record says of its key: a value, or with a tombstone that it is gone.
pub(super) fn decode_keyed<K: FromStr<Err: Display>, V: DeserializeOwned>(
    message: &MessageRef<'_>,
) -> Result<Upsert<K, V>, DecodeError> {
    let key = decode_key(message.key)?;
    let value = message.payload.map(decode_object).transpose()?;
    let MessageRef { partition, offset, .. } = *message;
    Ok(Upsert { partition, offset, key, value })
}

fn decode_key<K: FromStr<Err: Display>>(key: Option<&[u8]>) -> Result<K, DecodeError> {
    let bad = |detail| DecodeError { reason: Reason::BadKey, detail };
    let key = key.ok_or_else(|| bad("expected a key, found none".to_string()))?;
    let text = std::str::from_utf8(key).map_err(|error| bad(format!("key: {error}")))?;
    text.parse().map_err(|error: K::Err| bad(format!("key: {error}")))
}

#[cold]
fn explain(payload: &[u8], error: &serde_json::Error) -> DecodeError {
    let detail = error.to_string();
    let reason = match error.classify() {
        Category::Data if detail.starts_with("missing field") => Reason::MissingField,
        Category::Data if detail.starts_with("device id") => Reason::BadDeviceId,
        Category::Data => Reason::WrongType,
        _ if detail.starts_with("number out of range") || is_not_a_number(payload, error) => {
            Reason::NotFinite
        }
        _ => Reason::Malformed,
    };
    DecodeError { reason, detail }
}

/// Whether the parser stopped at one of the words that other languages write for such numbers.
fn is_not_a_number(payload: &[u8], error: &serde_json::Error) -> bool {
    let line = payload.split(|b| *b == b'\n').nth(error.line().saturating_sub(1));
    let from = error.column().saturating_sub(2);
    let rest = line.and_then(|line| line.get(from..)).unwrap_or_default();
    let rest = rest.strip_prefix(b":").or(rest.strip_prefix(b"-")).unwrap_or(rest);
    ["NaN", "nan", "Infinity", "inf"].iter().any(|w| rest.starts_with(w.as_bytes()))
        || ["-Infinity", "-inf"].iter().any(|w| rest.starts_with(w.as_bytes()))
}

#[cfg(test)]
mod tests {
    use tideflow_core::DeviceId;

    use super::*;

    #[test]
    fn a_key_that_is_none_is_told_with_what_was_expected() {
        let reason = |key: Option<&[u8]>| {
            let error = decode_key::<DeviceId>(key).unwrap_err();
            (error.reason, error.detail)
        };
        let bad = |detail: &str| (Reason::BadKey, detail.to_string());
        assert_eq!(reason(None), bad("expected a key, found none"));
        let (found, detail) = reason(Some(b"\xff"));
        assert!(found == Reason::BadKey && detail.starts_with("key: invalid utf-8"), "{detail}");
        let expected = "key: device id `a b` is not 1 to 64 of `A-Z a-z 0-9 . _ : -`";
        assert_eq!(reason(Some(b"a b")), bad(expected));
        assert_eq!(
            decode_key::<DeviceId>(Some(b"d1")).map(|id| id.to_string()),
            Ok("d1".to_string())
        );
    }
}
