//! `[interface.*]`: what a link carries, how much of it may be reserved, and how reservations are enforced.

use flowspec::{Both, Bytes, ErrorTerms, Micros, Rate, Ratio, Share};

use super::reference::{Reference, ReferenceKind};
use super::section::{Placed, Section};
use crate::policy::code::Code;
use crate::policy::device::device_name_fault;
use crate::policy::interface::{
    Budget, Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop, Shared,
};

/// The default of `reservable`: 80 %.
const DEFAULT_RESERVABLE: Share = Share::Part(800_000_000);

/// The largest part of the capacity that can be reserved safely. With the smallest packets that are charged in full, of
/// 64 bytes, the link also carries 14 bytes of Ethernet header for each.
const HEADROOM: (u64, u64) = (64, 64 + 14);

/// The range of an MTU: every host accepts 576 bytes (RFC 1122), and an IP datagram has at most 65,535.
const SMALLEST_MTU: Bytes = Bytes::new(576);
const LARGEST_MTU: Bytes = Bytes::new(65_535);

/// The default of `mar_threshold`: 1 %.
const DEFAULT_MAR_THRESHOLD: Share = Share::Part(10_000_000);

/// The defaults of a table `hysteresis`: 5 s and 5 %.
const HYSTERESIS_TIME: Micros = Micros::new(5_000_000);
const HYSTERESIS_CHANGE: Share = Share::Part(50_000_000);

/// Reads an interface, and adds the name of its parent to the references.
pub(super) fn interface(
    section: Section<'_>,
    name: &str,
    references: &mut Vec<Reference>,
) -> InterfacePolicy {
    let egress = section.section("egress").map(budget);
    let ingress = section.section("ingress").map(budget);
    let enforcement = section.choice("enforcement", &Enforcement::WORDS);
    let shared = section.choice("shared", &Shared::WORDS);
    let on_capacity_drop = section.choice("on_capacity_drop", &OnCapacityDrop::WORDS);
    let class_model = class_model(&section);
    let mtu = section.quantity::<Bytes>("mtu");
    let path_latency = section.quantity::<Micros>("path_latency");
    let max_flows = section.integer("max_flows", 0..=u64::MAX);
    let buffer = section.quantity::<Bytes>("buffer");
    let delay = section.flag("delay");
    let error_terms = section.section("error_terms").and_then(error_terms);
    let takeover = section.flag("takeover");
    let hysteresis = section.section("hysteresis").map(hysteresis);
    let parent = parent(&section, name, references);
    if let Some(mtu) = &mtu
        && !(SMALLEST_MTU..=LARGEST_MTU).contains(&mtu.value)
    {
        let message =
            format!("{}.mtu: {} is not between {SMALLEST_MTU} and {LARGEST_MTU}", section.path, mtu.value);
        section.problem(Code::BadValue, &mtu.place, message);
    }
    if let Some(limit) = max_flows.as_ref().filter(|limit| limit.value == 0) {
        let message = format!("{}.max_flows is zero: nothing can be reserved", section.path);
        section.problem(Code::ZeroCapacity, &limit.place, message);
    }
    if let Some(buffer) = buffer.as_ref().filter(|buffer| buffer.value == Bytes::ZERO) {
        let message = format!("{}.buffer is zero: nothing can be reserved", section.path);
        section.problem(Code::ZeroCapacity, &buffer.place, message);
    }
    if !section.has("egress") && !section.has("ingress") {
        section.missing("egress or ingress");
    }
    let place = section.place.clone();
    section.finish();
    // One direction serves for both. A direction that could not be read has a problem of its own; the interface is
    // defined all the same, so that its users are not reported as well.
    let unread = Budget::new(Capacity::Auto, DEFAULT_RESERVABLE);
    let (egress, ingress) = match (egress, ingress) {
        (Some(egress), Some(ingress)) => (egress, ingress),
        (Some(only), None) | (None, Some(only)) => (only, only),
        (None, None) => (None, None),
    };
    let (egress, ingress) = (egress.unwrap_or(unread), ingress.unwrap_or(unread));
    InterfacePolicy {
        budgets: Both { sending: egress, receiving: ingress },
        enforcement: enforcement.map_or(Enforcement::Auto, |choice| choice.value),
        shared: shared.map_or(Shared::Refuse, |choice| choice.value),
        on_capacity_drop: on_capacity_drop.map_or(OnCapacityDrop::Keep, |choice| choice.value),
        class_model,
        mtu: mtu.map(|mtu| mtu.value),
        path_latency: path_latency.map_or(Micros::new(0), |latency| latency.value),
        max_flows: max_flows.map(|flows| flows.value),
        buffer: buffer.map(|buffer| buffer.value),
        delay: delay.is_none_or(|delay| delay.value),
        error_terms,
        takeover: takeover.is_some_and(|takeover| takeover.value),
        hysteresis,
        parent,
        place,
    }
}

/// The interface whose wire another one shares.
fn parent(section: &Section<'_>, name: &str, references: &mut Vec<Reference>) -> Option<String> {
    let parent = section.string("parent")?;
    if let Some(fault) = device_name_fault(parent.value) {
        section.problem(Code::BadName, &parent.place, format!("{}.parent: {fault}", section.path));
        return None;
    }
    let kind = ReferenceKind::Parent { of: name.to_owned() };
    references.push(Reference::new(&section.path, kind, &parent));
    Some(parent.value.to_owned())
}

