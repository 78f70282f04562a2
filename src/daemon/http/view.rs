//! What the page shows, as values.

use flowspec::{Both, Moment, Rate};

use super::counted::SeenRefusal;
use crate::admission::{ClassTotals, Totals};
use crate::control::{FlowRecord, TrafficRecord};
use crate::daemon::flow_table::FlowTable;
use crate::daemon::traffic::{MeasuredTraffic, Promise};
use crate::engine::EngineSnapshot;
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
    /// What the kernel has counted of its flows.
    pub(super) traffic: Option<TrafficRecord>,
    /// Why the kernel has no tree.
    pub(super) not_programmed: Option<String>,
}

pub(super) struct ClassView {
    pub(super) class: ClassTotals,
    /// What the kernel's classes of its flows send, link headers included.
    pub(super) used: Both<Option<Rate>>,
    pub(super) traffic: Option<TrafficRecord>,
}

pub(super) struct FlowView {
    pub(super) flow: FlowRecord,
    /// Whether it gets what it has reserved for sending.
    pub(super) promise: Promise,
    /// Packets that its class has dropped lately.
    pub(super) dropped: u32,
}

/// The first flows of a table.
pub(super) fn first_flows(table: &FlowTable, measured: &MeasuredTraffic) -> Vec<FlowView> {
    let view = |flow: &FlowRecord| {
        // Without a record of its own, its class is of several flows.
        let class = flow.traffic.and(flow.class).map(|class| class.to_string());
        let traffic = class.and_then(|class| measured.of(&flow.interface, &class));
        let reserves = flow.charged.sending > Rate::ZERO;
        let promise = traffic.filter(|_| reserves).map_or(Promise::Unknown, |traffic| traffic.promise());
        FlowView {
            flow: flow.clone(),
            promise,
            dropped: traffic.map_or(0, |traffic| traffic.dropped_lately()),
        }
    };
    table.flows.iter().take(MOST_FLOWS).map(view).collect()
}

/// The interfaces of a snapshot, with what they carry.
pub(super) fn interfaces(
    snapshot: &EngineSnapshot,
    table: &FlowTable,
    used: impl Fn(&str) -> Option<Both<Rate>>,
) -> Vec<InterfaceView> {
    let view = |(interface, status): &(String, Status)| InterfaceView {
        interface: interface.clone(),
        totals: status.totals,
        used: used(interface).map_or_else(Both::default, |used| used.map(Some)),
        flows: status.flows,
        traffic: table.interfaces.get(interface).copied(),
        not_programmed: status.kernel.as_ref().err().map(ToString::to_string),
    };
    snapshot.interfaces.iter().map(view).collect()
}
