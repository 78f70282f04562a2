//! Numbers in a few letters, for columns.

use flowspec::{Micros, Rate};

/// A rate in three digits, rounded down: `12.3 Mbit/s`.
pub(super) fn short(rate: Rate) -> String {
    let bits = u128::from(rate.get()) * 8;
    let units = [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1000, "kbit/s")];
    match units.into_iter().find(|(unit, _)| bits >= *unit) {
        Some((unit, name)) => format!("{} {name}", digits(bits, unit)),
        None => format!("{bits} bit/s"),
    }
}

/// A count in at most six letters, rounded down: `12.3 M`.
pub(super) fn short_count(count: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((10_000, name)) => format!("{} {name}", count / 1000),
        Some((unit, name)) => format!("{} {name}", digits(count.into(), unit.into())),
        None => count.to_string(),
    }
}

/// A time, rounded down: `119 s`, `2 min`, `2 h`.
pub(super) fn lasted(time: Micros) -> String {
    match time.get() / 1_000_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

fn digits(value: u128, unit: u128) -> String {
    let (whole, tenth) = (value / unit, value * 10 / unit % 10);
    if whole >= 100 || tenth == 0 { whole.to_string() } else { format!("{whole}.{tenth}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let rates = [0, 125, 12_500, 1_250_000, 156_250_000].map(|rate| short(Rate::new(rate)));
        assert_eq!(rates, ["0 bit/s", "1 kbit/s", "100 kbit/s", "10 Mbit/s", "1.2 Gbit/s"]);
        let counts = [0, 9999, 10_000, 999_999, 1_250_000, u64::MAX].map(short_count);
        assert_eq!(counts, ["0", "9999", "10 k", "999 k", "1.2 M", "18446744 T"]);
        let times = [0, 119_999_999, 120_000_000, 7_200_000_000].map(|time| lasted(Micros::new(time)));
        assert_eq!(times, ["0 s", "119 s", "2 min", "2 h"]);
    }
}
