//! The metrics of a daemon: its state at a scrape and its counters, as text for a collector.
//!
//! No series is about one flow: their number is bounded by those of interfaces, classes and groups, of which a collector gets
//! the first by name; `gqos_metrics_left_out` says how many it does not get.

use flowspec::{Both, Direction, Rate};

use super::counters::Counters;
use super::exposition::{Exposition, Family, FamilyKind, MetricLabel, MetricValue, MetricsFormat};
use super::traffic_metrics::{CLASS_TRAFFIC, GROUP_TRAFFIC, INTERFACE_TRAFFIC, traffic};
use crate::admission::{ClassTotals, PeerLoss, Reason, Totals};

pub use super::traffic_metrics::TrafficCounts;

/// The state of a daemon at a scrape, and its counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The daemon's version.
    pub version: String,
    /// Whether new flows are refused.
    pub draining: bool,
    /// How many clients are connected.
    pub connections: usize,
    /// How many reservations are held.
    pub flows: usize,
    /// How the policy's reloads went.
    pub reloads: ReloadCounts,
    /// The interfaces that have been seen.
    pub interfaces: Vec<InterfaceMetrics>,
    /// What each class holds of each interface.
    pub classes: Vec<ClassMetrics>,
    /// Those that come first by name, as many as a collector gets.
    pub groups: Vec<GroupMetrics>,
    /// How many groups there are besides these.
    pub groups_left_out: usize,
    /// How often each fact has happened.
    pub counters: Counters,
    /// Events that were lost, and are missing from `counters`.
    pub events_dropped: u64,
    /// How long requests for reservations took.
    pub admission: LatencyCounts,
    /// What the process takes of its host; `None` where that cannot be read.
    pub process: Option<ProcessUse>,
}

/// How the policy's reloads went.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReloadCounts {
    /// Those after which another policy held.
    pub succeeded: u64,
    /// Those that changed nothing.
    pub failed: u64,
    /// Whether the last one failed.
    pub last_failed: bool,
}

/// An interface that has been seen.
#[derive(Clone, Debug, Default)]
pub struct InterfaceMetrics {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// Budget and reserved rate.
    pub totals: Both<Totals>,
    /// Whether the kernel has a tree for it.
    pub is_programmed: bool,
    /// How many flows use it.
    pub flows: usize,
    /// Packets that bypassed every class; `None` where the kernel was not asked.
    pub direct_packets: Option<u32>,
    /// What the kernel has counted of its flows; `None` where it counts nothing.
    pub traffic: Option<TrafficCounts>,
}

/// A group of flows.
#[derive(Clone, Debug, Default)]
pub struct GroupMetrics {
    /// Its id.
    pub group: String,
    /// The link that all its members use.
    pub interface: String,
    /// What it is charged, and what its members are charged together.
    pub totals: Both<Totals>,
    /// What the kernel has counted of its members; `None` where it counts nothing.
    pub traffic: Option<TrafficCounts>,
}

/// A class of the policy on an interface.
#[derive(Clone, Debug)]
pub struct ClassMetrics {
    /// What it holds.
    pub totals: ClassTotals,
    /// What the kernel has counted of its flows; `None` where it counts nothing.
    pub traffic: Option<TrafficCounts>,
}

/// How many requests took how long.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LatencyCounts {
    /// By the bounds of [`LATENCY_BOUNDS`]; the last are those above all of them.
    pub counts: [u64; LATENCY_BOUNDS.len() + 1],
    /// Of all requests, in microseconds.
    pub sum_us: u64,
}

/// What a process takes of its host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProcessUse {
    /// Its time on processors, in microseconds.
    pub cpu_us: u64,
    /// Its memory that is not paged out.
    pub resident_bytes: u64,
    /// Its address space.
    pub virtual_bytes: u64,
    /// Its open descriptors.
    pub open_descriptors: u64,
    /// How many it may open.
    pub most_descriptors: u64,
    /// When it started, in microseconds since 1970.
    pub started_us: u64,
}

