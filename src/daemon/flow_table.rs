//! The flows that hold reservations, with what the kernel has counted of them, and the sums of interfaces, classes and groups.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap};

use flowspec::{Micros, Rate};
use shaper::clock;

use super::holdings::Reservations;
use super::traffic::{MeasuredTraffic, add};
use crate::control::{FlowOrder, FlowRecord, FlowsCall, TrafficRecord};
use crate::engine::LocalEngine;
use crate::tc::Handle;

/// All flows, by their ids, and their sums.
#[derive(Debug, Default)]
pub(super) struct FlowTable {
    pub(super) flows: Vec<FlowRecord>,
    pub(super) interfaces: BTreeMap<String, TrafficRecord>,
    /// By interface and class of the policy.
    pub(super) classes: BTreeMap<(String, String), TrafficRecord>,
    /// By interface and group.
    pub(super) groups: BTreeMap<(String, String), GroupSum>,
}

/// The flows of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupSum {
    pub(super) flows: usize,
    pub(super) traffic: Option<TrafficRecord>,
}

/// How many flows are looked up at once: neither lock is held for longer than that takes, and other tasks run in between.
const AT_ONCE: usize = 128;

/// How many flows are compared with a text at once.
const COMPARED_AT_ONCE: usize = 512;

impl FlowTable {
    /// Reads all flows. Those that begin and end meanwhile may be there or not.
    pub(super) async fn read(engine: &LocalEngine, holdings: &Reservations) -> Self {
        let mut flows: Vec<FlowRecord> = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let shown = holdings.shown_after(after.as_deref(), AT_ONCE);
            let Some(last) = shown.last() else { break };
            after = Some(last.id.clone());
            let ids: Vec<_> = shown.iter().map(|shown| shown.id.clone()).collect();
            let mut snapshots = engine.flow_snapshots(&ids).into_iter().peekable();
            let now = clock::now();
            for shown in shown {
                // Both are in the order of the ids; what has just ended has no snapshot.
                let Some(snapshot) = snapshots.next_if(|flow| flow.holding.id == shown.id) else { continue };
                let age = now.saturating_since(shown.since).as_micros();
                flows.push(FlowRecord {
                    id: shown.id,
                    interface: snapshot.holding.interface,
                    charged: snapshot.holding.charged,
                    group: snapshot.holding.group,
                    class: snapshot.kernel_class,
                    policy_class: snapshot.class,
                    client: shown.client,
                    uid: shown.process.uid,
                    pid: shown.process.pid,
                    cookie: shown.cookie,
                    age_us: Micros::new(u64::try_from(age).unwrap_or(u64::MAX)),
                    traffic: None,
                });
            }
            tokio::task::yield_now().await;
        }
        Self { flows, ..Self::default() }
    }

    /// Adds what the kernel has counted. A class that several flows share is in the sums alone.
    pub(super) fn count(&mut self, measured: &MeasuredTraffic) {
        let mut sharing: HashMap<(&str, Handle), Sharing<'_>> = HashMap::new();
        for flow in &self.flows {
            if let Some(class) = flow.class {
                sharing.entry((&flow.interface, class)).or_insert_with(|| Sharing::new(flow)).add(flow);
            }
        }
        let mut sums = Sums::default();
        let mut own = Vec::with_capacity(self.flows.len());
        for flow in &self.flows {
            sums.member(flow);
            let shared = flow.class.and_then(|class| sharing.remove(&(flow.interface.as_str(), class)));
            let class = flow.class.map(|class| class.to_string());
            let traffic = class.and_then(|class| measured.of(&flow.interface, &class));
            // The first flow of a class stands for all of them.
            let (Some(shared), Some(traffic)) = (shared, traffic) else {
                own.push(None);
                continue;
            };
            let is_own = shared.flows == 1 && !traffic.is_of_a_group();
            let traffic = traffic.record(shared.flows);
            sums.add(&shared, &traffic);
            own.push(is_own.then_some(traffic));
        }
        let Sums { interfaces, classes, groups } = sums;
        (self.interfaces, self.classes, self.groups) = (interfaces, classes, groups);
        for (flow, traffic) in self.flows.iter_mut().zip(own) {
            flow.traffic = traffic;
        }
    }

    /// The flows of a user, or of all, as a call asks for them; and how many there are without its bounds.
    pub(super) async fn chosen(&self, only: Option<u32>, asked: &FlowsCall) -> (Vec<&FlowRecord>, usize) {
        let text = asked.contains.as_deref().unwrap_or_default().to_lowercase();
        let mut chosen = Vec::new();
        for flows in self.flows.chunks(COMPARED_AT_ONCE) {
            chosen.extend(flows.iter().filter(|flow| {
                only.is_none_or(|uid| uid == flow.uid)
                    && asked.interface.as_ref().is_none_or(|interface| *interface == flow.interface)
                    && (text.is_empty() || contains(flow, &text))
            }));
            if !text.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        let matching = chosen.len();
        let (first, most) = (asked.first.unwrap_or(0), asked.most.unwrap_or(usize::MAX));
        let end = first.saturating_add(most);
        let order = asked.sort.unwrap_or_default();
        if order != FlowOrder::Id {
            if end < chosen.len() {
                chosen.select_nth_unstable_by(end, |a, b| compare(order, a, b));
                chosen.truncate(end);
            }
            chosen.sort_unstable_by(|a, b| compare(order, a, b));
        }
        chosen.truncate(end);
        (chosen.split_off(first.min(chosen.len())), matching)
    }
}

