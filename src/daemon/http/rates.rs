//! Rates of links from the kernel's counters.

use std::collections::BTreeMap;

use flowspec::{Both, Rate, Timestamp};

use crate::daemon::traffic::rate;

/// A number of bytes at a time.
type Reading = (Timestamp, u64);

/// The rates of links, by what they have carried between two readings.
#[derive(Debug, Default)]
pub(super) struct MeasuredLinkRates {
    before: BTreeMap<String, Both<Reading>>,
    now: BTreeMap<String, Both<Rate>>,
}

impl MeasuredLinkRates {
    /// Takes another reading of `/proc/net/dev`, made at a time.
    ///
    /// - **Source**: proc(5): bytes received are the first number of a line, bytes sent the ninth. Link headers are included.
    pub(super) fn read(&mut self, text: &str, at: Timestamp) {
        let counts = text.lines().filter_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            let numbers: Vec<_> = numbers.split_whitespace().collect();
            let number = |place: usize| numbers.get(place)?.parse::<u64>().ok();
            Some((name.trim().to_owned(), Both { sending: (at, number(8)?), receiving: (at, number(0)?) }))
        });
        let counts: BTreeMap<_, _> = counts.collect();
        let rates = counts.iter().filter_map(|(name, now)| {
            let before = self.before.get(name)?;
            let rate = |before: Reading, now: Reading| rate(before, now);
            let sending = rate(before.sending, now.sending);
            Some((name.clone(), Both { sending, receiving: rate(before.receiving, now.receiving) }))
        });
        self.now = rates.collect();
        self.before = counts;
    }

    /// What a link carries; `None` before the second reading.
    pub(super) fn of(&self, link: &str) -> Option<Both<Rate>> {
        self.now.get(link).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn links_have_rates_from_their_second_reading_on() {
        let file = |received: u64, sent: u64| {
            format!(
                "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n\
                 eth0:{received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n"
            )
        };
        let (mut rates, start) = (MeasuredLinkRates::default(), Timestamp::default());
        rates.read(&file(1000, 500), start);
        assert_eq!(rates.of("eth0"), None);
        rates.read(&file(3000, 500), start.saturating_add(Duration::from_millis(500)));
        assert_eq!(rates.of("eth0"), Some(Both { sending: Rate::ZERO, receiving: Rate::new(4000) }));
        rates.read(&file(10, 1500), start.saturating_add(Duration::from_millis(1500)));
        assert_eq!(rates.of("eth0"), Some(Both { sending: Rate::new(1000), receiving: Rate::ZERO }));
        rates.read("", start);
        assert_eq!(rates.of("eth0"), None, "a link that is gone");
    }
}