/// The upper bounds of the latency's buckets, in microseconds.
pub const LATENCY_BOUNDS: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// The most interfaces, pairs of an interface and a class, and groups that have series.
pub const MOST_INTERFACE_SERIES: usize = 128;
/// See [`MOST_INTERFACE_SERIES`].
pub const MOST_CLASS_SERIES: usize = 1024;
/// See [`MOST_INTERFACE_SERIES`].
pub const MOST_GROUP_SERIES: usize = 512;

const DIRECTIONS: [Direction; 2] = Direction::BOTH;

impl Metrics {
    /// The text for a collector.
    pub fn render(&self, format: MetricsFormat) -> String {
        let mut text = Exposition::new(format);
        self.daemon(&mut text);
        self.interfaces(&mut text);
        self.classes(&mut text);
        self.groups(&mut text);
        self.left_out(&mut text);
        counters(&mut text, &self.counters);
        let LatencyCounts { counts, sum_us } = &self.admission;
        text.histogram(ADMISSION, (&LATENCY_BOUNDS, counts), MetricValue::Micros(*sum_us));
        if let Some(process) = &self.process {
            process_use(&mut text, process);
        }
        text.end()
    }

    fn daemon(&self, text: &mut Exposition) {
        text.family(info("gqos_build", "The running version."));
        text.sample(&[("version", &self.version)], MetricValue::Count(1));
        text.single(gauge("gqos_draining", "1 while new flows are refused."), flag(self.draining));
        text.single(gauge("gqos_client_connections", "Clients that are connected."), count(self.connections));
        text.single(gauge("gqos_flows", "Reservations that clients of the daemon hold."), count(self.flows));
        let ReloadCounts { succeeded, failed, last_failed } = self.reloads;
        text.family(counter("gqos_policy_reloads", "Reloads of the policy by their result."));
        text.sample(&[("result", "success")], MetricValue::Count(succeeded));
        text.sample(&[("result", "failure")], MetricValue::Count(failed));
        let help = "0 if the last reload failed and the policy before it holds.";
        text.single(gauge("gqos_policy_last_reload_successful", help), flag(!last_failed));
        let help = "Events that the counters lack, since they were read too slowly.";
        text.single(counter("gqos_events_dropped", help), MetricValue::Count(self.events_dropped));
    }

    fn interfaces(&self, text: &mut Exposition) {
        let shown = &self.interfaces[..self.interfaces.len().min(MOST_INTERFACE_SERIES)];
        let of = |interface: &InterfaceMetrics| vec![("interface", interface.interface.clone())];
        totals(text, &INTERFACE_RATES, shown, (of, |interface| interface.totals));
        traffic(text, &INTERFACE_TRAFFIC, shown, (of, |interface| interface.traffic));
        text.family(gauge("gqos_interface_flows", "Flows that use the interface."));
        for interface in shown {
            text.sample(&[("interface", &interface.interface)], count(interface.flows));
        }
        text.family(gauge("gqos_interface_programmed", "1 if the kernel has a tree for the interface."));
        for interface in shown {
            text.sample(&[("interface", &interface.interface)], flag(interface.is_programmed));
        }
        let help = "Packets that bypassed every class, since the tree was programmed.";
        text.family(counter("gqos_interface_direct_packets", help));
        for interface in shown {
            if let Some(packets) = interface.direct_packets {
                text.sample(&[("interface", &interface.interface)], MetricValue::Count(packets.into()));
            }
        }
    }

    fn classes(&self, text: &mut Exposition) {
        let shown = &self.classes[..self.classes.len().min(MOST_CLASS_SERIES)];
        let of = |class: &ClassMetrics| {
            vec![("interface", class.totals.interface.clone()), ("class", class.totals.class.clone())]
        };
        totals(text, &CLASS_RATES, shown, (of, |class| class.totals.totals));
        traffic(text, &CLASS_TRAFFIC, shown, (of, |class| class.traffic));
        text.family(gauge("gqos_class_flows", "Flows of the class on the interface."));
        for ClassMetrics { totals: class, .. } in shown {
            let labels = [("interface", &*class.interface), ("class", &*class.class)];
            text.sample(&labels, count(class.flows));
        }
    }

