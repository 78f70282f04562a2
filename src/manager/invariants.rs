//! What holds after each input: checked in debug builds and in tests.

use super::flow::{FlowPhase, ManagedFlow};
use super::pending::{DisplacedFlow, Purpose};
use super::state::Manager;
use crate::ordered::OrderedSet;

/// With more flows than this a debug build checks one input in so many: a check takes time in proportion to the flows.
#[cfg(debug_assertions)]
const CHECKED_EACH_TIME: usize = 64;

impl Manager {
    /// Checks that ledger, flows, classes and pending changes agree.
    ///
    /// # Panics
    /// Where they do not, with what differs.
    pub fn invariants(&self) {
        for (name, interface) in &self.interfaces {
            interface.invariants(name);
            for (class, id) in interface.claims() {
                let claimed = self.flows.get(id).map(|flow| flow.claimed);
                assert_eq!(claimed, Some(Some(class)), "{name}: the claim of {id}");
            }
        }
        let mut members = 0;
        for (id, flow) in &self.flows {
            members += usize::from(self.check_class(id, flow));
            self.check_reservation(id, flow);
        }
        let classes = self
            .interfaces
            .values()
            .flat_map(|interface| interface.classes().map(|class| interface.members(class).count()));
        assert_eq!(classes.sum::<usize>(), members, "each flow is a member of one class");
        self.owed.invariants();
        self.check_pending();
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_sometimes(&mut self) {
        self.unchecked += 1;
        if self.flows.len() <= CHECKED_EACH_TIME || self.unchecked >= CHECKED_EACH_TIME {
            self.unchecked = 0;
            self.invariants();
        }
    }

    /// A flow is a member of its class unless that is being deleted: that of a flow which is preempted from another
    /// interface is deleted afterwards. Says whether it is.
    fn check_class(&self, id: &str, flow: &ManagedFlow) -> bool {
        let interface = self.interfaces.get(&flow.interface);
        let interface = interface.unwrap_or_else(|| panic!("{id}: {} has not been seen", flow.interface));
        let Some(class) = flow.class else { return false };
        let is_member = interface.members(class).any(|member| member == id);
        let keeps = match flow.phase {
            FlowPhase::Releasing => false,
            FlowPhase::Displaced => self.is_displaced_from_elsewhere(id, flow),
            FlowPhase::Applying | FlowPhase::Provisional | FlowPhase::Established => true,
        };
        assert_eq!(is_member, keeps, "{id} ({:?}) and the members of {class}", flow.phase);
        is_member
    }

    fn is_displaced_from_elsewhere(&self, id: &str, flow: &ManagedFlow) -> bool {
        self.pending.values().any(|pending| match &pending.purpose {
            Purpose::Admit { admission, .. } => {
                let displaces = admission.displaced.iter().any(|displaced| displaced.displaced.id == id);
                displaces && pending.interface != flow.interface
            }
            _ => false,
        })
    }

    /// The ledger has a flow's reservation unless it has taken that back.
    fn check_reservation(&self, id: &str, flow: &ManagedFlow) {
        let reserved = self.ledger.flow(id);
        match flow.phase {
            FlowPhase::Applying if flow.lost.is_some() => {}
            FlowPhase::Applying | FlowPhase::Provisional | FlowPhase::Established => {
                let (interface, charged) = reserved.unwrap_or_else(|| panic!("{id}: not in the ledger"));
                assert_eq!(interface, flow.interface, "{id}: the interface in the ledger");
                if flow.changing.is_none() {
                    assert_eq!(charged, flow.grant.charged, "{id}: the charge in the ledger");
                }
            }
            FlowPhase::Displaced => assert_eq!(reserved, None, "{id}: displaced and in the ledger"),
            FlowPhase::Releasing => {}
        }
    }

    /// Each pending change is for flows that wait for it, and each flow that waits has its change.
    fn check_pending(&self) {
        let (mut applying, mut displaced, mut releasing) =
            (OrderedSet::new(), OrderedSet::new(), OrderedSet::new());
        for pending in self.pending.values() {
            match &pending.purpose {
                Purpose::Admit { id, admission } => {
                    assert!(applying.insert(id), "{id} is admitted twice");
                    let flows = admission.displaced.iter().filter(|flow| is_displaced(flow));
                    displaced.extend(flows.map(|flow| &flow.displaced.id));
                }
                Purpose::Begin { id } => assert!(applying.insert(id), "{id} begins twice"),
                Purpose::Release { id, .. } => assert!(releasing.insert(id), "{id} is released twice"),
                _ => {}
            }
        }
        for (id, flow) in &self.flows {
            let expected = match flow.phase {
                FlowPhase::Applying => &mut applying,
                FlowPhase::Displaced => &mut displaced,
                FlowPhase::Releasing => &mut releasing,
                FlowPhase::Provisional | FlowPhase::Established => continue,
            };
            assert!(expected.remove(id), "{id} ({:?}) waits for no change", flow.phase);
        }
        for (phase, left) in [("applying", applying), ("displaced", displaced), ("releasing", releasing)] {
            assert!(left.is_empty(), "a change is pending for flows that are not {phase}: {left:?}");
        }
        for (id, flow) in &self.flows {
            let Some(change) = flow.changing else { continue };
            let purpose = self.pending.get(&change).map(|pending| &pending.purpose);
            let is_for = matches!(purpose, Some(Purpose::Renegotiate { id: flow, .. }) if flow == id);
            assert!(is_for, "{id} waits for {change:?}");
        }
    }
}

/// Whether a flow has the phase [`FlowPhase::Displaced`] until the kernel has answered.
const fn is_displaced(flow: &DisplacedFlow) -> bool {
    matches!(flow.phase, Some(FlowPhase::Provisional | FlowPhase::Established))
}
