//! Moments since 1970 as people write them: RFC 3339 in UTC.

use flowspec::Moment;

const SECONDS_OF_A_DAY: u64 = 86_400;

/// `2026-11-27T02:03:04.000005Z` for a moment that counts from 1970 on.
pub fn time_of(at: Moment) -> String {
    let (seconds, micros) = (at.as_micros() / 1_000_000, at.as_micros() % 1_000_000);
    let (year, month, day) = date_of(seconds / SECONDS_OF_A_DAY);
    let rest = seconds % SECONDS_OF_A_DAY;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Reads `2026-11-27`, `2026-11-27T02:03`, `2026-11-27T02:03:04` or `2026-11-27T02:03:04.5Z`, in UTC; a space may stand for
/// the `T`. `None` for everything else.
pub fn parse_time(text: &str) -> Option<Moment> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00:00"));
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
        return None;
    }
    let days = days_until(year, month) + day - 1;
    if day > days_until(year + month / 12, month % 12 + 1) - days_until(year, month) {
        return None;
    }
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    if fraction.len() > 6 || fraction.is_empty() {
        return None;
    }
    let [micros] = numbers(&format!("{fraction:0<6}"), '-')?[..] else { return None };
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * SECONDS_OF_A_DAY + hour * 3600 + minute * 60 + second;
    Some(Moment::from_micros(seconds * 1_000_000 + micros))
}

fn numbers(text: &str, separator: char) -> Option<Vec<u64>> {
    let number = |part: &str| {
        let is_plain = !part.is_empty() && part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_plain { part.parse().ok() } else { None }
    };
    text.split(separator).map(number).collect()
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The days from 1970 to the first of a month.
fn days_until(year: u64, month: u64) -> u64 {
    let leap_days_before = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days_before(year - 1) - leap_days_before(1969);
    let months = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let before = months.iter().zip(1..).find(|(_, number)| *number == month).map_or(0, |(days, _)| *days);
    years + before + u64::from(month > 2 && is_leap(year))
}

fn date_of(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_until(year + 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_until(year, *month) <= days).unwrap_or(1);
    (year, month, days - days_until(year, month) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back() {
        let check = |micros: u64, text: &str| {
            assert_eq!(time_of(Moment::from_micros(micros)), text);
            assert_eq!(parse_time(text), Some(Moment::from_micros(micros)), "{text}");
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(951_782_400_000_001, "2000-02-29T00:00:00.000001Z");
        check(1_772_323_199_999_999, "2026-02-28T23:59:59.999999Z");
        check(4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z");
        for day in 0..60_000 {
            let at = Moment::from_micros(day * SECONDS_OF_A_DAY * 1_000_000);
            assert_eq!(parse_time(&time_of(at)), Some(at));
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let expected = parse_time("2026-11-27T02:03:00.000000Z");
        assert!(expected.is_some());
        for text in ["2026-11-27 02:03", "2026-11-27T02:03Z", "2026-11-27t02:03:00", "2026-11-27 02:03:00.0z"]
        {
            assert_eq!(parse_time(text), expected, "{text}");
        }
        for text in [
            "",
            "now",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-04-31",
            "2026-1-1T25:00",
            "1969-12-31",
            "2026-11-27T02:03:04.1234567",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(parse_time("2024-02-29").map(time_of).as_deref(), Some("2024-02-29T00:00:00.000000Z"));
        assert!(parse_time("2026-12-31").is_some());
    }
}
