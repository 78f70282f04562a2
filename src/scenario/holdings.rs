//! What a policy can hold: how many flows of each template each interface admits, by class and by group.
//!
//! Nothing is computed from the policy's numbers: flows are submitted to an empty ledger, one after the other, until one
//! is refused. Whatever limits them in a running host limits them here, but for the limits of clients, preemption and
//! what only the kernel knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowspec::{Both, Direction, Qos, Rate};
use serde::Serialize;

use super::distinct::{ANY_INTERFACE, owner_for, with_any_interface};
use crate::admission::{GroupLimit, Ledger, NewFlow, Reason, Refusal, Request};
use crate::manager::proven_error_terms;
use crate::policy::{Capacity, GroupMode, InterfacePolicy, Place, Policy};

/// The most flows that are submitted for a whole policy; the remaining combinations are not counted.
const MOST_SUBMITTED: u64 = 300_000;

/// The most flows that are counted of one template.
const MOST_COUNTED: u64 = 100_000;

/// What each interface of a policy can hold.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Holdings {
    /// In the order of their names, those whose tables mean the same together.
    pub interfaces: Vec<InterfaceHoldings>,
    /// The combinations of an interface, a class or group and a template that were not counted, since the policy is too
    /// large.
    pub uncounted: u64,
}

/// What the interfaces with one table can hold, each of them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct InterfaceHoldings {
    /// Their names; "*" is every interface without a table of its own.
    pub names: Vec<String>,
    /// What may be reserved, groups included; `None` where only the kernel knows the capacity.
    pub reservable: Both<Option<Rate>>,
    /// For each class or group and each template, how many flows there may be if there are no others.
    pub fills: Vec<Fill>,
}

/// How many flows of one template a class or a group admits on an interface that has no other flows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fill {
    /// The class; `None` for flows without one.
    pub class: Option<String>,
    /// The group whose members are counted, if it is one.
    pub group: Option<String>,
    /// Every flow requests this template.
    pub template: String,
    /// How many flows are admitted, one after the other, before the first refusal.
    pub flows: u64,
    /// What refuses the next flow; `None` where counting stopped before one was refused.
    pub limit: Option<HoldingLimit>,
}

/// What limits a number of flows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct HoldingLimit {
    /// Why the next flow was refused.
    pub reason: Reason,
    /// The direction, if it is a limit of one.
    pub direction: Option<Direction>,
    /// The budget or share that is too small, if it is one.
    pub budget: Option<Rate>,
    /// The number of the group's flowspec that is too small, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_limit: Option<GroupLimit>,
}

/// A number of flows that is not the same under two policies.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct HoldingChange {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The class; `None` for flows without one.
    pub class: Option<String>,
    /// The group whose members are counted, if it is one.
    pub group: Option<String>,
    /// The template that both policies were filled with.
    pub template: String,
    /// The number under the old policy; `None` where it had no such combination.
    pub before: Option<u64>,
    /// The number under the new policy; `None` where it has no such combination.
    pub after: Option<u64>,
}

/// An interface, a class, a group and a template.
type Combination = (String, Option<String>, Option<String>, String);

impl Holdings {
    /// Counts what the interfaces of a policy can hold.
    ///
    /// A flow of each template is submitted in each class, and without a class where the policy has none or a rule gives
    /// none; members of each group that is charged its own flowspec are submitted as well. Templates that reserve nothing
    /// are left out.
    pub fn of(policy: &Policy) -> Self {
        let mut counter = Counter::new(policy);
        let interfaces = counter.tables().into_iter().map(|(names, interface)| {
            let reservable = interface.budgets.map(|budget| match budget.capacity {
                Capacity::Rate(rate) => Some(budget.reservable_of(rate)),
                Capacity::Auto => None,
            });
            let fills = counter.fills(&names[0]);
            InterfaceHoldings { names, reservable, fills }
        });
        let interfaces = interfaces.collect();
        Self { interfaces, uncounted: counter.uncounted }
    }

