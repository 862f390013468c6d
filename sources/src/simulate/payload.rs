//! The bytes of one reading, and seven ways to spoil them.

use super::random::Random;

/// How the bytes of a message fail to be a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The JSON object ends in the middle.
    Truncated,
    /// A field is a string, null or an object in place of a number, or the device a number.
    WrongType,
    /// One of the five fields is not there.
    MissingField,
    /// The device's name is empty or has spaces in it.
    DeviceShape,
    /// A measurement is the literal `NaN`.
    NanLiteral,
    /// The value has no bytes.
    Empty,
    /// A byte that is not UTF-8 in the device's name.
    NotUtf8,
}

impl Malformed {
    /// Every way, in the order in which [`Counts`](super::Counts) counts them.
    pub const ALL: [Malformed; 7] = [
        Malformed::Truncated,
        Malformed::WrongType,
        Malformed::MissingField,
        Malformed::DeviceShape,
        Malformed::NanLiteral,
        Malformed::Empty,
        Malformed::NotUtf8,
    ];
}

/// What the sensors show: °C, mm/s, A.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    pub(super) temperature: f64,
    pub(super) vibration: f64,
    pub(super) current: f64,
}

/// Replaces `out` by the JSON of a reading: temperature and current with two decimals, vibration
/// with three, trailing zeros left out.
pub(super) fn write_reading(out: &mut Vec<u8>, device: &[u8], ts_ms: i64, values: &Values) {
    out.clear();
    out.extend_from_slice(br#"{"device":""#);
    out.extend_from_slice(device);
    out.extend_from_slice(br#"","ts":"#);
    write_integer(out, ts_ms);
    out.extend_from_slice(br#","temperature":"#);
    write_decimal::<2>(out, values.temperature);
    out.extend_from_slice(br#","vibration":"#);
    write_decimal::<3>(out, values.vibration);
    out.extend_from_slice(br#","current":"#);
    write_decimal::<2>(out, values.current);
    out.push(b'}');
}

/// Turns the good reading in `out` into bytes that are `how` malformed.
pub(super) fn spoil(out: &mut Vec<u8>, how: Malformed, random: &mut Random) {
    const FIELDS: [&str; 5] = ["device", "ts", "temperature", "vibration", "current"];
    const NUMBERS: [&str; 4] = ["ts", "temperature", "vibration", "current"];
    match how {
        Malformed::Truncated => out.truncate(1 + random.below(out.len() as u32 - 1) as usize),
        Malformed::WrongType => {
            let wrong: &[u8] = match random.below(3) {
                0 => b"\"21.37\"",
                1 => b"null",
                _ => b"{\"value\":21.37}",
            };
            match random.below(5) {
                0 => replace_value(out, "device", b"123"),
                field => replace_value(out, NUMBERS[field as usize - 1], wrong),
            }
        }
        Malformed::MissingField => remove_field(out, FIELDS[random.below(5) as usize]),
        Malformed::DeviceShape => {
            let name: &[u8] = if random.below(2) == 0 { b"\"\"" } else { b"\"pump 7, hall 2\"" };
            replace_value(out, "device", name);
        }
        // Not `ts`, the first of them.
        Malformed::NanLiteral => {
            replace_value(out, NUMBERS[1 + random.below(3) as usize], b"NaN");
        }
        Malformed::Empty => out.clear(),
        Malformed::NotUtf8 => {
            let (start, _) = value_range(out, "device");
            out[start + 1] = 0xFF;
        }
    }
}

/// Where the value of `field` stands in a reading that [`write_reading`] wrote.
fn value_range(out: &[u8], field: &str) -> (usize, usize) {
    let name = format!("\"{field}\":");
    let start = out
        .windows(name.len())
        .position(|at| at == name.as_bytes())
        .expect("a written reading has all five fields")
        + name.len();
    let length = out[start..]
        .iter()
        .position(|byte| matches!(byte, b',' | b'}'))
        .expect("a written reading ends in a brace, and no value has a comma");
    (start, start + length)
}

fn replace_value(out: &mut Vec<u8>, field: &str, value: &[u8]) {
    let (start, end) = value_range(out, field);
    out.splice(start..end, value.iter().copied());
}

fn remove_field(out: &mut Vec<u8>, field: &str) {
    let (start, end) = value_range(out, field);
    let name_start = start - field.len() - 3;
    // One comma goes with the field: the one behind it, or for the last field the one before.
    let range = if out[end] == b',' { name_start..end + 1 } else { name_start - 1..end };
    out.drain(range);
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `value` rounded to `DIGITS` decimals; at least one is written, so that it stays a decimal.
fn write_decimal<const DIGITS: usize>(out: &mut Vec<u8>, value: f64) {
    const { assert!(DIGITS > 0) };
    let scale = 10_u64.pow(DIGITS as u32);
    let scaled = (value.abs() * scale as f64 + 0.5) as u64;
    if value < 0.0 && scaled > 0 {
        out.push(b'-');
    }
    write_integer(out, (scaled / scale) as i64);
    out.push(b'.');
    let mut decimals = [b'0'; DIGITS];
    let mut rest = scaled % scale;
    for digit in decimals.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let kept = decimals.iter().rposition(|&digit| digit != b'0').unwrap_or(0);
    out.extend_from_slice(&decimals[..=kept]);
}
