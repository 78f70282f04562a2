//! Rates from the kernel's counters: of links, and of the classes of flows.

use std::collections::BTreeMap;

use flowspec::{Both, Rate, Timestamp};

use crate::engine::InterfaceReport;

/// What a flow's class did lately.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FlowRate {
    /// Link headers included.
    pub(super) sent: Rate,
    /// Packets that its queue dropped in that time.
    pub(super) dropped: u32,
}

/// A number of bytes at a time.
type Reading = (Timestamp, u64);

/// The rates of links, by what they have carried between two readings.
#[derive(Debug, Default)]
pub(super) struct MeasuredLinkRates {
    before: BTreeMap<String, Both<Reading>>,
    now: BTreeMap<String, Both<Rate>>,
}

/// The rates of flows, between two reports.
#[derive(Debug, Default)]
pub(super) struct MeasuredFlowRates {
    /// By interface, class and flow: a class may become another flow's.
    before: BTreeMap<(String, String, String), (Reading, u32)>,
    /// By flow.
    now: BTreeMap<String, FlowRate>,
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

impl MeasuredFlowRates {
    /// Takes another report, made at a time.
    pub(super) fn read(&mut self, reports: &[InterfaceReport], at: Timestamp) {
        let (mut before, mut now) = (BTreeMap::new(), BTreeMap::new());
        for report in reports {
            for class in report.classes.iter().filter(|class| !class.flow.is_empty()) {
                let key = (report.interface.clone(), class.class.clone(), class.flow.clone());
                let reading = ((at, class.sent_bytes), class.dropped);
                if let Some((sent, dropped)) = self.before.get(&key) {
                    let dropped = class.dropped.saturating_sub(*dropped);
                    now.insert(class.flow.clone(), FlowRate { sent: rate(*sent, reading.0), dropped });
                }
                before.insert(key, reading);
            }
        }
        (self.before, self.now) = (before, now);
    }

    /// What the flow's class did between the last two reports that had it.
    pub(super) fn of(&self, flow: &str) -> Option<FlowRate> {
        self.now.get(flow).copied()
    }

    /// The flows that have rates.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, FlowRate)> {
        self.now.iter().map(|(flow, rate)| (flow, *rate))
    }
}

/// The mean rate between two readings, rounded down; a counter that has begun anew has carried nothing.
fn rate((before, bytes_before): Reading, (now, bytes): Reading) -> Rate {
    let nanos = u128::from(now.as_nanos().saturating_sub(before.as_nanos())).max(1);
    let bytes = u128::from(bytes.saturating_sub(bytes_before));
    Rate::new(u64::try_from(bytes * 1_000_000_000 / nanos).unwrap_or(u64::MAX))
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
