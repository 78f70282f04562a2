//! `/metrics`.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::HttpFacts;
use super::process::process_use;
use crate::engine::EngineSnapshot;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{ClassMetrics, GroupMetrics, InterfaceMetrics};

/// The metrics now.
pub(super) async fn metrics(facts: &HttpFacts) -> Metrics {
    // A kernel that does not answer is no reason to have no metrics.
    let report = facts.server.watched.report().await.ok();
    let reports = report.iter().flat_map(|reports| reports.iter());
    let direct: BTreeMap<_, _> = reports
        .filter(|report| report.status.kernel.is_ok())
        .map(|report| (report.interface.as_str(), report.direct_packets))
        .collect();
    let snapshot = facts.snapshot();
    let watched = facts.server.watched.traffic();
    let sums = watched.sums();
    let EngineSnapshot { interfaces, classes, groups, all_groups, .. } = &*snapshot;
    // Where the kernel has no tree, it counts nothing: zero would say that nothing was sent.
    let programmed = interfaces.iter().filter(|(_, status)| status.kernel.is_ok());
    let programmed: BTreeSet<_> = programmed.map(|(interface, _)| interface.as_str()).collect();
    let is_counted = |interface: &str| programmed.contains(interface);
    let interfaces = interfaces.iter().map(|(interface, status)| InterfaceMetrics {
        interface: interface.clone(),
        totals: status.totals,
        is_programmed: status.kernel.is_ok(),
        flows: status.flows,
        direct_packets: direct.get(interface.as_str()).copied(),
        traffic: is_counted(interface).then(|| sums.interface(interface)),
    });
    let interfaces: Vec<_> = interfaces.collect();
    let classes = classes.iter().map(|totals| ClassMetrics {
        totals: totals.clone(),
        traffic: is_counted(&totals.interface).then(|| sums.class(&totals.interface, &totals.class)),
    });
    let classes: Vec<_> = classes.collect();
    let groups = groups.iter().map(|group| GroupMetrics {
        group: group.id.clone(),
        interface: group.interface.clone(),
        totals: group.totals,
        traffic: is_counted(&group.interface).then(|| sums.group(&group.interface, &group.id)),
    });
    let groups: Vec<_> = groups.collect();
    drop(watched);
    let (counters, dropped) = facts.counted().now();
    let server = &facts.server;
    Metrics {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draining: server.is_draining(),
        connections: server.users.connections(),
        flows: server.holdings.count(),
        reloads: server.observed.reloads(),
        interfaces,
        classes,
        groups_left_out: all_groups.saturating_sub(groups.len()),
        groups,
        counters,
        events_dropped: dropped,
        admission: server.observed.latency(),
        process: process_use(),
    }
}