/// What is added up.
#[derive(Default)]
struct Sums {
    interfaces: BTreeMap<String, TrafficRecord>,
    classes: BTreeMap<(String, String), TrafficRecord>,
    groups: BTreeMap<(String, String), GroupSum>,
}

/// The flows of one class of the kernel.
struct Sharing<'a> {
    flows: usize,
    first: &'a FlowRecord,
    /// Whether all have the same class of the policy, and the same group.
    has_one_class: bool,
    has_one_group: bool,
}

impl<'a> Sharing<'a> {
    /// Before the first flow is added.
    const fn new(first: &'a FlowRecord) -> Self {
        Self { flows: 0, first, has_one_class: true, has_one_group: true }
    }

    fn add(&mut self, flow: &FlowRecord) {
        self.flows += 1;
        self.has_one_class &= flow.policy_class == self.first.policy_class;
        self.has_one_group &= flow.group == self.first.group;
    }
}

impl Sums {
    fn member(&mut self, flow: &FlowRecord) {
        if let Some(group) = &flow.group {
            self.groups.entry((flow.interface.clone(), group.clone())).or_default().flows += 1;
        }
    }

    /// What is shared by flows of several classes or groups is in the sum of the interface alone.
    fn add(&mut self, shared: &Sharing<'_>, traffic: &TrafficRecord) {
        let Sharing { first, has_one_class, has_one_group, .. } = *shared;
        let interface = || first.interface.clone();
        if let Some(group) = first.group.as_ref().filter(|_| has_one_group) {
            let sum = self.groups.entry((interface(), group.clone())).or_default();
            add(sum.traffic.get_or_insert_default(), traffic);
        }
        if let Some(class) = first.policy_class.as_ref().filter(|_| has_one_class) {
            add(self.classes.entry((interface(), class.clone())).or_default(), traffic);
        }
        match self.interfaces.get_mut(&first.interface) {
            Some(sum) => add(sum, traffic),
            None => drop(self.interfaces.insert(interface(), *traffic)),
        }
    }
}

/// Whether a name of a flow contains a text of small letters.
fn contains(flow: &FlowRecord, text: &str) -> bool {
    let names = [Some(&flow.id), Some(&flow.interface), flow.policy_class.as_ref(), flow.client.as_ref()];
    let names = names.into_iter().chain([flow.group.as_ref()]).flatten();
    names.into_iter().any(|name| name.to_lowercase().contains(text))
}