fn budget(section: Section<'_>) -> Option<Budget> {
    let auto = section.raw("capacity").is_some_and(|value| value.get_ref().as_str() == Some("auto"));
    let capacity = if auto {
        Some(Capacity::Auto)
    } else {
        section.quantity::<Rate>("capacity").map(|rate| Capacity::Rate(rate.value))
    };
    if !section.has("capacity") {
        section.missing("capacity");
    }
    if let (Some(Capacity::Rate(Rate::ZERO)), Some(value)) = (capacity, section.raw("capacity")) {
        let message = format!("{}.capacity is zero: nothing can be reserved", section.path);
        section.problem(Code::ZeroCapacity, &section.at(value.span()), message);
    }
    let written = section.quantity::<Share>("reservable");
    let min_best_effort = section.quantity::<Share>("min_best_effort");
    let reservable = written.as_ref().map_or(DEFAULT_RESERVABLE, |share| share.value);
    if let (Some(Capacity::Rate(capacity)), Some(written)) = (capacity, &written) {
        let budget = written.value.of(capacity);
        // What is kept for best effort cannot be reserved.
        let kept = min_best_effort.as_ref().map_or(Rate::ZERO, |kept| kept.value.of(capacity));
        let reserved = budget.min(capacity.saturating_sub(kept));
        if budget > capacity {
            let message =
                format!("{}.reservable: {budget} is more than the capacity, {capacity}", section.path);
            section.problem(Code::BadValue, &written.place, message);
        } else if reserved > capacity.scale_down(Ratio { numerator: HEADROOM.0, denominator: HEADROOM.1 }) {
            let message = format!(
                "{}.reservable: {reserved} of {capacity} leaves too little for link headers, retransmissions and best-effort traffic",
                section.path
            );
            section.problem(Code::Overcommitted, &written.place, message);
        }
    }
    if let (Some(Capacity::Rate(capacity)), Some(kept)) = (capacity, &min_best_effort)
        && kept.value.of(capacity) > capacity
    {
        let message =
            format!("{}.min_best_effort: {} is more than the capacity, {capacity}", section.path, kept.value);
        section.problem(Code::BadValue, &kept.place, message);
    }
    note_empty_budget(&section, capacity, written.as_ref(), min_best_effort.as_ref());
    section.finish();
    let min_best_effort = min_best_effort.map(|kept| kept.value);
    Some(Budget { capacity: capacity?, reservable, min_best_effort })
}

/// Notes that nothing is reservable though the link has a capacity.
fn note_empty_budget(
    section: &Section<'_>,
    capacity: Option<Capacity>,
    reservable: Option<&Placed<Share>>,
    kept: Option<&Placed<Share>>,
) {
    let capacity = match capacity {
        Some(Capacity::Rate(rate)) => rate,
        // The kernel knows it: what leaves nothing of a link as fast as this leaves nothing of any.
        _ => Rate::from_mbit(10_000_000),
    };
    if capacity == Rate::ZERO {
        return;
    }
    let path = &section.path;
    match (reservable, kept) {
        (Some(share), _) if share.value.of(capacity) == Rate::ZERO => {
            let message = format!("{path}.reservable is zero: nothing can be reserved");
            section.problem(Code::ZeroCapacity, &share.place, message);
        }
        (_, Some(kept)) if kept.value.of(capacity) == capacity => {
            let message = format!(
                "{path}.min_best_effort keeps all of the capacity for best effort: nothing can be reserved"
            );
            section.problem(Code::ZeroCapacity, &kept.place, message);
        }
        _ => {}
    }
}

fn class_model(section: &Section<'_>) -> ClassModel {
    let threshold = section.quantity::<Share>("mar_threshold");
    let mar = ClassModel::Mar(threshold.as_ref().map_or(DEFAULT_MAR_THRESHOLD, |threshold| threshold.value));
    let model =
        section.choice("class_model", &[("mam", ClassModel::Mam), ("rdm", ClassModel::Rdm), ("mar", mar)]);
    let model = model.map_or(ClassModel::Mam, |model| model.value);
    if let (Some(threshold), ClassModel::Mam | ClassModel::Rdm) = (threshold, model) {
        let message = format!("{}.mar_threshold has no effect without class_model = \"mar\"", section.path);
        section.problem(Code::Conflict, &threshold.place, message);
    }
    model
}

fn hysteresis(section: Section<'_>) -> Hysteresis {
    let time = section.quantity::<Micros>("time");
    let change = section.quantity::<Share>("change");
    section.finish();
    Hysteresis {
        time: time.map_or(HYSTERESIS_TIME, |time| time.value),
        change: change.map_or(HYSTERESIS_CHANGE, |change| change.value),
    }
}

fn error_terms(section: Section<'_>) -> Option<ErrorTerms> {
    let c = section.quantity::<Bytes>("c");
    let d = section.quantity::<Micros>("d");
    for key in ["c", "d"] {
        if !section.has(key) {
            section.missing(key);
        }
    }
    section.finish();
    Some(ErrorTerms { c: c?.value, d: d?.value })
}
