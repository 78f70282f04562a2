//! What a policy says that is allowed, and hardly meant.

use std::collections::BTreeMap;

use flowspec::{Bytes, Direction, Rate};

use super::interface::{Capacity, InterfacePolicy};
use super::model::{GroupMode, Policy};
use super::problem::Code;
use super::problems::Problems;

/// What an interface's MTU is where the policy does not say: Ethernet's.
const USUAL_MTU: Bytes = Bytes::new(1500);

/// Notes every warning.
pub(super) fn lint(policy: &Policy, problems: &Problems) {
    groups(policy, problems);
    buckets(policy, problems);
    rules(policy, problems);
    classes(policy, problems);
    templates(policy, problems);
}

/// The budget of a direction, where the policy states the capacity.
fn budget(interface: &InterfacePolicy, direction: Direction) -> Option<Rate> {
    let budget = interface.budget(direction);
    match budget.capacity {
        Capacity::Rate(rate) => Some(budget.reservable_of(rate)),
        Capacity::Auto => None,
    }
}

fn groups(policy: &Policy, problems: &Problems) {
    let mut sums: BTreeMap<(&str, Option<&str>, Direction), u128> = BTreeMap::new();
    let envelopes = policy.groups.iter().filter(|(_, group)| group.mode == GroupMode::Envelope);
    for (name, group) in envelopes {
        let Some(interface) = policy.interface(&group.interface) else { continue };
        for direction in Direction::BOTH {
            let spec = group.qos.get(direction);
            let rate = spec.token_rate.filter(|_| spec.service_type.reserves()).unwrap_or_default();
            let Some(budget) = budget(interface, direction) else { continue };
            let share = group.class.as_ref().and_then(|class| policy.classes.get(class)?.share);
            let limits = [
                (None, "the interface", Some(budget)),
                (group.class.as_deref(), "its class", share.map(|share| share.of(budget))),
            ];
            for (class, whose, limit) in limits {
                let Some(limit) = limit else { continue };
                let sum = sums.entry((&group.interface, class, direction)).or_default();
                *sum += u128::from(rate.get());
                if rate > Rate::ZERO && *sum > u128::from(limit.get()) {
                    let message = format!(
                        "group.{name}: with the groups before it, {whose} would have to promise more than {limit} {direction}"
                    );
                    problems.note(Code::GroupTooLarge, group.place.clone(), message);
                    break;
                }
            }
        }
    }
}

fn buckets(policy: &Policy, problems: &Problems) {
    let mtu = policy.interfaces.values().chain(&policy.any_interface).filter_map(|interface| interface.mtu);
    let mtu = mtu.min().unwrap_or(USUAL_MTU);
    for (name, template) in &policy.templates {
        for direction in Direction::BOTH {
            let spec = template.qos.get(direction);
            if let Some(bucket) = spec.token_bucket_size
                && spec.service_type.reserves()
                && spec.max_sdu_size.is_none()
                && bucket > Bytes::ZERO
                && bucket < mtu
            {
                let message = format!(
                    "template.{name}.{direction}: a bucket of {bucket} is below the MTU of {mtu}, and packets may be no larger than it"
                );
                problems.note(Code::SmallBucket, template.place.clone(), message);
            }
        }
    }
}

fn rules(policy: &Policy, problems: &Problems) {
    for (number, rule) in policy.rules.iter().enumerate() {
        let before = policy.rules[..number].iter().find(|before| before.matches.covers(&rule.matches));
        if let Some(before) = before {
            let message = "no flow reaches this rule: an earlier one matches all that it would".to_owned();
            let (place, first) = (rule.place.clone(), before.place.clone());
            problems.note_with_label(Code::ShadowedRule, place, message, first, "this one is tried first");
        }
    }
}

/// Only where there are rules: a policy without any leaves it to the callers to name classes.
fn classes(policy: &Policy, problems: &Problems) {
    if policy.rules.is_empty() {
        return;
    }
    for (name, class) in &policy.classes {
        let in_rules = policy.rules.iter().any(|rule| rule.class.as_ref() == Some(name));
        let in_groups = policy.groups.values().any(|group| group.class.as_ref() == Some(name));
        if !in_rules && !in_groups && class.matches.is_none() {
            let message =
                format!("class.{name}: no rule and no group gives it; only a caller that names it gets it");
            problems.note(Code::UnusedClass, class.place.clone(), message);
        }
    }
}

fn templates(policy: &Policy, problems: &Problems) {
    let interfaces = || policy.interfaces.values().chain(&policy.any_interface);
    for (name, template) in &policy.templates {
        for direction in Direction::BOTH {
            let spec = template.qos.get(direction);
            let Some(rate) =
                spec.token_rate.filter(|_| spec.service_type == flowspec::ServiceType::Guaranteed)
            else {
                continue;
            };
            let budgets: Option<Vec<_>> =
                interfaces().map(|interface| budget(interface, direction)).collect();
            if let Some(budgets) = budgets
                && let Some(largest) = budgets.into_iter().max()
                && rate > largest
            {
                let message = format!(
                    "template.{name}.{direction}: {rate} is more than any interface may promise; the largest budget is {largest}"
                );
                problems.note(Code::NeverFits, template.place.clone(), message);
            }
        }
    }
}
