//! A fast reader for flat JSON records whose fields are known.
//!
//! It understands the plain case alone: one object, keys and texts without escapes, plain decimal
//! numbers. Whatever else it meets, it leaves to serde_json, which decides. Where it does answer,
//! it answers as serde_json would, to the last bit.

use tideflow_core::{DeviceId, EventTime};

/// A record that can be read the fast way; [`crate::flat_record`] writes the implementation.
pub trait FlatRecord: Sized {
    /// The record, or `None` where only serde_json can tell.
    fn read(payload: &[u8]) -> Option<Self>;
}

/// A type that a field of a flat record can have.
///
/// ```
/// use tideflow_sources::kafka::{FlatField, FlatObject};
/// enum State { On, Off }
/// impl FlatField for State {
///     fn read(object: &mut FlatObject<'_>) -> Option<Self> {
///         match object.text()? {
///             "on" => Some(State::On),
///             "off" => Some(State::Off),
///             _ => None, // serde_json says what is wrong with it
///         }
///     }
/// }
/// ```
pub trait FlatField: Sized {
    /// Takes the next value, or `None` where only serde_json can tell.
    fn read(object: &mut FlatObject<'_>) -> Option<Self>;
}

/// A plain decimal number: `digits` / 10^`scale`, where they fit, and its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decimal<'a> {
    digits: u64,
    scale: usize,
    negative: bool,
    text: &'a [u8],
}

/// Powers of ten that a float holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl Decimal<'_> {
    #[inline]
    fn f64(self) -> Option<f64> {
        // Both exact, so the one division rounds correctly (Clinger 1990, the fast path).
        if self.digits < 1 << 53 && self.text.len() <= 19 && self.scale < TENS.len() {
            let value = self.digits as f64 / TENS[self.scale];
            return Some(if self.negative { -value } else { value });
        }
        ascii(self.text).parse().ok().filter(|v: &f64| v.is_finite())
    }

    #[inline]
    fn i64(self) -> Option<i64> {
        if self.scale > 0 || self.text.len() > 18 {
            return None;
        }
        let value = self.digits as i64; // 18 digits fit
        match self.negative {
            true if value == 0 => None, // serde_json takes -0 for a float
            true => Some(-value),
            false => Some(value),
        }
    }
}

impl FlatField for f64 {
    #[inline]
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        object.number()?.f64()
    }
}

impl FlatField for i64 {
    #[inline]
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        object.number()?.i64()
    }
}

impl FlatField for u64 {
    #[inline]
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        u64::try_from(i64::read(object)?).ok()
    }
}

impl FlatField for bool {
    #[inline]
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        object.bool()
    }
}

impl FlatField for EventTime {
    #[inline]
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        i64::read(object).map(EventTime)
    }
}

impl FlatField for DeviceId {
    #[inline]
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        object.text()?.try_into().ok()
    }
}

impl FlatField for String {
    fn read(object: &mut FlatObject<'_>) -> Option<Self> {
        object.text().map(str::to_string)
    }
}

