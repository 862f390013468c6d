//! Event times as people write them: RFC 3339.

use std::str::FromStr;

use crate::EventTime;
use crate::calendar::{date, days};

const DAY_MS: i64 = 86_400_000;

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as `2026-11-20T00:00:00Z`, or milliseconds since 1970, found `{0}`")]
pub struct InvalidTime(String);

impl EventTime {
    /// The date in UTC, as RFC 3339 has it: with milliseconds where it has some.
    ///
    /// ```
    /// use tideflow_core::EventTime;
    /// assert_eq!(EventTime(1_763_596_800_000).date(), "2025-11-20T00:00:00Z");
    /// assert_eq!("2025-11-20T01:00:00+01:00".parse(), Ok(EventTime(1_763_596_800_000)));
    /// ```
    pub fn date(self) -> String {
        if [EventTime::MIN, EventTime::MAX].contains(&self) {
            return self.to_string();
        }
        let (year, month, day) = date(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        let fraction = match ms % 1_000 {
            0 => String::new(),
            rest => format!(".{rest:03}"),
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
    }
}

impl FromStr for EventTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let ms = text.parse().ok().or_else(|| parse(text));
        ms.map(EventTime).ok_or_else(|| InvalidTime(text.to_string()))
    }
}

/// Milliseconds since 1970 of a date in RFC 3339; what is below a millisecond is left out.
fn parse(text: &str) -> Option<i64> {
    let (day, time) = text.split_once(['T', 't', ' '])?;
    let [year, month, of_month] = numbers(day, '-', [4, 2, 2])?;
    let at = days(year, month, of_month);
    if date(at) != (year, month, of_month) {
        return None;
    }
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    if hour > 23 || minute > 59 || second > 59 || !digits {
        return None;
    }
    let ms: i64 = format!("{fraction:0<3.3}").parse().ok()?;
    let seconds = hour * 3_600 + minute * 60 + second;
    Some(at * DAY_MS + seconds * 1_000 + ms - offset(zone)?)
}

/// A zone's distance from UTC, in milliseconds.
fn offset(zone: &str) -> Option<i64> {
    let (sign, distance) = match zone.split_at(1) {
        ("Z" | "z", "") => return Some(0),
        ("+", distance) => (1, distance),
        (_, distance) => (-1, distance),
    };
    let [hour, minute] = numbers(distance, ':', [2, 2])?;
    (hour < 24 && minute < 60).then_some(sign * (hour * 60 + minute) * 60_000)
}

/// Numbers of so many digits each, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        *number = if plain { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_times() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:00:01Z", 951_825_601_000),
            ("2023-11-14T22:13:20.250Z", 1_700_000_000_250),
        ] {
            assert_eq!((text.parse(), EventTime(ms).date().as_str()), (Ok(EventTime(ms)), text));
        }
        for (text, ms) in [
            ("1700000000000", 1_700_000_000_000),
            ("2023-11-14t23:13:20.5+01:00", 1_700_000_000_500),
            ("2023-11-14 17:43:20.123987-04:30", 1_700_000_000_123),
        ] {
            assert_eq!(text.parse(), Ok(EventTime(ms)), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in days(1900, 1, 1)..days(2300, 1, 1) {
            let at = EventTime(day * DAY_MS);
            assert_eq!(at.date().parse(), Ok(at));
        }
    }

    #[test]
    fn fault_what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-20",
            "2026-11-20T00:00:00",
            "2026-11-20T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-20T00:00Z",
            "2026-11-20T00:00:00.Z",
            "2026-11-20T00:00:00+1:00",
            "2026-11-20T00:00:00Zulu",
            "26-11-20T00:00:00Z",
        ] {
            let told = text.parse::<EventTime>().expect_err("it is none").to_string();
            assert!(told.ends_with(&format!("found `{text}`")), "{told}");
        }
    }
}
