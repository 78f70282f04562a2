//! What each class holds of each interface.

use flowspec::{Both, Direction, Moment, Rate};

use super::state::Ledger;
use crate::admission::account::footprint::Footprint;
use crate::admission::totals::{ClassTotals, Totals};
use crate::ordered::OrderedMap;

/// The numbers of an interface and of a class.
type Pair = (u32, u32);

#[derive(Clone, Copy, Default)]
struct HeldByClass {
    reserved: Both<u64>,
    flows: usize,
}

impl Ledger {
    /// What each class holds of each interface now, with its share of the budget; the classes of the policy, and those that
    /// flows have. In the order of the interfaces' names, then of the classes'.
    ///
    /// Costs time in proportion to the number of flows.
    pub fn class_totals(&self) -> Vec<ClassTotals> {
        let mut held: OrderedMap<Pair, HeldByClass> = OrderedMap::new();
        for entry in self.flows.slots().map(|slot| self.flows.entry(slot)) {
            if let Some(held) = add(&mut held, &entry.footprint, self.now) {
                held.flows += 1;
            }
        }
        for group in self.groups.values() {
            add(&mut held, &group.footprint, self.now);
        }
        let mut totals = Vec::new();
        for (interface, number) in self.interfaces.iter() {
            if self.accounts[number as usize].is_none() {
                continue;
            }
            let Some(of_interface) = self.totals(interface) else { continue };
            for (class, class_number) in self.classes.names.iter() {
                let held = held.get(&(number, class_number)).copied();
                if held.is_none() && self.classes.stated(class_number).is_none() {
                    continue;
                }
                let held = held.unwrap_or_default();
                let share = self.classes.settings(class_number).share;
                let total = |direction| {
                    let budget = of_interface.get(direction).budget;
                    Totals {
                        budget: share.map_or(budget, |share| share.of(budget)),
                        reserved: Rate::new(*held.reserved.get(direction)),
                    }
                };
                let both =
                    Both { sending: total(Direction::Sending), receiving: total(Direction::Receiving) };
                let (interface, class) = (interface.to_string(), class.to_string());
                totals.push(ClassTotals { interface, class, totals: both, flows: held.flows });
            }
        }
        totals
    }

    /// The class of a flow, if it is admitted and has one.
    pub fn flow_class(&self, id: &str) -> Option<&str> {
        let class = self.flows.get(id)?.footprint.class?;
        Some(self.classes.names.text(class))
    }
}

/// Adds what a footprint takes now to what its class holds; `None` where it has no class.
fn add<'a>(
    held: &'a mut OrderedMap<Pair, HeldByClass>,
    footprint: &Footprint,
    now: Moment,
) -> Option<&'a mut HeldByClass> {
    let held = held.entry((footprint.interface, footprint.class?)).or_default();
    let whole = [footprint.whole()];
    for step in footprint.steps.as_deref().unwrap_or(&whole) {
        if step.window.start > now || !step.window.ends_after(now) {
            continue;
        }
        for direction in Direction::BOTH {
            let sum = held.reserved.get_mut(direction);
            *sum = sum.saturating_add(step.charged.get(direction).get());
        }
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowspec::{Bytes, Flowspec, Qos};

    use super::*;
    use crate::admission::{GroupRequest, NewFlow, Operation, Request};
    use crate::policy::{GroupMode, Policy};

    const POLICY: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\", reservable = \"80%\" }\n\
        [class.viewer]\nshare = \"50%\"\n[class.studio]\n";

    fn check(ledger: &Ledger, expected: [(&str, u64, u64, usize); 2]) {
        let totals = ledger.class_totals();
        let found: Vec<_> = totals
            .iter()
            .map(|class| {
                let Totals { budget, reserved } = class.totals.sending;
                (class.class.as_str(), budget.get() / 125_000, reserved.get() / 125_000, class.flows)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn flows_and_groups_count_in_their_classes() {
        let policy: Policy = POLICY.parse().unwrap();
        let mut ledger = Ledger::new(Arc::new(policy));
        let request = |id: &str, megabits: u64, group: Option<&str>| {
            let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(9000)));
            let mut request = Request::new(NewFlow { id, interface: "eth0" }, qos);
            (request.class, request.group) = (Some("viewer".into()), group.map(str::to_owned));
            request
        };
        let decide = |ledger: &mut Ledger, operation: Operation| {
            let outcome = ledger.decide(Moment::START, &operation);
            assert!(outcome.decision.is_ok(), "{}", outcome.decision.message());
        };
        decide(&mut ledger, Operation::Reserve(Box::new(request("v1", 3, None).into())));
        check(&ledger, [("studio", 80, 0, 0), ("viewer", 40, 3, 1)]);
        let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(20), Bytes::new(90_000)));
        let (id, interface, class) = ("g".to_owned(), "eth0".to_owned(), Some("viewer".to_owned()));
        let group = GroupRequest { id, interface, class, mode: GroupMode::Envelope, qos };
        decide(&mut ledger, Operation::Group(Box::new(group)));
        decide(&mut ledger, Operation::Reserve(Box::new(request("v2", 5, Some("g")).into())));
        check(&ledger, [("studio", 80, 0, 0), ("viewer", 40, 23, 2)]);
        let mut later = request("v3", 7, None);
        later.start = Some(Moment::from_micros(1_000_000));
        decide(&mut ledger, Operation::Reserve(Box::new(later.into())));
        check(&ledger, [("studio", 80, 0, 0), ("viewer", 40, 23, 3)]);
        ledger.advance(Moment::from_micros(1_000_000));
        check(&ledger, [("studio", 80, 0, 0), ("viewer", 40, 30, 3)]);
        let reserved = ledger.totals("eth0").unwrap().sending.reserved;
        assert_eq!(
            reserved,
            Rate::from_mbit(30),
            "the sum of the classes is what the interface has reserved"
        );
    }
}