/// The fields of one object, one after the other.
pub struct FlatObject<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> FlatObject<'a> {
    /// The object in these bytes, or `None` where they do not begin like one.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut object = FlatObject { bytes, at: 0 };
        object.expect(b'{')?;
        Some(object)
    }

    /// The next field's name, or `None` where only serde_json can tell.
    #[inline]
    pub fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.plain_text()?;
        self.expect(b':')?;
        Some(key)
    }

    /// Whether this comes next, which is then taken.
    #[inline]
    pub fn begins(&mut self, with: &str) -> bool {
        let begins = self.bytes[self.at..].starts_with(with.as_bytes());
        self.at += if begins { with.len() } else { 0 };
        begins
    }

    /// A text of printable ASCII without escapes, or `None` where only serde_json can tell.
    #[inline]
    pub fn text(&mut self) -> Option<&'a str> {
        self.plain_text().map(ascii)
    }

    /// A plain decimal number, or `None` where only serde_json can tell.
    #[inline]
    pub fn number(&mut self) -> Option<Decimal<'a>> {
        self.space();
        let (bytes, from) = (self.bytes, self.at);
        let negative = *bytes.get(from)? == b'-';
        let first = from + usize::from(negative);
        let (mut at, mut digits) = (first, 0);
        take_digits(bytes, &mut at, &mut digits);
        if at == first || (at > first + 1 && bytes[first] == b'0') {
            return None;
        }
        let mut scale = 0;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let point = at;
            take_digits(bytes, &mut at, &mut digits);
            scale = at - point;
            if scale == 0 {
                return None;
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            return None;
        }
        self.at = at;
        Some(Decimal { digits, scale, negative, text: &bytes[from..at] })
    }

    /// `true` or `false`, or `None` where only serde_json can tell.
    #[inline]
    pub fn bool(&mut self) -> Option<bool> {
        self.space();
        if self.begins("true") {
            return Some(true);
        }
        self.begins("false").then_some(false)
    }

    /// Passes over a text, a number, `true` or `false`; `None` where only serde_json can tell.
    #[inline]
    pub fn skip(&mut self) -> Option<()> {
        self.space();
        match *self.bytes.get(self.at)? {
            b'"' => self.plain_text().map(drop),
            b'-' | b'0'..=b'9' => self.number().map(drop),
            _ => self.bool().map(drop),
        }
    }

    /// Whether another field follows; `None` where only serde_json can tell.
    #[inline]
    pub fn more(&mut self) -> Option<bool> {
        self.space();
        match self.bytes.get(self.at)? {
            b',' => {
                self.at += 1;
                Some(true)
            }
            b'}' => {
                self.at += 1;
                self.space();
                (self.at == self.bytes.len()).then_some(false)
            }
            _ => None,
        }
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (*self.bytes.get(self.at)? == byte).then(|| self.at += 1)
    }

    /// The bytes between two quotes: printable ASCII without escapes.
    #[inline]
    fn plain_text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20 | 0x80..))?;
        if rest[len] != b'"' {
            return None;
        }
        self.at += len + 1;
        Some(&rest[..len])
    }
}

/// Appends the decimal digits from here on. Wraps beyond 19: then the text decides.
#[inline]
fn take_digits(bytes: &[u8], at: &mut usize, digits: &mut u64) {
    while let Some(d @ b'0'..=b'9') = bytes.get(*at) {
        *digits = digits.wrapping_mul(10).wrapping_add(u64::from(d - b'0'));
        *at += 1;
    }
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("seen to be ASCII byte by byte")
}

/// Implements [`kafka::FlatRecord`](crate::kafka::FlatRecord) for a struct: its fields must be those
/// that its `serde::Deserialize` reads, under the same names, all of them required.
///
/// ```
/// use tideflow_core::DeviceId;
/// use tideflow_sources::{flat_record, kafka::FlatRecord};
/// #[derive(serde::Deserialize)]
/// struct Reading { device: DeviceId, ts: i64, celsius: f64 }
/// flat_record!(Reading { device, ts, celsius });
/// let reading = Reading::read(br#"{"device":"d1","ts":5,"celsius":21.37,"note":"ignored"}"#);
/// assert_eq!(reading.map(|r| r.celsius), Some(21.37));
/// assert!(Reading::read(br#"{"device":"d\u0031"}"#).is_none(), "left to serde_json");
/// ```
#[macro_export]
macro_rules! flat_record {
    ($record:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::kafka::FlatRecord for $record {
            #[inline]
            fn read(payload: &[u8]) -> Option<Self> {
                $(let mut $field = None;)+
                let mut object = $crate::kafka::FlatObject::new(payload)?;
                'fields: loop {
                    let mut in_order = false;
                    // Whoever writes records writes their fields in one order: mostly in this one.
                    $(if object.begins(concat!('"', stringify!($field), "\":")) {
                        let value = $crate::kafka::FlatField::read(&mut object)?;
                        if $field.replace(value).is_some() {
                            return None; // twice: serde_json says so
                        }
                        if !object.more()? {
                            break 'fields;
                        }
                        in_order = true;
                    })+
                    if in_order {
                        continue;
                    }
                    match object.key()? {
                        $(key if key == stringify!($field).as_bytes() => {
                            let value = $crate::kafka::FlatField::read(&mut object)?;
                            if $field.replace(value).is_some() {
                                return None;
                            }
                        })+
                        _ => object.skip()?,
                    }
                    if !object.more()? {
                        break;
                    }
                }
                Some($record { $($field: $field?),+ })
            }
        }
    };
}
