//! The manager's state, and what can be read of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowspec::{Both, Bytes, ErrorTerms, Moment, Rate, TSpec};

use super::beginnings::Beginnings;
use super::flow::{FlowPhase, Lapsed, ManagedFlow};
use super::interface::{Interface, TreeState};
use super::marked::Marks;
use super::message::ChangeId;
use super::owed::Owed;
use super::pending::{AppliedRenegotiation, Deferred, Pending};
use super::recorded::RecordedGroups;
use super::turn::Records;
use crate::admission::{Ledger, NotProgrammed, Provable, Totals};
#[cfg(feature = "cli")]
use crate::admission::{Refusal, Request};
use crate::ordered::OrderedMap;
use crate::policy::Policy;
use crate::tc::{self, Desired, Handle};

/// The flows of a class in the kernel.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FlowsOfClass {
    /// One of them: the last by name.
    pub one: String,
    /// The sum of what they have reserved for sending.
    pub rate: Rate,
    /// Their group; `None` where they have none, or several.
    pub group: Option<String>,
    /// Whether it is the group's, whose members share one reservation.
    pub is_of_group: bool,
    /// Their class in the policy; `None` where they have none, or several.
    pub policy_class: Option<String>,
}

impl FlowsOfClass {
    /// The group whose members share it, or one of its flows.
    pub fn name(&self) -> &str {
        self.group.as_ref().filter(|_| self.is_of_group).unwrap_or(&self.one)
    }
}

/// The reducer: the ledger, the interfaces with their trees, and the flows, as one value.
#[derive(Debug)]
pub struct Manager {
    pub(super) ledger: Ledger,
    /// By name.
    pub(super) interfaces: OrderedMap<String, Interface>,
    /// The flows on those interfaces.
    pub(super) flows: BTreeMap<String, ManagedFlow>,
    /// The interfaces that the policy does not have any more, each with one of its flows.
    pub(super) dropped: OrderedMap<String, Option<String>>,
    /// What flows that have ended owe of their buckets.
    pub(super) owed: Owed,
    /// Flows that have lost their reservations and for which no [`Input::Spent`](super::Input::Spent) has come yet. The
    /// next input of another kind empties the map.
    pub(super) lapsed: OrderedMap<String, Lapsed>,
    pub(super) beginnings: Beginnings,
    /// The sockets that send to classes.
    pub(super) marks: Marks,
    /// The changes that the kernel has not answered, in the order in which they were sent.
    pub(super) pending: OrderedMap<ChangeId, Pending>,
    /// The phase of the flow that is requested on another interface just now.
    pub(super) rerouting: Option<FlowPhase>,
    /// Renegotiations that the kernel has answered, of flows whose displacement it has not answered yet.
    pub(super) renegotiations_to_conclude: Vec<AppliedRenegotiation>,
    /// Requests for interfaces whose tree is being set up, in the order they came.
    pub(super) deferred: Vec<Deferred>,
    /// The groups as the events have reported them; `None` while nothing receives events.
    pub(super) recorded: Option<RecordedGroups>,
    /// Whether an audit trail is kept.
    audits: bool,
    pub(super) last_change: u64,
    /// How many inputs were handled since the invariants were checked.
    #[cfg(debug_assertions)]
    pub(super) unchecked: usize,
}

/// An interface's state, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Budget and reserved rate.
    pub totals: Both<Totals>,
    /// Whether the kernel has a tree for it.
    pub kernel: Result<(), NotProgrammed>,
    /// How many admitted or provisional flows use the interface.
    pub flows: usize,
    /// The interface on whose wire the kernel says that it sends, or the bridge or the bond that it is in, where the policy
    /// names neither as the `parent` of the other: their budgets together may exceed the wire.
    pub shares_wire_with: Option<String>,
    /// Whether the policy does not have it any more: it is left with its last flow.
    pub dropped: bool,
}

/// C and D of the tree that an interface has in the kernel, for the largest number of flows that there may be.
///
/// `None` where the policy does not limit both the flows and their buckets, or
/// [`LinkRates::error_terms`](tc::LinkRates::error_terms) has no bound.
pub fn proven_error_terms(link: &Provable) -> Option<ErrorTerms> {
    let rates = tc::LinkRates { capacity: link.capacity, budget: link.budget };
    rates.error_terms(tc::Load { flows: link.max_flows?, buckets: link.buffer? })
}

