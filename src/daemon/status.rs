//! The answer to `Status`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::flow_table::FlowTable;
use super::peer::Peer;
use super::requests::failed;
use super::state::DaemonServer;
use super::watched::MOST_GROUPS;
use crate::admission::GroupDifference;
use crate::control::{
    ClassRecord, ControlError, GroupDifferenceRecord, GroupRecord, InterfaceRecord, StatusCall, StatusReply,
};
use crate::engine::{ClassReport, Engine, EngineSnapshot, GroupSnapshot, InterfaceReport};
use crate::manager::Status;

/// The state of the daemon, as far as a peer may see it.
pub(super) async fn status(
    server: &DaemonServer,
    peer: &Peer,
    asked: StatusCall,
) -> Result<StatusReply, ControlError> {
    let (with_classes, with_sums) = (asked.classes.unwrap_or(false), asked.sums.unwrap_or(false));
    let table = match with_sums {
        true => Some(server.watched.flows().await),
        false => None,
    };
    let (interfaces, snapshot) = match (&table, with_classes) {
        (Some(_), false) => known_interfaces(server).await,
        _ => {
            let reports = server.engine.report().await.map_err(failed)?.into_iter();
            let records = reports.map(|report| interface(server, peer, (report, with_classes)));
            (records.collect(), Arc::new(server.engine.snapshot(MOST_GROUPS)))
        }
    };
    let mut reply = StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        policy: server.policy_names(),
        draining: server.is_draining(),
        connections: server.users.connections(),
        flows: server.holdings.count(),
        confinement: server.confined.record.clone(),
        refused: server.observed.refusals(),
        policy_classes: DaemonServer::policy_classes(&snapshot),
        groups: Vec::new(),
        group_differences: group_differences(server, peer),
        interfaces,
    };
    if let Some(table) = table {
        add_sums(&mut reply, &table);
        reply.groups = groups((server, peer), &snapshot, &table);
    }
    Ok(reply)
}

/// The interfaces now, with what the kernel counted when it was read last.
async fn known_interfaces(server: &DaemonServer) -> (Vec<InterfaceRecord>, Arc<EngineSnapshot>) {
    let report = server.watched.report_in_time().await;
    let direct: BTreeMap<&str, u32> = report
        .iter()
        .flat_map(|reports| reports.iter())
        .map(|report| (report.interface.as_str(), report.direct_packets))
        .collect();
    let snapshot = server.watched.snapshot();
    let record = |(interface, status): &(String, Status)| InterfaceRecord {
        interface: interface.clone(),
        totals: status.totals,
        not_programmed: status.kernel.clone().err(),
        shares_wire_with: status.shares_wire_with.clone(),
        dropped: status.dropped,
        flows: status.flows,
        direct_packets: direct.get(interface.as_str()).copied().unwrap_or(0),
        traffic: None,
        classes: None,
    };
    (snapshot.interfaces.iter().map(record).collect(), snapshot)
}

fn interface(
    server: &DaemonServer,
    peer: &Peer,
    (report, with_classes): (InterfaceReport, bool),
) -> InterfaceRecord {
    let InterfaceReport { interface, status, direct_packets, classes, .. } = report;
    let is_shown = |class: &ClassReport| {
        let owner = match class.is_group {
            true => server.holdings.group_owner(&class.flow),
            false => server.holdings.owner(&class.flow),
        };
        peer.is_administrator || owner.is_none_or(|uid| uid == peer.uid)
    };
    let classes = classes.into_iter().filter(is_shown).map(|class| ClassRecord {
        class: class.class,
        flow: class.flow,
        is_group: class.is_group,
        rate: class.rate,
        sent_bytes: class.sent_bytes,
        dropped: class.dropped,
        delayed: class.delayed,
        queued: class.queued,
    });
    InterfaceRecord {
        interface,
        totals: status.totals,
        not_programmed: status.kernel.err(),
        shares_wire_with: status.shares_wire_with,
        dropped: status.dropped,
        flows: status.flows,
        direct_packets,
        traffic: None,
        classes: with_classes.then(|| classes.collect()),
    }
}

/// Adds what the kernel has counted of the flows of interfaces and classes.
fn add_sums(reply: &mut StatusReply, table: &FlowTable) {
    for record in &mut reply.interfaces {
        record.traffic = table.interfaces.get(&record.interface).copied();
    }
    for record in &mut reply.policy_classes {
        let key = (record.interface.clone(), record.class.clone());
        record.traffic = table.classes.get(&key).copied();
    }
}

/// Whether a group is of the policy or the peer's own; an administrator sees all.
fn may_see_group(server: &DaemonServer, peer: &Peer, id: &str) -> bool {
    peer.is_administrator || server.holdings.group_owner(id).is_none_or(|uid| uid == peer.uid)
}

/// The groups that are not as the policy states them. They name the flows that the peer may see, and no others.
fn group_differences(server: &DaemonServer, peer: &Peer) -> Vec<GroupDifferenceRecord> {
    let differences = server.engine.group_differences().into_iter();
    let differences = differences.filter(|(group, _)| may_see_group(server, peer, group)).take(MOST_GROUPS);
    let record = |(group, mut difference): (String, GroupDifference)| {
        if !peer.is_administrator {
            difference.retain_holders(&|id| server.holdings.owner(id) == Some(peer.uid));
        }
        let message = difference.to_string();
        GroupDifferenceRecord { group, difference, message }
    };
    differences.map(record).collect()
}

/// The groups that a peer may see.
fn groups(
    (server, peer): (&DaemonServer, &Peer),
    snapshot: &EngineSnapshot,
    table: &FlowTable,
) -> Vec<GroupRecord> {
    let shown = snapshot.groups.iter().filter(|group| may_see_group(server, peer, &group.id));
    let record = |group: &GroupSnapshot| {
        let sum = table.groups.get(&(group.interface.clone(), group.id.clone())).copied().unwrap_or_default();
        GroupRecord {
            interface: group.interface.clone(),
            group: group.id.clone(),
            totals: group.totals,
            flows: sum.flows,
            traffic: sum.traffic,
        }
    };
    shown.map(record).collect()
}
