//! What the kernel counts of flows, as metrics of interfaces, classes and groups.

use flowspec::Rate;

use super::exposition::{Exposition, Family, FamilyKind, MetricLabel, MetricValue};

/// What the kernel has counted of some flows. The counts never fall; the rate and the number of promises are those of the last
/// reading.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TrafficCounts {
    /// What was sent between the last two readings, link headers included.
    pub used: Rate,
    /// How often a class has run out of tokens, so that packets waited.
    pub delayed: u64,
    /// Packets that queues dropped.
    pub dropped: u64,
    /// For how long promises were not kept, in microseconds.
    pub below_promise_us: u64,
    /// For how long that was watched.
    pub watched_us: u64,
    /// The classes of the kernel whose promise was not kept at the last reading.
    pub not_kept: u64,
}

impl TrafficCounts {
    /// Another reading begins.
    pub fn begin(&mut self) {
        (self.used, self.not_kept) = (Rate::ZERO, 0);
    }

    /// Adds what other flows have counted.
    pub fn add(&mut self, other: &Self) {
        let Self { used, delayed, dropped, below_promise_us, watched_us, not_kept } = *other;
        self.used = Rate::new(self.used.get().saturating_add(used.get()));
        for (sum, part) in [
            (&mut self.delayed, delayed),
            (&mut self.dropped, dropped),
            (&mut self.below_promise_us, below_promise_us),
            (&mut self.watched_us, watched_us),
            (&mut self.not_kept, not_kept),
        ] {
            *sum = sum.saturating_add(part);
        }
    }
}

/// The families of something, in the order of [`values`].
pub(super) struct TrafficFamilies([Family; 6]);

macro_rules! families {
    ($of:literal) => {
        TrafficFamilies([
            family(concat!("gqos_", $of, "_used_bytes_per_second"), (FamilyKind::Gauge, "bytes_per_second"), "What the kernel's classes of the flows send, link headers included."),
            family(concat!("gqos_", $of, "_delays"), (FamilyKind::Counter, ""), "How often a class had no tokens left, so that packets waited."),
            family(concat!("gqos_", $of, "_dropped_packets"), (FamilyKind::Counter, ""), "Packets that the queues of the flows have dropped."),
            family(concat!("gqos_", $of, "_below_promise_seconds"), (FamilyKind::Counter, "seconds"), "Time for which packets of a flow were dropped or waited though its class sent less than its rate."),
            family(concat!("gqos_", $of, "_watched_seconds"), (FamilyKind::Counter, "seconds"), "Time for which the promises of flows were watched."),
            family(concat!("gqos_", $of, "_promises_not_kept"), (FamilyKind::Gauge, ""), "Classes of the kernel whose promise was not kept at the last reading."),
        ])
    };
}

pub(super) const INTERFACE_TRAFFIC: TrafficFamilies = families!("interface");
pub(super) const CLASS_TRAFFIC: TrafficFamilies = families!("class");
pub(super) const GROUP_TRAFFIC: TrafficFamilies = families!("group");

/// Writes the families, each with a sample for each thing of which the kernel counts something.
pub(super) fn traffic<T>(
    text: &mut Exposition,
    TrafficFamilies(families): &TrafficFamilies,
    shown: &[T],
    (labels, counts): (impl Fn(&T) -> Vec<(&'static str, String)>, impl Fn(&T) -> Option<TrafficCounts>),
) {
    for (index, family) in families.iter().enumerate() {
        text.family(*family);
        for thing in shown {
            let Some(counts) = counts(thing) else { continue };
            let labels = labels(thing);
            let labels: Vec<MetricLabel<'_>> =
                labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
            if let Some(value) = values(&counts).get(index) {
                text.sample(&labels, *value);
            }
        }
    }
}

/// The values of the families, in their order.
const fn values(counts: &TrafficCounts) -> [MetricValue; 6] {
    let TrafficCounts { used, delayed, dropped, below_promise_us, watched_us, not_kept } = *counts;
    [
        MetricValue::Count(used.get()),
        MetricValue::Count(delayed),
        MetricValue::Count(dropped),
        MetricValue::Micros(below_promise_us),
        MetricValue::Micros(watched_us),
        MetricValue::Count(not_kept),
    ]
}

const fn family(name: &'static str, (kind, unit): (FamilyKind, &'static str), help: &'static str) -> Family {
    Family { name, kind, unit, help }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::metrics::{InterfaceMetrics, Metrics};
    use crate::telemetry::{MetricsFormat, metrics::TrafficCounts};

    #[test]
    fn what_is_not_counted_has_no_sample() {
        let samples = |traffic| {
            let interface =
                InterfaceMetrics { interface: "eth0".into(), traffic, ..InterfaceMetrics::default() };
            let metrics = Metrics { interfaces: vec![interface], ..Metrics::default() };
            metrics
                .render(MetricsFormat::OpenMetrics)
                .matches("gqos_interface_used_bytes_per_second{")
                .count()
        };
        assert_eq!((samples(None), samples(Some(TrafficCounts::default()))), (0, 1));
    }
}
