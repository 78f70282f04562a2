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
const AT_ONCE: usize = 64;

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
        let mut sharing: HashMap<(&str, Handle), usize> = HashMap::new();
        for flow in &self.flows {
            if let Some(class) = flow.class {
                *sharing.entry((&flow.interface, class)).or_default() += 1;
            }
        }
        let mut sums = Sums::default();
        let mut own = Vec::with_capacity(self.flows.len());
        for flow in &self.flows {
            // The first flow of a class stands for all of them.
            let members = flow.class.and_then(|class| sharing.get_mut(&(flow.interface.as_str(), class)));
            let members = members.map_or(0, std::mem::take);
            let class = flow.class.map(|class| class.to_string());
            let traffic = class.and_then(|class| measured.of(&flow.interface, &class));
            let traffic = traffic.filter(|_| members > 0).map(|traffic| traffic.record(members));
            sums.add(flow, traffic.as_ref());
            own.push(traffic.filter(|_| members == 1));
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

impl Sums {
    fn add(&mut self, flow: &FlowRecord, traffic: Option<&TrafficRecord>) {
        if let Some(group) = &flow.group {
            let sum = self.groups.entry((flow.interface.clone(), group.clone())).or_default();
            sum.flows += 1;
            if let Some(traffic) = traffic {
                add(sum.traffic.get_or_insert_default(), traffic);
            }
        }
        let Some(traffic) = traffic else { return };
        if let Some(class) = &flow.policy_class {
            let key = (flow.interface.clone(), class.clone());
            add(self.classes.entry(key).or_default(), traffic);
        }
        match self.interfaces.get_mut(&flow.interface) {
            Some(sum) => add(sum, traffic),
            None => drop(self.interfaces.insert(flow.interface.clone(), *traffic)),
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
        FlowOrder::Class => a.policy_class.cmp(&b.policy_class),
        FlowOrder::Client => a.client.cmp(&b.client),
        FlowOrder::Group => a.group.cmp(&b.group),
        FlowOrder::Uid => a.uid.cmp(&b.uid),
    };
    first.then_with(|| a.id.cmp(&b.id))
}

fn used(flow: &FlowRecord) -> Option<Rate> {
    flow.traffic.as_ref().and_then(|traffic| traffic.used)
}