    /// The combinations of which two policies can hold different numbers of flows.
    pub fn changes(&self, after: &Self) -> Vec<HoldingChange> {
        let (before, after) = (self.by_combination(), after.by_combination());
        let combinations: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let differing = combinations.into_iter().filter_map(|combination| {
            let (before, after) = (before.get(combination).copied(), after.get(combination).copied());
            let (interface, class, group, template) = combination.clone();
            // What is not defined and what is always refused are the same to a flow.
            let is_same = before.unwrap_or_default() == after.unwrap_or_default();
            (!is_same).then_some(HoldingChange { interface, class, group, template, before, after })
        });
        differing.collect()
    }

    fn by_combination(&self) -> BTreeMap<Combination, u64> {
        let mut found = BTreeMap::new();
        for InterfaceHoldings { names, fills, .. } in &self.interfaces {
            for (name, fill) in names.iter().flat_map(|name| fills.iter().map(move |fill| (name, fill))) {
                let Fill { class, group, template, flows, .. } = fill.clone();
                found.insert((name.clone(), class, group, template), flows);
            }
        }
        found
    }
}

impl HoldingLimit {
    fn of(refusal: &Refusal) -> Self {
        let (direction, budget) = match refusal {
            Refusal::InterfaceBudget { direction, shortfall, .. }
            | Refusal::ClassShare { direction, shortfall, .. } => (Some(*direction), Some(shortfall.budget)),
            Refusal::FlowRate { direction, .. }
            | Refusal::Buffer { direction, .. }
            | Refusal::GroupBudget { direction, .. }
            | Refusal::Delay { direction, .. }
            | Refusal::Mtu { direction, .. }
            | Refusal::UnknownCapacity { direction, .. } => (Some(*direction), None),
            _ => (None, None),
        };
        let group_limit = match refusal {
            Refusal::GroupBudget { limit, .. } => Some(*limit),
            _ => None,
        };
        Self { reason: refusal.reason(), direction, budget, group_limit }
    }
}

/// Submits flows to copies of an empty ledger.
struct Counter<'a> {
    policy: &'a Policy,
    /// With the policy's groups, of which those that are charged their own flowspec take their part.
    empty: Ledger,
    /// How many more flows may be submitted for all counts together.
    left: u64,
    uncounted: u64,
}

impl<'a> Counter<'a> {
    fn new(policy: &'a Policy) -> Self {
        let empty = Ledger::proving(Arc::new(with_any_interface(policy)), proven_error_terms);
        Self { policy, empty, left: MOST_SUBMITTED, uncounted: 0 }
    }

    /// The interfaces of each table that means the same; one that has groups is on its own.
    fn tables(&self) -> Vec<(Vec<String>, &'a InterfacePolicy)> {
        let mut tables: Vec<(Vec<String>, &InterfacePolicy, InterfacePolicy)> = Vec::new();
        let with_groups: BTreeSet<_> =
            self.policy.groups.values().map(|group| group.interface.as_str()).collect();
        let named = self.policy.interfaces.iter().map(|(name, interface)| (name.as_str(), interface));
        let any = self.policy.any_interface.iter().map(|interface| (ANY_INTERFACE, interface));
        for (name, interface) in named.chain(any) {
            let meaning = InterfacePolicy { place: Place::default(), ..interface.clone() };
            let is_alone = |name: &str| with_groups.contains(name);
            let same = tables
                .iter_mut()
                .find(|(names, _, known)| *known == meaning && !is_alone(name) && !is_alone(&names[0]));
            match same {
                Some((names, ..)) => names.push(name.to_owned()),
                None => tables.push((vec![name.to_owned()], interface, meaning)),
            }
        }
        tables.into_iter().map(|(names, interface, _)| (names, interface)).collect()
    }

