//! What flows receive: the tree of an interface's ifb, and the traffic of each flow in it.

use flowspec::{Bytes, Direction, Micros, Rate, Ratio};

use super::flow::ManagedFlow;
use super::message::ChangeId;
use super::pending::Purpose;
use super::state::Manager;
use crate::admission::{Grant, Ledger, NotProgrammed};
use crate::policy::GroupMode;
use crate::tc::{Framed, LinkRates, LinkShape};

impl Manager {
    /// The link for which an interface's ifb gets its tree; `None` where it can have none.
    pub fn receiving_shape(&self, interface: &str) -> Option<LinkShape> {
        let mtu = self.interfaces.get(interface)?.mtu;
        receiving_shape(&self.ledger, interface, mtu).filter(|shape| shape.rates.capacity > Rate::ZERO)
    }

    /// The flow that is to have a class for what it receives together with a change that the kernel has not answered, and
    /// its traffic.
    pub fn receiving_part(&self, change: ChangeId) -> Option<(String, Framed)> {
        let (id, grant) = match &self.pending.get(&change)?.purpose {
            Purpose::Admit { id, .. } => (id, &self.flows.get(id)?.grant),
            Purpose::Renegotiate { id, renegotiation } => (id, &renegotiation.grant),
            _ => return None,
        };
        Some((id.clone(), self.receiving_class(id, grant)?))
    }

    /// The traffic of the class that a flow is to have for what it receives, where it is to have one.
    pub(super) fn receiving_class(&self, id: &str, grant: &Grant) -> Option<Framed> {
        let flow = self.flows.get(id)?;
        self.kernel(&flow.interface).ok()?;
        self.receiving_shape(&flow.interface)?;
        self.received(flow, grant).ok()
    }

    /// The traffic that a flow receives.
    ///
    /// - **Errors**: why it has no class for it. A flow that reserves nothing for receiving is not seen.
    pub fn receives(&self, id: &str) -> Result<Framed, NotProgrammed> {
        let flow = self.flows.get(id).ok_or(NotProgrammed::NotSeen)?;
        self.received(flow, &flow.grant)
    }

    fn received(&self, flow: &ManagedFlow, grant: &Grant) -> Result<Framed, NotProgrammed> {
        let tspec = grant.tspec.receiving.as_ref().ok_or(NotProgrammed::NotSeen)?;
        let shares = |group: &String| self.ledger.group_mode(group) == Some(GroupMode::Shared);
        if flow.group.as_ref().is_some_and(shares) {
            return Err(NotProgrammed::GroupSharesReservation);
        }
        if flow.begins.is_some() {
            return Err(NotProgrammed::BeginsLater);
        }
        Ok(Framed::new(tspec, grant.charged.receiving))
    }
}

/// The link for which an interface's ifb gets its tree; `None` while the capacity is unknown, and where the policy has no
/// budget.
fn receiving_shape(ledger: &Ledger, interface: &str, mtu: Bytes) -> Option<LinkShape> {
    /// A tree that is slower than the link builds the queue on this machine, and the rest of the link's rate drains the
    /// queue that a burst has built before the link.
    const PART: Ratio = Ratio::percent(95);
    let direction = Direction::Receiving;
    let carries = ledger.capacity(interface, direction)?;
    let budget = ledger.policy().interface(interface)?.budget(direction).reservable_of(carries);
    let capacity = carries.scale_down(PART);
    let budget = budget.min(capacity);
    Some(LinkShape { rates: LinkRates { capacity, budget }, mtu, wait: Micros::new(0) })
}