fn compare(order: FlowOrder, a: &FlowRecord, b: &FlowRecord) -> Ordering {
    let both = |flow: &FlowRecord| flow.charged.sending.get().saturating_add(flow.charged.receiving.get());
    // What is not known comes after what is zero.
    let traffic = |value: &dyn Fn(&TrafficRecord) -> u64| {
        let of = |flow: &FlowRecord| Reverse(flow.traffic.as_ref().map(value));
        of(a).cmp(&of(b))
    };
    let first = match order {
        FlowOrder::Id => Ordering::Equal,
        FlowOrder::Interface => a.interface.cmp(&b.interface),
        FlowOrder::Rate => both(b).cmp(&both(a)),
        FlowOrder::Sending => b.charged.sending.cmp(&a.charged.sending),
        FlowOrder::Receiving => b.charged.receiving.cmp(&a.charged.receiving),
        FlowOrder::Used => used(b).cmp(&used(a)),
        FlowOrder::Delayed => traffic(&|traffic| traffic.delayed),
        FlowOrder::Dropped => traffic(&|traffic| traffic.dropped),
        FlowOrder::BelowPromise => traffic(&|traffic| traffic.below_promise_us.get()),
        FlowOrder::Age => b.age_us.get().cmp(&a.age_us.get()),
        FlowOrder::Class => named(a.policy_class.as_ref(), b.policy_class.as_ref()),
        FlowOrder::Client => named(a.client.as_ref(), b.client.as_ref()),
        FlowOrder::Group => named(a.group.as_ref(), b.group.as_ref()),
        FlowOrder::Uid => a.uid.cmp(&b.uid),
    };
    first.then_with(|| a.id.cmp(&b.id))
}

/// By name; those without one come last.
fn named(a: Option<&String>, b: Option<&String>) -> Ordering {
    (a.is_none(), a).cmp(&(b.is_none(), b))
}

fn used(flow: &FlowRecord) -> Option<Rate> {
    flow.traffic.as_ref().and_then(|traffic| traffic.used)
}

#[cfg(test)]
mod tests {
    use flowspec::{Both, Timestamp};

    use super::*;
    use crate::admission::Totals;
    use crate::engine::{ClassReport, InterfaceReport};
    use crate::manager::Status;

    /// A flow of a class of the policy in a class of the kernel.
    fn flow(
        id: &str,
        (class, group): (&str, Option<&str>),
        (kernel, sending): (Option<u32>, u64),
    ) -> FlowRecord {
        FlowRecord {
            id: id.into(),
            interface: "eth0".into(),
            charged: Both { sending: Rate::new(sending), receiving: Rate::ZERO },
            group: group.map(str::to_owned),
            class: kernel.map(Handle::from_u32),
            policy_class: Some(class.into()),
            client: None,
            uid: 7,
            pid: None,
            cookie: None,
            age_us: Micros::new(0),
            traffic: None,
        }
    }

