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
pub trait FlatField: Sized {
    /// The value, or `None` where only serde_json can tell.
    fn from_token(token: Token<'_>) -> Option<Self>;
}

/// A field's value as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Text without escapes.
    Text(&'a str),
    /// A plain decimal number.
    Number(Decimal<'a>),
    /// `true` or `false`.
    Bool(bool),
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
    fn f64(self) -> Option<f64> {
        // Both exact, so the one division rounds correctly (Clinger 1990, the fast path).
        if self.digits < 1 << 53 && self.text.len() <= 19 && self.scale < TENS.len() {
            let value = self.digits as f64 / TENS[self.scale];
            return Some(if self.negative { -value } else { value });
        }
        ascii(self.text).parse().ok().filter(|v: &f64| v.is_finite())
    }

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
    fn from_token(token: Token<'_>) -> Option<Self> {
        if let Token::Number(n) = token { n.f64() } else { None }
    }
}

impl FlatField for i64 {
    #[inline]
    fn from_token(token: Token<'_>) -> Option<Self> {
        if let Token::Number(n) = token { n.i64() } else { None }
    }
}

impl FlatField for u64 {
    #[inline]
    fn from_token(token: Token<'_>) -> Option<Self> {
        i64::from_token(token).and_then(|n| u64::try_from(n).ok())
    }
}

impl FlatField for bool {
    #[inline]
    fn from_token(token: Token<'_>) -> Option<Self> {
        if let Token::Bool(b) = token { Some(b) } else { None }
    }
}

impl FlatField for EventTime {
    #[inline]
    fn from_token(token: Token<'_>) -> Option<Self> {
        i64::from_token(token).map(EventTime)
    }
}

impl FlatField for DeviceId {
    #[inline]
    fn from_token(token: Token<'_>) -> Option<Self> {
        if let Token::Text(text) = token { text.try_into().ok() } else { None }
    }
}

impl FlatField for String {
    fn from_token(token: Token<'_>) -> Option<Self> {
        if let Token::Text(text) = token { Some(text.to_string()) } else { None }
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

    /// The next field, or `None` where only serde_json can tell.
    #[inline]
    pub fn field(&mut self) -> Option<(&'a [u8], Token<'a>)> {
        let key = self.text()?;
        self.expect(b':')?;
        Some((key, self.value()?))
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
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' | 0..0x20 | 0x80.. => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(&self.bytes[from..self.at - 1])
    }

    #[inline]
    fn value(&mut self) -> Option<Token<'a>> {
        self.space();
        match *self.bytes.get(self.at)? {
            b'"' => self.text().map(|t| Token::Text(ascii(t))),
            b'-' | b'0'..=b'9' => self.number().map(Token::Number),
            b't' => self.word(b"true").map(|()| Token::Bool(true)),
            b'f' => self.word(b"false").map(|()| Token::Bool(false)),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    #[inline]
    fn number(&mut self) -> Option<Decimal<'a>> {
        let from = self.at;
        let negative = self.bytes[from] == b'-';
        self.at += usize::from(negative);
        let mut digits = 0u64;
        let whole = self.digits(&mut digits)?;
        if whole > 1 && self.bytes[self.at - whole] == b'0' {
            return None;
        }
        let mut scale = 0;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            scale = self.digits(&mut digits)?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            return None;
        }
        let text = &self.bytes[from..self.at];
        Some(Decimal { digits, scale, negative, text })
    }

    /// Appends decimal digits; how many, at least one. Wraps beyond 19: then the text decides.
    #[inline]
    fn digits(&mut self, digits: &mut u64) -> Option<usize> {
        let from = self.at;
        while let Some(d @ b'0'..=b'9') = self.bytes.get(self.at) {
            *digits = digits.wrapping_mul(10).wrapping_add(u64::from(d - b'0'));
            self.at += 1;
        }
        (self.at > from).then_some(self.at - from)
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
                loop {
                    let (key, token) = object.field()?;
                    match key {
                        $(key if key == stringify!($field).as_bytes() => {
                            let value = $crate::kafka::FlatField::from_token(token)?;
                            if $field.replace(value).is_some() {
                                return None; // twice: serde_json says so
                            }
                        })+
                        _ => {}
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