    /// What the classes and groups of an interface can hold.
    fn fills(&mut self, interface: &str) -> Vec<Fill> {
        let policy = self.policy;
        let gives_no_class = policy.classes.is_empty()
            || policy.rules.iter().any(|rule| rule.class.is_none() && rule.group.is_none());
        let classes = policy.classes.keys().map(Some).chain(gives_no_class.then_some(None));
        let groups = policy.groups.iter();
        let groups =
            groups.filter(|(_, group)| group.interface == interface && group.mode == GroupMode::Envelope);
        let holders = classes.map(|class| (class, None)).chain(groups.map(|(name, _)| (None, Some(name))));
        let mut fills = Vec::new();
        for (class, group) in holders {
            if self.left < self.copy() {
                self.uncounted += policy.templates.len() as u64;
                continue;
            }
            for (name, template) in &policy.templates {
                let mut request = Request::new(NewFlow { id: "", interface }, template.qos);
                (request.class, request.group) = (class.cloned(), group.cloned());
                let class_policy = class.and_then(|class| policy.classes.get(class));
                request.owner = class_policy.map(owner_for).unwrap_or_default();
                let Some((flows, limit)) = self.count(&request) else { continue };
                let (class, group, template) = (request.class, request.group, name.clone());
                fills.push(Fill { class, group, template, flows, limit });
            }
        }
        fills
    }

    /// What a copy of the ledger costs, in submissions: it is as large as its groups.
    fn copy(&self) -> u64 {
        1 + self.policy.groups.len() as u64
    }

