//! `[interface.*]`: what a link carries, what of it may be promised, and how.

use flowspec::{Both, Bytes, ErrorTerms, Micros, Rate, Ratio, Share};

use super::section::Section;
use crate::policy::interface::{
    Budget, Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop,
};
use crate::policy::problem::Code;

/// What may be promised of an interface whose policy does not say.
const DEFAULT_RESERVABLE: Share = Share::Part(800_000_000);

/// Link headers on the smallest packet that is charged in full may take this part of what is
/// promised: 14 bytes of Ethernet on 64.
const HEADROOM: (u64, u64) = (64, 64 + 14);

/// What an interface's MTU may be: every host takes 576 bytes (RFC 1122), and IP ends at 65 535.
const LEAST_MTU: Bytes = Bytes::new(576);
const LARGEST_MTU: Bytes = Bytes::new(65_535);

/// What reservation thresholds keep free above a class's share: one per cent.
const DEFAULT_MAR_THRESHOLD: Share = Share::Part(10_000_000);

/// What a table `hysteresis` means that does not say: five seconds, five per cent.
const HYSTERESIS_TIME: Micros = Micros::new(5_000_000);
const HYSTERESIS_CHANGE: Share = Share::Part(50_000_000);

pub(super) fn interface(section: Section<'_>) -> Option<InterfacePolicy> {
    let egress = section.section("egress").map(budget);
    let ingress = section.section("ingress").map(budget);
    let enforcement = section.choice(
        "enforcement",
        &[
            ("auto", Enforcement::Auto),
            ("kernel", Enforcement::Kernel),
            ("user-space", Enforcement::UserSpace),
        ],
    );
    let on_capacity_drop =
        section.choice("on_capacity_drop", &[("keep", OnCapacityDrop::Keep), ("shed", OnCapacityDrop::Shed)]);
    let class_model = class_model(&section);
    let mtu = section.quantity::<Bytes>("mtu");
    let path_latency = section.quantity::<Micros>("path_latency");
    let max_flows = section.integer("max_flows", 0..=u64::MAX);
    let buffer = section.quantity::<Bytes>("buffer");
    let delay = section.flag("delay");
    let error_terms = section.section("error_terms").and_then(error_terms);
    let takeover = section.flag("takeover");
    let hysteresis = section.section("hysteresis").map(hysteresis);
    if let Some(mtu) = &mtu
        && !(LEAST_MTU..=LARGEST_MTU).contains(&mtu.value)
    {
        let message = format!("{}.mtu: {} is not from {LEAST_MTU} to {LARGEST_MTU}", section.path, mtu.value);
        section.problem(Code::BadValue, &mtu.place, message);
    }
    if !section.has("egress") && !section.has("ingress") {
        section.missing("egress or ingress");
    }
    let place = section.place.clone();
    section.finish();
    // A link is as fast one way as the other unless the policy says so. What could not be read has its
    // problem; the name is defined all the same, so that nothing follows from it.
    let unread = Budget::new(Capacity::Auto, DEFAULT_RESERVABLE);
    let (egress, ingress) = match (egress, ingress) {
        (Some(egress), Some(ingress)) => (egress, ingress),
        (Some(only), None) | (None, Some(only)) => (only, only),
        (None, None) => (None, None),
    };
    let (egress, ingress) = (egress.unwrap_or(unread), ingress.unwrap_or(unread));
    Some(InterfacePolicy {
        budgets: Both { sending: egress, receiving: ingress },
        enforcement: enforcement.map_or(Enforcement::Auto, |choice| choice.value),
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
        place,
    })
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
    let written = section.quantity::<Share>("reservable");
    let reservable = written.as_ref().map_or(DEFAULT_RESERVABLE, |share| share.value);
    if let (Some(Capacity::Rate(capacity)), Some(written)) = (capacity, &written) {
        let budget = written.value.of(capacity);
        if budget > capacity {
            let message =
                format!("{}.reservable: {budget} is more than the capacity, {capacity}", section.path);
            section.problem(Code::BadValue, &written.place, message);
        } else if budget > capacity.scale_down(Ratio { numerator: HEADROOM.0, denominator: HEADROOM.1 }) {
            let message = format!(
                "{}.reservable: {budget} of {capacity} leaves too little for link headers, retransmissions and traffic without a reservation",
                section.path
            );
            section.problem(Code::Overcommitted, &written.place, message);
        }
    }
    let min_best_effort = section.quantity::<Share>("min_best_effort");
    if let (Some(Capacity::Rate(capacity)), Some(kept)) = (capacity, &min_best_effort)
        && kept.value.of(capacity) > capacity
    {
        let message =
            format!("{}.min_best_effort: {} is more than the capacity, {capacity}", section.path, kept.value);
        section.problem(Code::BadValue, &kept.place, message);
    }
    section.finish();
    let min_best_effort = min_best_effort.map(|kept| kept.value);
    Some(Budget { capacity: capacity?, reservable, min_best_effort })
}

fn class_model(section: &Section<'_>) -> ClassModel {
    let threshold = section.quantity::<Share>("mar_threshold");
    let mar = ClassModel::Mar(threshold.as_ref().map_or(DEFAULT_MAR_THRESHOLD, |threshold| threshold.value));
    let model =
        section.choice("class_model", &[("mam", ClassModel::Mam), ("rdm", ClassModel::Rdm), ("mar", mar)]);
    let model = model.map_or(ClassModel::Mam, |model| model.value);
    if let (Some(threshold), ClassModel::Mam | ClassModel::Rdm) = (threshold, model) {
        let message = format!("{}.mar_threshold means nothing without class_model = \"mar\"", section.path);
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