impl Manager {
    /// A manager without flows, under this policy.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            ledger: Ledger::proving(policy, proven_error_terms),
            interfaces: OrderedMap::new(),
            flows: BTreeMap::new(),
            dropped: OrderedMap::new(),
            owed: Owed::default(),
            lapsed: OrderedMap::new(),
            beginnings: Beginnings::default(),
            marks: Marks::default(),
            pending: OrderedMap::new(),
            rerouting: None,
            renegotiations_to_conclude: Vec::new(),
            deferred: Vec::new(),
            recorded: None,
            audits: false,
            last_change: 0,
            #[cfg(debug_assertions)]
            unchecked: 0,
        }
    }

    /// From now on [`handle`](Self::handle) gives events as well. The first events report the groups that exist; flows
    /// that were admitted before are not reported.
    pub fn record_events(&mut self) {
        self.recorded.get_or_insert_default();
    }

    /// From now on [`handle`](Self::handle) gives no events.
    pub fn stop_recording_events(&mut self) {
        self.recorded = None;
    }

    /// Whether [`Self::record_events`] was called.
    pub const fn records_events(&self) -> bool {
        self.recorded.is_some()
    }

    /// From now on [`handle`](Self::handle) gives the facts of an audit trail as well. To be called before the first input:
    /// a trail begins with an empty ledger.
    pub fn record_audit(&mut self) {
        self.audits = true;
    }

    pub(super) const fn records(&self) -> Records {
        Records { events: self.records_events(), audit: self.audits }
    }

    /// To read totals and flows. Inputs alone change it.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether a flow would be admitted now without preemption. Nothing is reserved.
    ///
    /// - **Errors**: the refusal.
    #[cfg(feature = "cli")]
    pub(crate) fn consider(&mut self, request: &Request) -> Result<(), Refusal> {
        self.ledger.consider_alone(request)
    }

    /// The phase of a flow on an interface that has been seen.
    pub fn phase(&self, id: &str) -> Option<FlowPhase> {
        self.flows.get(id).map(|flow| flow.phase)
    }

    /// The tokens that the buckets of a flow that was admitted just now start without.
    ///
    /// More than its [`Admitted`](super::Admitted) says, where it has preempted flows whose [`Input::Spent`](super::Input::Spent) came since.
    pub fn missing(&self, id: &str) -> Both<Bytes> {
        self.flows.get(id).map_or_else(Both::default, |flow| flow.missing(self.owed.now()))
    }

    /// The interface's number and the class of a flow in the kernel.
    pub fn class(&self, id: &str) -> Option<(u32, Handle)> {
        let flow = self.flows.get(id)?;
        let interface = self.interfaces.get(&flow.interface)?;
        flow.class.map(|class| (interface.index, class))
    }

    /// Whether a flow has a class in the kernel that no other flow gets into.
    pub fn has_own_class(&self, id: &str) -> bool {
        let class = |flow: &ManagedFlow| Some((self.interfaces.get(&flow.interface)?, flow.class?));
        let own = |(interface, class): (&Interface, Handle)| {
            !tc::is_shared_class(class) && !interface.is_of_a_group(class)
        };
        self.flows.get(id).and_then(class).is_some_and(own)
    }

    /// The flows of each class.
    pub fn classes(&self, interface: &str) -> BTreeMap<Handle, FlowsOfClass> {
        let mut classes: BTreeMap<Handle, FlowsOfClass> = BTreeMap::new();
        for (id, flow) in self.flows.iter().filter(|(_, flow)| flow.interface == interface) {
            let Some(class) = flow.class else { continue };
            let rate = flow.grant.tspec.sending.as_ref().map_or(Rate::ZERO, TSpec::token_rate);
            let flows = classes.entry(class).or_insert_with(|| FlowsOfClass {
                policy_class: flow.counted_class.clone(),
                group: flow.group.clone(),
                ..FlowsOfClass::default()
            });
            if flows.policy_class != flow.counted_class {
                flows.policy_class = None;
            }
            if flows.group != flow.group {
                flows.group = None;
            }
            flows.one.clone_from(id);
            flows.rate = Rate::new(flows.rate.get().saturating_add(rate.get()));
        }
        for (group, class) in self.interfaces.get(interface).into_iter().flat_map(Interface::group_classes) {
            if let Some(flows) = classes.get_mut(&class) {
                (flows.group, flows.is_of_group) = (Some(group.to_owned()), true);
            }
        }
        classes
    }

    /// When the next flow begins or expires, or the next capacity begins to count.
    pub fn due(&self) -> Option<Moment> {
        self.ledger.due().into_iter().chain(self.beginnings.next()).min()
    }

    /// The kernel classes of the flows that are measured, by the policy's classes.
    pub fn measured(&self, interface: &str) -> BTreeMap<String, Vec<Handle>> {
        let mut measured: BTreeMap<String, Vec<Handle>> = BTreeMap::new();
        for flow in self.flows.values().filter(|flow| flow.interface == interface) {
            if let (Some(class), Some(handle)) = (&flow.measured, flow.class) {
                let handles = measured.entry(class.clone()).or_default();
                if !handles.contains(&handle) {
                    handles.push(handle);
                }
            }
        }
        measured
    }

    /// A measured flow's interface, class in the policy and class in the kernel.
    pub fn measured_class(&self, id: &str) -> Option<(String, String, Handle)> {
        let flow = self.flows.get(id)?;
        Some((flow.interface.clone(), flow.measured.clone()?, flow.class?))
    }

    /// The interfaces that have been seen, with their numbers.
    pub fn interfaces(&self) -> Vec<(String, u32)> {
        self.interfaces.iter().map(|(name, interface)| (name.clone(), interface.index)).collect()
    }

    /// The number of an interface that has been seen.
    pub fn index(&self, interface: &str) -> Option<u32> {
        self.interfaces
            .get(interface)
            .filter(|interface| !interface.is_gone())
            .map(|interface| interface.index)
    }

    /// Whether an interface has been seen and has no tree, so that its flows need no change in the kernel.
    pub fn is_in_user_space(&self, interface: &str) -> bool {
        let state = self.interfaces.get(interface).map(|interface| &interface.state);
        matches!(state, Some(TreeState::UserSpace(_)))
    }

    /// The tree that an interface has or is being given; `None` where it has none.
    pub fn desired(&self, interface: &str) -> Option<&Desired> {
        match &self.interfaces.get(interface)?.state {
            TreeState::Preparing(tree) | TreeState::Programmed(tree) | TreeState::Suspended(tree, _) => {
                Some(tree)
            }
            TreeState::UserSpace(_) => None,
        }
    }

    /// Whether an interface has been seen, and exists as far as is known.
    pub fn knows(&self, interface: &str) -> bool {
        self.interfaces.get(interface).is_some_and(|interface| !interface.is_gone())
    }

    /// The interface with this number, where it has been seen and exists as far as is known.
    pub fn interface(&self, index: u32) -> Option<&str> {
        let known = self.interfaces.iter();
        let mut named = known.filter(|(_, interface)| interface.index == index && !interface.is_gone());
        named.next().map(|(name, _)| name.as_str())
    }

    /// Whether the kernel's tree is to be read and compared with the desired one.
    pub fn is_in_doubt(&self, interface: &str) -> bool {
        self.interfaces.get(interface).is_some_and(Interface::is_in_doubt)
    }

    /// Whether the kernel cannot have an interface's tree at present: it is asked for no class.
    pub fn is_suspended(&self, interface: &str) -> bool {
        self.interfaces.get(interface).is_some_and(Interface::is_suspended)
    }

    /// Whether the kernel has not answered a change of an interface.
    pub fn is_changing(&self, interface: &str) -> bool {
        self.pending.values().any(|pending| pending.interface == interface)
    }

    /// Whether the kernel still has a tree that a stop is to delete.
    pub fn has_trees(&self) -> bool {
        let mut interfaces = self.interfaces.values();
        interfaces.any(|interface| interface.tree().is_some() && !interface.is_torn_down)
    }

    /// Why an interface has no tree at present, where it may get one later. `None` where it has one, and where its flows are
    /// always enforced in user space: under such a policy, and in a VRF.
    pub fn lacks_tree(&self, interface: &str) -> Option<&NotProgrammed> {
        match &self.interfaces.get(interface)?.state {
            TreeState::UserSpace(NotProgrammed::PolicySaysUserSpace | NotProgrammed::Vrf) => None,
            TreeState::UserSpace(why) => Some(why),
            _ => None,
        }
    }

    /// The state of an interface that the policy has, or that has flows.
    pub fn status(&self, interface: &str) -> Option<Status> {
        let dropped = self.is_dropped(interface);
        let totals = match dropped {
            true => self.ledger.dropped_totals(interface),
            false => self.ledger.totals(interface)?,
        };
        let flows = self.flows.values().filter(|flow| flow.interface == interface).count();
        let shares_wire_with = self.unrelated_below(interface).map(str::to_owned);
        Some(Status { totals, kernel: self.kernel(interface), flows, shares_wire_with, dropped })
    }

    /// Whether the kernel has a tree for an interface.
    pub(super) fn kernel(&self, interface: &str) -> Result<(), NotProgrammed> {
        match self.interfaces.get(interface) {
            None => Err(NotProgrammed::NotSeen),
            Some(interface) => interface.not_programmed().map_or(Ok(()), Err),
        }
    }

    /// Two equal stamps mean that nothing has changed in between: no reservation, budget, flow or waiting request, and
    /// no change for the kernel.
    #[cfg(feature = "host")]
    pub(crate) fn stamp(&self) -> [u64; 6] {
        let count = |count: usize| count as u64;
        let (flows, pending) = (count(self.flows.len()), count(self.pending.len()));
        let (deferred, applied) = (count(self.deferred.len()), count(self.renegotiations_to_conclude.len()));
        [self.ledger.bookings(), self.last_change, flows, pending, deferred, applied]
    }
}