    /// How many flows of a request are admitted, and why no more; `None` if each takes nothing, or if no more flows are
    /// submitted.
    fn count(&mut self, request: &Request) -> Option<(u64, Option<HoldingLimit>)> {
        let Qos { sending, receiving } = request.qos;
        if !sending.service_type.reserves() && !receiving.service_type.reserves() {
            return None;
        }
        if self.left < self.copy() {
            self.uncounted += 1;
            return None;
        }
        self.left -= self.copy();
        let mut ledger = self.empty.clone();
        let mut flows = 0;
        loop {
            if self.left == 0 || flows == MOST_COUNTED {
                return Some((flows, None));
            }
            self.left -= 1;
            match ledger.admit(&Request { id: flows.to_string(), ..request.clone() }) {
                Ok(grant) if grant.charged == Both::default() => return None,
                Ok(_) => flows += 1,
                Err(refusal) => return Some((flows, Some(HoldingLimit::of(&refusal)))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    fn holdings(lines: &str) -> Holdings {
        let text = format!("version = 1\n{lines}");
        let parsed = Policy::parse(&[Source { name: "p.toml", text: &text }]);
        Holdings::of(&parsed.expect("a policy").0)
    }

    /// Checks what each interface, class or group and template holds, and what limits it.
    #[track_caller]
    fn check(name: &str, lines: &str, expected: &[(&str, &str, &str, u64, &str)]) {
        let holdings = holdings(lines);
        let mut found = Vec::new();
        for InterfaceHoldings { names, fills, .. } in &holdings.interfaces {
            for Fill { class, group, template, flows, limit } in fills {
                let holder = class.as_ref().or(group.as_ref()).map_or("", String::as_str);
                let limit = limit.as_ref().map_or("none", |limit| limit.reason.name());
                found.push((names.join(" "), holder, template.as_str(), *flows, limit));
            }
        }
        let found: Vec<_> = found
            .iter()
            .map(|(names, holder, template, flows, limit)| {
                (names.as_str(), *holder, *template, *flows, *limit)
            })
            .collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(holdings.uncounted, 0, "{name}");
    }

    const ETH0: &str = "[interface.eth0]\negress = { capacity = \"100 Mbit/s\" }\n";
    const HD: &str =
        "[template.hd]\nsending = { service_type = \"guaranteed\", token_rate = \"6 Mbit/s\" }\n";
    const SD: &str =
        "[template.sd]\nsending = { service_type = \"guaranteed\", token_rate = \"2 Mbit/s\" }\n";

    #[test]
    fn flows_are_counted_until_a_limit_refuses_one() {
        let base = format!("{ETH0}{HD}");
        check("the interface's budget", &base, &[("eth0", "", "hd", 13, "interface_budget")]);
        let classes = "[class.a]\nshare = \"30 Mbit/s\"\n[class.b]\nmax_flows = 3\n[class.c]\nmax_rate = \"5 Mbit/s\"\n";
        check(
            "a limit of each class",
            &format!("{base}{SD}{classes}"),
            &[
                ("eth0", "a", "hd", 5, "class_share"),
                ("eth0", "a", "sd", 15, "class_share"),
                ("eth0", "b", "hd", 3, "class_flows"),
                ("eth0", "b", "sd", 3, "class_flows"),
                ("eth0", "c", "hd", 0, "flow_rate"),
                ("eth0", "c", "sd", 40, "interface_budget"),
            ],
        );
        let flows = base.replace("[template", "max_flows = 7\n[template");
        check("the interface's flows", &flows, &[("eth0", "", "hd", 7, "interface_flows")]);
        let owned = format!("{base}[class.c]\nmatch = {{ uid = 33 }}\n");
        check("a class of some owners", &owned, &[("eth0", "c", "hd", 13, "interface_budget")]);
        let best_effort = format!("{ETH0}[template.t]\nsending = {{ service_type = \"best_effort\" }}\n");
        check("what reserves nothing", &best_effort, &[]);
        let rule = format!("{base}[class.c]\n[[rule]]\ntemplate = \"hd\"\n");
        let both = [("eth0", "c", "hd", 13, "interface_budget"), ("eth0", "", "hd", 13, "interface_budget")];
        check("a rule without a class", &rule, &both);
    }

    #[test]
    fn groups_take_their_part_and_hold_members() {
        let group = "[group.g]\ninterface = \"eth0\"\nsending = { service_type = \"guaranteed\", token_rate = \"20 Mbit/s\" }\n";
        check(
            "an envelope of 20 Mbit/s leaves 60",
            &format!("{ETH0}{HD}{group}"),
            &[("eth0", "", "hd", 10, "interface_budget"), ("eth0", "g", "hd", 3, "group_budget")],
        );
    }

    #[test]
    fn interfaces_of_the_same_meaning_are_counted_once() {
        let second = ETH0.replace("eth0", "eth1");
        let any = "[interface.\"*\"]\negress = { capacity = \"auto\" }\n";
        let lines = format!("{ETH0}{second}{any}{HD}");
        let expected =
            [("eth0 eth1", "", "hd", 13, "interface_budget"), ("*", "", "hd", 0, "unknown_capacity")];
        check("a capacity that only the kernel knows", &lines, &expected);
        let holdings = holdings(&lines);
        assert_eq!(holdings.interfaces[0].reservable.sending, Some(Rate::from_mbit(80)));
        assert_eq!(holdings.interfaces[1].reservable, Both::default());
    }

    #[test]
    fn a_large_policy_is_counted_in_bounded_time() {
        let mut lines = ETH0.replace("100 Mbit/s", "400 Gbit/s");
        for number in 0..40 {
            lines.push_str(&SD.replace("sd", &format!("t{number}")).replace("2 Mbit/s", "16 kbit/s"));
        }
        let holdings = holdings(&lines);
        let submitted: u64 = holdings.interfaces[0].fills.iter().map(|fill| fill.flows).sum();
        assert!(submitted <= MOST_SUBMITTED, "{submitted} flows");
        let first = &holdings.interfaces[0].fills[0];
        assert_eq!((first.flows, &first.limit), (MOST_COUNTED, &None));
        assert_eq!(holdings.interfaces[0].fills.len() as u64 + holdings.uncounted, 40);
    }

    #[test]
    fn two_policies_are_compared_by_the_flows_they_hold() {
        let old = holdings(&format!("{ETH0}{HD}{SD}[class.c]\nmax_flows = 20\n"));
        let new = holdings(&format!("{ETH0}{HD}[class.c]\nshare = \"30 Mbit/s\"\n"));
        let change = |template: &str, before, after| HoldingChange {
            interface: "eth0".to_owned(),
            class: Some("c".to_owned()),
            group: None,
            template: template.to_owned(),
            before,
            after,
        };
        assert_eq!(old.changes(&new), [change("hd", Some(13), Some(5)), change("sd", Some(20), None)]);
        assert_eq!(old.changes(&old), []);
    }
}
