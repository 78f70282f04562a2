//! What the page shows, as values.

use flowspec::{Both, Moment, Rate};

use super::counted::SeenRefusal;
use super::rates::FlowRate;
use crate::admission::{ClassTotals, Totals};
use crate::engine::{EngineSnapshot, FlowSnapshot};
use crate::manager::Status;

/// The most flows that the page lists.
pub(super) const MOST_FLOWS: usize = 200;

/// What the page shows.
pub(super) struct View {
    pub(super) version: &'static str,
    pub(super) pid: u32,
    pub(super) policy: Vec<String>,
    pub(super) draining: bool,
    pub(super) connections: usize,
    /// How many reservations are held, of which `flows` are the first.
    pub(super) held: usize,
    pub(super) interfaces: Vec<InterfaceView>,
    pub(super) classes: Vec<ClassView>,
    pub(super) flows: Vec<FlowView>,
    pub(super) refusals: Vec<SeenRefusal>,
    /// Of the engine's clock.
    pub(super) now: Moment,
}

pub(super) struct InterfaceView {
    pub(super) interface: String,
    pub(super) totals: Both<Totals>,
    /// What the link carries, link headers included.
    pub(super) used: Both<Option<Rate>>,
    pub(super) flows: usize,
    /// Why the kernel has no tree.
    pub(super) not_programmed: Option<String>,
}

pub(super) struct ClassView {
    pub(super) class: ClassTotals,
    /// What the kernel's classes of its flows send, link headers included.
    pub(super) used: Both<Option<Rate>>,
}

pub(super) struct FlowView {
    pub(super) flow: FlowSnapshot,
    pub(super) uid: u32,
    pub(super) pid: Option<u32>,
    pub(super) rate: Option<FlowRate>,
}

/// Whether a flow gets what it has reserved, by what the kernel counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Promise {
    /// No packet waited for so long that it was dropped.
    Kept,
    /// Packets are dropped, and it sends at its rate: it sends more than it has reserved.
    Exceeded,
    /// Packets are dropped although it sends less than it has reserved.
    NotKept,
    /// The kernel counts nothing of it.
    Unknown,
}

impl FlowView {
    /// Whether it gets what it has reserved for sending.
    pub(super) fn promise(&self) -> Promise {
        let reserved = u128::from(self.flow.holding.charged.sending.get());
        match (self.flow.kernel_class, self.rate) {
            (None, _) | (_, None) => Promise::Unknown,
            _ if reserved == 0 => Promise::Unknown,
            (_, Some(rate)) if rate.dropped == 0 => Promise::Kept,
            // The rate has link headers in it, and a reading may begin within a burst.
            (_, Some(rate)) if u128::from(rate.sent.get()) * 100 >= reserved * 95 => Promise::Exceeded,
            (_, Some(_)) => Promise::NotKept,
        }
    }
}

/// The interfaces of a snapshot, with what they carry.
pub(super) fn interfaces(
    snapshot: &EngineSnapshot,
    used: impl Fn(&str) -> Option<Both<Rate>>,
) -> Vec<InterfaceView> {
    let view = |(interface, status): &(String, Status)| InterfaceView {
        interface: interface.clone(),
        totals: status.totals,
        used: used(interface).map_or_else(Both::default, |used| used.map(Some)),
        flows: status.flows,
        not_programmed: status.kernel.as_ref().err().map(ToString::to_string),
    };
    snapshot.interfaces.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Holding;
    use crate::tc::Handle;

    #[track_caller]
    fn check(kernel_class: Option<Handle>, rate: Option<(u64, u32)>, expected: Promise) {
        let charged = Both { sending: Rate::new(1000), receiving: Rate::ZERO };
        let holding = Holding { id: "v".into(), interface: "eth0".into(), charged, group: None };
        let rate = rate.map(|(sent, dropped)| FlowRate { sent: Rate::new(sent), dropped });
        let flow = FlowSnapshot { holding, class: None, kernel_class };
        assert_eq!(FlowView { flow, uid: 0, pid: None, rate }.promise(), expected);
    }

    #[test]
    fn a_promise_is_judged_by_what_the_kernel_counts() {
        let class = Some(Handle::from_u32(0x1_0010));
        check(None, None, Promise::Unknown);
        check(class, None, Promise::Unknown);
        check(class, Some((0, 0)), Promise::Kept);
        check(class, Some((1000, 0)), Promise::Kept);
        check(class, Some((950, 3)), Promise::Exceeded);
        check(class, Some((949, 3)), Promise::NotKept);
    }
}