    fn table() -> FlowTable {
        let flows = vec![
            flow("a", ("viewer", None), (Some(0x1_0010), 10)),
            flow("b", ("viewer", None), (Some(0x1_0011), 30)),
            flow("c", ("studio", None), (Some(0x1_0011), 20)),
            flow("d", ("viewer", Some("team")), (Some(0x1_0012), 30)),
            flow("e", ("viewer", Some("team")), (Some(0x1_0012), 5)),
            flow("f", ("viewer", None), (None, 5)),
            flow("g", ("viewer", Some("alone")), (Some(0x1_0013), 5)),
        ];
        let class = |kernel: u32, dropped: u32| ClassReport {
            class: Handle::from_u32(kernel).to_string(),
            flow: "x".into(),
            is_group: kernel == 0x1_0013,
            group: None,
            policy_class: None,
            rate: Rate::new(1000),
            sent_bytes: 0,
            dropped,
            delayed: 0,
            queued: 0,
            queued_bytes: 0,
            reserved: None,
        };
        let report = InterfaceReport {
            interface: "eth0".into(),
            status: Status {
                totals: Both::<Totals>::default(),
                kernel: Ok(()),
                flows: 6,
                shares_wire_with: None,
                dropped: false,
            },
            receiving: None,
            direct_packets: 0,
            classes: vec![
                class(0x1_0010, 1),
                class(0x1_0011, 10),
                class(0x1_0012, 100),
                class(0x1_0013, 1000),
            ],
        };
        let mut measured = MeasuredTraffic::default();
        measured.read(&[report], Timestamp::default());
        let mut table = FlowTable { flows, ..FlowTable::default() };
        table.count(&measured);
        table
    }

    #[test]
    fn a_shared_class_is_counted_once_and_is_no_flows_own() {
        let table = table();
        let own: Vec<_> =
            table.flows.iter().map(|flow| flow.traffic.map(|traffic| traffic.dropped)).collect();
        assert_eq!(own, [Some(1), None, None, None, None, None, None]);
        let counted = |traffic: &TrafficRecord| (traffic.flows, traffic.dropped);
        assert_eq!(counted(&table.interfaces["eth0"]), (6, 1111));
        // Flows of two classes share one: which of them has dropped is not known.
        let classes: Vec<_> =
            table.classes.iter().map(|((_, class), sum)| (class.as_str(), counted(sum))).collect();
        assert_eq!(classes, [("viewer", (4, 1101))]);
        let team = table.groups[&("eth0".to_owned(), "team".to_owned())];
        assert_eq!((team.flows, team.traffic.as_ref().map(counted)), (2, Some((2, 100))));
        let alone = table.groups[&("eth0".to_owned(), "alone".to_owned())];
        assert_eq!(
            alone.traffic.as_ref().map(counted),
            Some((1, 1000)),
            "its only member's class is the group's"
        );
    }

    #[tokio::test]
    async fn flows_are_sorted_and_cut_out() {
        let table = table();
        let check = async |asked: FlowsCall, only: Option<u32>, expected: &[&str], all: usize| {
            let (chosen, matching) = table.chosen(only, &asked).await;
            let ids: Vec<_> = chosen.iter().map(|flow| flow.id.as_str()).collect();
            assert_eq!((&ids[..], matching), (expected, all), "{asked:?}");
        };
        let call = |sort, first, most| FlowsCall { sort: Some(sort), first, most, ..FlowsCall::default() };
        check(FlowsCall::default(), None, &["a", "b", "c", "d", "e", "f", "g"], 7).await;
        check(call(FlowOrder::Sending, None, None), None, &["b", "d", "c", "a", "e", "f", "g"], 7).await;
        check(call(FlowOrder::Rate, Some(1), Some(2)), None, &["d", "c"], 7).await;
        check(call(FlowOrder::Rate, Some(5), Some(9)), Some(7), &["f", "g"], 7).await;
        check(call(FlowOrder::Rate, Some(9), Some(usize::MAX)), None, &[], 7).await;
        check(call(FlowOrder::Id, Some(4), Some(1)), None, &["e"], 7).await;
        check(call(FlowOrder::Dropped, None, Some(2)), None, &["a", "b"], 7).await;
        check(FlowsCall::default(), Some(8), &[], 0).await;
        // Those without a name, and without a number, come last.
        check(call(FlowOrder::Group, None, None), None, &["g", "d", "e", "a", "b", "c", "f"], 7).await;
        let contains = |text: &str| FlowsCall { contains: Some(text.into()), ..FlowsCall::default() };
        check(contains("TEAM"), None, &["d", "e"], 2).await;
        check(contains("studio"), None, &["c"], 1).await;
    }
}
