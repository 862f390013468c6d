//! Dates as the recordings write them: `2013-12-02 21:15:00`, without a zone; taken as UTC.

use tideflow::core::calendar::{date, days};

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 of a date; fractions of a second are left out. None where it is none.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
    let in_day = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    (in_range && in_day).then_some(seconds * 1_000)
}

/// The date of milliseconds since 1970, to the second.
pub fn show(ms: i64) -> String {
    let (year, month, day) = date(ms.div_euclid(DAY_MS));
    let second = ms.rem_euclid(DAY_MS) / 1_000;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut numbers = text.split(separator).map(|part| part.parse().ok());
    let three = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_dates() {
        let cases = [
            ("1970-01-01 00:00:00", 0),
            ("2000-02-29 12:00:01", 951_825_601_000),
            ("2013-12-02 21:15:00", 1_386_018_900_000),
            ("2023-11-14 22:13:20", 1_700_000_000_000),
        ];
        for (text, ms) in cases {
            assert_eq!((parse(text), show(ms)), (Some(ms), text.to_string()));
        }
        assert_eq!(parse("2013-12-10 06:25:00.000000"), parse("2013-12-10 06:25:00"));
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in days(1900, 1, 1)..days(2300, 1, 1) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn fault_what_is_no_date_is_none() {
        for text in ["", "2013-12-02", "2013-13-02 00:00:00", "2013-12-02 24:00:00", "a b"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