    fn groups(&self, text: &mut Exposition) {
        let shown = &self.groups[..self.groups.len().min(MOST_GROUP_SERIES)];
        let of = |group: &GroupMetrics| {
            vec![("interface", group.interface.clone()), ("group", group.group.clone())]
        };
        totals(text, &GROUP_RATES, shown, (of, |group| group.totals));
        traffic(text, &GROUP_TRAFFIC, shown, (of, |group| group.traffic));
    }

    fn left_out(&self, text: &mut Exposition) {
        text.family(gauge("gqos_metrics_left_out", "Things without series, since there are too many."));
        let groups = self.groups.len().saturating_sub(MOST_GROUP_SERIES) + self.groups_left_out;
        let classes = self.classes.len().saturating_sub(MOST_CLASS_SERIES);
        let interfaces = self.interfaces.len().saturating_sub(MOST_INTERFACE_SERIES);
        for (kind, number) in [("interface", interfaces), ("class", classes), ("group", groups)] {
            text.sample(&[("kind", kind)], count(number));
        }
    }
}

/// Budget, reserved and available rate of something.
struct Rates([Family; 3]);

const UNIT: &str = "bytes_per_second";

const INTERFACE_RATES: Rates = Rates([
    rate("gqos_interface_budget_bytes_per_second", "What may be reserved of the interface."),
    rate("gqos_interface_reserved_bytes_per_second", "What flows and groups have reserved of the interface."),
    rate("gqos_interface_available_bytes_per_second", "What is left of the interface's budget."),
]);

const CLASS_RATES: Rates = Rates([
    rate("gqos_class_budget_bytes_per_second", "The class's share of the interface's budget."),
    rate("gqos_class_reserved_bytes_per_second", "What flows and groups of the class have reserved."),
    rate("gqos_class_available_bytes_per_second", "What is left of the class's share."),
]);

const GROUP_RATES: Rates = Rates([
    rate("gqos_group_budget_bytes_per_second", "What the group is charged."),
    rate("gqos_group_reserved_bytes_per_second", "What the group's members are charged together."),
    rate("gqos_group_available_bytes_per_second", "What is left of the group's charge."),
]);

const ADMISSION: Family = Family {
    name: "gqos_admission_duration_seconds",
    kind: FamilyKind::Histogram,
    unit: "seconds",
    help: "From a client's request for a reservation to the answer.",
};

