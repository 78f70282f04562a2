//! What the kernel's classes have counted since the daemon began to read them, as sums that never fall: for collectors of metrics.

use std::collections::BTreeMap;

use crate::engine::ClassReport;
use crate::telemetry::metrics::{MOST_CLASS_SERIES, MOST_GROUP_SERIES, MOST_INTERFACE_SERIES, TrafficCounts};

/// The sums of interfaces, classes of the policy and groups.
#[derive(Debug, Default)]
pub(super) struct TrafficSums {
    interfaces: BTreeMap<String, Sum>,
    /// By interface and class.
    classes: BTreeMap<(String, String), Sum>,
    /// By interface and group.
    groups: BTreeMap<(String, String), Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    counts: TrafficCounts,
    /// The last reading had a class of it.
    is_read: bool,
}

impl TrafficSums {
    /// Another reading begins: rates are those of one reading.
    pub(super) fn begin(&mut self) {
        let sums =
            self.interfaces.values_mut().chain(self.classes.values_mut()).chain(self.groups.values_mut());
        for sum in sums {
            sum.is_read = false;
            sum.counts.begin();
        }
    }

    /// Adds what a class of an interface has counted since the reading before.
    pub(super) fn add(&mut self, (interface, class): (&str, &ClassReport), counted: &TrafficCounts) {
        let key = |name: &String| (interface.to_owned(), name.clone());
        let sums = [
            Some(self.interfaces.entry(interface.to_owned()).or_default()),
            class.policy_class.as_ref().map(|class| self.classes.entry(key(class)).or_default()),
            class.group.as_ref().map(|group| self.groups.entry(key(group)).or_default()),
        ];
        for sum in sums.into_iter().flatten() {
            sum.is_read = true;
            sum.counts.add(counted);
        }
    }

    /// Forgets those that were not read where there are more than twice as many as have series.
    pub(super) fn bound(&mut self) {
        bound(&mut self.interfaces, MOST_INTERFACE_SERIES);
        bound(&mut self.classes, MOST_CLASS_SERIES);
        bound(&mut self.groups, MOST_GROUP_SERIES);
    }

    /// The sum of an interface.
    #[cfg(any(test, feature = "cli"))]
    pub(super) fn interface(&self, interface: &str) -> TrafficCounts {
        self.interfaces.get(interface).map(|sum| sum.counts).unwrap_or_default()
    }

    /// The sum of a class of the policy on an interface.
    #[cfg(any(test, feature = "cli"))]
    pub(super) fn class(&self, interface: &str, class: &str) -> TrafficCounts {
        let key = (interface.to_owned(), class.to_owned());
        self.classes.get(&key).map(|sum| sum.counts).unwrap_or_default()
    }

    /// The sum of a group on an interface.
    #[cfg(any(test, feature = "cli"))]
    pub(super) fn group(&self, interface: &str, group: &str) -> TrafficCounts {
        let key = (interface.to_owned(), group.to_owned());
        self.groups.get(&key).map(|sum| sum.counts).unwrap_or_default()
    }
}

fn bound<K: Ord>(sums: &mut BTreeMap<K, Sum>, most: usize) {
    if sums.len() > most.saturating_mul(2) {
        sums.retain(|_, sum| sum.is_read);
    }
}

#[cfg(test)]
mod tests {
    use flowspec::{Bytes, Rate, Timestamp};

    use super::super::traffic::MeasuredTraffic;
    use super::*;
    use crate::admission::Totals;
    use crate::engine::{InterfaceReport, SentOfReserved};
    use crate::manager::Status;

    /// A class for 1000 bytes per second that sends half of it, with packets that wait.
    fn class(number: u32, (flow, policy_class): (&str, &str), (sent, dropped): (u64, u32)) -> ClassReport {
        ClassReport {
            class: format!("6771:{number}"),
            flow: flow.into(),
            is_group: policy_class == "shared",
            group: (policy_class == "shared").then(|| flow.into()),
            policy_class: Some(policy_class.into()),
            rate: Rate::new(1000),
            sent_bytes: sent,
            dropped,
            delayed: dropped * 2,
            queued: 9,
            queued_bytes: 900,
            reserved: Some(SentOfReserved { rate: Rate::new(1000), sent: Bytes::new(sent) }),
        }
    }

    fn report(classes: Vec<ClassReport>) -> InterfaceReport {
        let totals = flowspec::Both::<Totals>::default();
        let status = Status { totals, kernel: Ok(()), flows: 0, shares_wire_with: None, dropped: false };
        InterfaceReport { interface: "eth0".into(), status, receiving: None, direct_packets: 0, classes }
    }

    #[test]
    fn sums_never_fall_and_rates_are_those_of_the_last_reading() {
        let mut measured = MeasuredTraffic::default();
        let mut read = |second: u64, classes: Vec<ClassReport>| {
            measured.read(&[report(classes)], Timestamp::from_micros(second * 1_000_000));
            let sums = measured.sums();
            let (eth0, viewer) = (sums.interface("eth0"), sums.class("eth0", "viewer"));
            (
                (eth0.dropped, viewer.dropped, viewer.delayed),
                (viewer.used.get(), viewer.not_kept, viewer.below_promise_us),
            )
        };
        let viewer = |dropped, sent| class(1, ("v", "viewer"), (sent, dropped));
        let group = |dropped| class(2, ("g", "shared"), (0, dropped));
        assert_eq!(read(1, vec![viewer(3, 0), group(10)]), ((13, 3, 6), (0, 0, 0)));
        let second = read(2, vec![viewer(5, 500), group(10)]);
        assert_eq!(second, ((15, 5, 10), (500, 1, 1_000_000)));
        // The class is the next flow's, and its counters have begun anew.
        assert_eq!(read(3, vec![class(1, ("w", "viewer"), (9, 1))]), ((16, 6, 12), (0, 0, 1_000_000)));
        assert_eq!(read(4, vec![]), ((16, 6, 12), (0, 0, 1_000_000)), "without a flow");
        assert_eq!(measured.sums().group("eth0", "g").dropped, 10);
        assert_eq!(measured.sums().class("eth1", "viewer"), TrafficCounts::default());
    }

    #[test]
    fn the_number_of_sums_is_bounded() {
        let mut sums = TrafficSums::default();
        for number in 0..MOST_GROUP_SERIES * 5 {
            sums.begin();
            sums.add(
                ("eth0", &class(1, (&format!("g{number}"), "shared"), (0, 0))),
                &TrafficCounts::default(),
            );
            sums.bound();
            assert!(sums.groups.len() <= MOST_GROUP_SERIES * 2 + 1);
        }
        assert_eq!((sums.interfaces.len(), sums.classes.len()), (1, 1));
    }
}
