//! The wall clock, spans of time as people write them, and waiting with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    ms_of(OffsetDateTime::now_utc())
}

/// Milliseconds since 1970 of a time in the form of RFC 3339.
pub fn parse_ms(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(ms_of)
}

/// A time as `2026-11-28T09:30:00.125Z`; one that no calendar has as its number.
pub fn date(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

/// A span as `90s`, `10m`, `2h` or `3d`.
pub fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// A span for a table: its two largest units.
pub fn shown(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Looks until there is something, or the deadline has passed.
pub fn until<T>(
    deadline: Instant,
    every: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(every.min(left));
    }
}

fn ms_of(time: OffsetDateTime) -> i64 {
    (time.unix_timestamp_nanos() / 1_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_read_as_they_are_written() {
        assert_eq!(parse_ms(&date(1_700_000_000_125)), Some(1_700_000_000_125));
        assert_eq!(parse_ms("2026-11-28T09:30:00+01:00"), parse_ms("2026-11-28T08:30:00Z"));
        assert_eq!(parse_ms("yesterday"), None);
        assert_eq!(span("10m"), Some(Duration::from_secs(600)));
        for bad in ["", "m", "10", "10y", "-1s", "1é"] {
            assert_eq!(span(bad), None, "{bad}");
        }
        let shown = |seconds| shown(Duration::from_secs(seconds));
        assert_eq!([59, 61, 3_725, 90_000].map(shown), ["59s", "1m 1s", "1h 2m", "1d 1h"]);
    }
}