/// Writes the three families of rates, each with a sample for each thing and direction.
fn totals<T>(
    text: &mut Exposition,
    Rates(families): &Rates,
    shown: &[T],
    (labels, totals): (impl Fn(&T) -> Vec<(&'static str, String)>, impl Fn(&T) -> Both<Totals>),
) {
    let values: [fn(&Totals) -> Rate; 3] =
        [|totals| totals.budget, |totals| totals.reserved, Totals::available];
    for (family, value) in families.iter().zip(values) {
        text.family(*family);
        for thing in shown {
            let (labels, totals) = (labels(thing), totals(thing));
            for direction in DIRECTIONS {
                let name = direction.to_string();
                let labels: Vec<MetricLabel<'_>> = labels
                    .iter()
                    .map(|(label, value)| (*label, value.as_str()))
                    .chain([("direction", name.as_str())])
                    .collect();
                text.sample(&labels, MetricValue::Count(value(totals.get(direction)).get()));
            }
        }
    }
}

fn counters(text: &mut Exposition, counters: &Counters) {
    text.single(counter("gqos_flows_admitted", "Flows that were admitted."), n(counters.flows_admitted));
    text.family(counter("gqos_flows_refused", "Requests for a flow that were refused, by their reason."));
    for reason in Reason::ALL {
        text.sample(
            &[("reason", reason.name())],
            n(counters.flows_refused.get(reason).copied().unwrap_or(0)),
        );
    }
    text.family(counter("gqos_requests_refused", "Other requests that were refused, by their reason."));
    for (reason, number) in &counters.requests_refused {
        text.sample(&[("reason", reason.name())], n(*number));
    }
    text.single(
        counter("gqos_flows_renegotiated", "Flows that got another rate."),
        n(counters.flows_renegotiated),
    );
    text.family(counter("gqos_flows_ended", "Flows whose reservations ended, by the cause."));
    let timed_out = |loss| counters.flows_timed_out.get(&loss).copied().unwrap_or(0);
    for (cause, number) in [
        ("released", counters.flows_released),
        ("preempted", counters.flows_preempted),
        ("shed", counters.flows_shed),
        ("link_gone", counters.flows_link_gone),
        ("expired", counters.flows_expired),
        ("dead", timed_out(PeerLoss::Dead)),
        ("stalled", timed_out(PeerLoss::Stalled)),
        ("not_enforced", counters.flows_not_enforced),
        ("rerouted", counters.flows_rerouted),
    ] {
        text.sample(&[("cause", cause)], n(number));
    }
    text.single(
        counter("gqos_requests_deferred", "Requests that waited for a tree."),
        n(counters.requests_deferred),
    );
    text.single(
        counter("gqos_requests_queued", "Requests that wait for capacity."),
        n(counters.requests_queued),
    );
    text.family(counter("gqos_tree_changes", "Changes of the kernel's trees, by their result."));
    text.sample(&[("result", "applied")], n(counters.trees_applied));
    text.sample(&[("result", "rolled_back")], n(counters.trees_rolled_back));
    let help = "Trees that something else had changed, and that were repaired.";
    text.single(counter("gqos_tree_repairs", help), n(counters.trees_changed));
    let help = "Root qdiscs of other programs under takeover = true, by what became of them.";
    text.family(counter("gqos_foreign_roots", help));
    for (outcome, number) in [
        ("taken_over", counters.roots_taken_over),
        ("restored", counters.roots_restored),
        ("not_restored", counters.roots_not_restored),
    ] {
        text.sample(&[("outcome", outcome)], n(number));
    }
    text.family(counter("gqos_link_changes", "Changes of links, by their kind."));
    for (change, number) in [
        ("prepared", counters.interfaces_prepared),
        ("user_space_alone", counters.interfaces_left_to_user_space),
        ("gone", counters.interfaces_gone),
        ("released", counters.interfaces_released),
        ("capacity", counters.capacities_changed),
        ("overcommitted", counters.interfaces_overcommitted),
        ("within_budget", counters.interfaces_within_budget),
    ] {
        text.sample(&[("change", change)], n(number));
    }
    text.single(
        counter("gqos_manager_faults", "Panics of the manager that were caught."),
        n(counters.manager_faulted),
    );
}

fn process_use(text: &mut Exposition, process: &ProcessUse) {
    let seconds = |name, kind, help| Family { name, kind, unit: "seconds", help };
    let bytes = |name, help| Family { name, kind: FamilyKind::Gauge, unit: "bytes", help };
    let cpu = seconds("process_cpu_seconds", FamilyKind::Counter, "Time on processors.");
    text.single(cpu, MetricValue::Micros(process.cpu_us));
    let start = seconds("process_start_time_seconds", FamilyKind::Gauge, "The start, since 1970.");
    text.single(start, MetricValue::Micros(process.started_us));
    text.single(bytes("process_resident_memory_bytes", "Memory in use."), n(process.resident_bytes));
    text.single(bytes("process_virtual_memory_bytes", "Address space."), n(process.virtual_bytes));
    text.single(gauge("process_open_fds", "Open descriptors."), n(process.open_descriptors));
    text.single(gauge("process_max_fds", "Descriptors that may be open."), n(process.most_descriptors));
}

const fn rate(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Gauge, unit: UNIT, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Gauge, unit: "", help }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Counter, unit: "", help }
}

const fn info(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Info, unit: "", help }
}

const fn n(number: u64) -> MetricValue {
    MetricValue::Count(number)
}

fn count(number: usize) -> MetricValue {
    MetricValue::Count(u64::try_from(number).unwrap_or(u64::MAX))
}

fn flag(is: bool) -> MetricValue {
    MetricValue::Count(u64::from(is))
}
