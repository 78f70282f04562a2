//! Warnings: what a policy may say, but probably does not mean.

use flowspec::{Bytes, Direction, Micros, Qos, Rate};

use super::code::Code;
use super::interface::{Capacity, InterfacePolicy};
use super::model::Policy;
use super::problem::Problem;
use super::problems::Problems;

/// The MTU of an interface whose policy states none: Ethernet's.
const USUAL_MTU: Bytes = Bytes::new(1500);

/// How much of its rate a bucket holds before it is doubtful.
const LONG_BURST: Micros = Micros::new(3_000_000);

/// Notes all warnings about a policy.
pub(super) fn lint(policy: &Policy, problems: &Problems) {
    buckets(policy, problems);
    reservable_above_parents(policy, problems);
    classes(policy, problems);
    large_buckets(policy, problems);
    proxy_rules(policy, problems);
}

/// The budget of a direction, if the policy states the capacity.
fn budget(interface: &InterfacePolicy, direction: Direction) -> Option<Rate> {
    let budget = interface.budget(direction);
    match budget.capacity {
        Capacity::Rate(rate) => Some(budget.reservable_of(rate)),
        Capacity::Auto => None,
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
                    "template.{name}.{direction}: the bucket of {bucket} is smaller than the MTU of {mtu} and limits the packet size"
                );
                problems.note(Code::SmallBucket, template.place.clone(), message);
            }
        }
    }
}

/// Buckets that hold more than a few seconds of their rate, and more than the default bucket.
fn large_buckets(policy: &Policy, problems: &Problems) {
    let templates =
        policy.templates.iter().map(|(name, template)| ("template", name, template.qos, &template.place));
    let groups = policy.groups.iter().map(|(name, group)| ("group", name, group.qos, &group.place));
    for (kind, name, qos, place) in templates.chain(groups) {
        for direction in Direction::BOTH {
            if let Some((bucket, rate)) = large_bucket(&qos, direction) {
                let message = format!(
                    "{kind}.{name}.{direction}: the bucket of {bucket} holds more than {LONG_BURST} of {rate}; after a pause it is sent at once"
                );
                problems.note(Code::LargeBucket, place.clone(), message);
            }
        }
    }
}

fn large_bucket(qos: &Qos, direction: Direction) -> Option<(Bytes, Rate)> {
    let spec = qos.get(direction);
    let (bucket, rate) = (spec.token_bucket_size?, spec.token_rate?);
    let default = USUAL_MTU.max(spec.max_sdu_size.unwrap_or(USUAL_MTU));
    let is_large = bucket > default && bucket > rate.bytes_in(LONG_BURST);
    (spec.service_type.reserves() && is_large).then_some((bucket, rate))
}

/// Interfaces of which more is reservable than of one on whose wire they send.
fn reservable_above_parents(policy: &Policy, problems: &Problems) {
    for (name, interface) in &policy.interfaces {
        let below = |name: &str| policy.interface(name)?.parent.as_deref();
        // A circle is an error of its own.
        let parents = std::iter::successors(interface.parent.as_deref(), |name| below(name));
        let mut parents = parents.take(policy.interfaces.len());
        let exceeded = parents.find_map(|parent| {
            let limits = policy.interface(parent)?;
            let exceeds = |direction: &Direction| budget(interface, *direction) > budget(limits, *direction);
            let known = Direction::BOTH.into_iter().filter(|direction| budget(limits, *direction).is_some());
            let exceeding: Vec<_> = known.filter(exceeds).collect();
            (!exceeding.is_empty()).then_some((parent, limits, exceeding))
        });
        let Some((parent, limits, exceeding)) = exceeded else { continue };
        let sums = exceeding.iter().filter_map(|direction| {
            let (own, most) = (budget(interface, *direction)?, budget(limits, *direction)?);
            Some(format!("{own} {direction} are reservable, but only {most} of {parent}"))
        });
        let sums: Vec<_> = sums.collect();
        let message = format!("interface.{name}: {}, on whose wire it sends", sums.join("; "));
        let help = format!("lower its capacity or its reservable, or correct those of {parent}");
        let problem = Problem::new(Code::AboveParent, interface.place.clone(), message).with_help(Some(help));
        problems.add(problem.with_label(limits.place.clone(), "what is reserved above counts here as well"));
    }
}

/// Conditions of the rules of proxies that hardly any client meets.
fn proxy_rules(policy: &Policy, problems: &Problems) {
    for (name, proxy) in &policy.proxies {
        for rule in &proxy.rules {
            let is_doubtful =
                |path: &&String| ["?", "#", "//", "/./", "/../"].iter().any(|part| path.contains(part));
            if let Some(path) = rule.matches.path.iter().find(is_doubtful) {
                let message = format!(
                    "proxy.{name}.rule.match.path: {path:?} is compared with paths without queries, fragments, dot segments and repeated slashes"
                );
                problems.note(Code::DoubtfulCondition, rule.place.clone(), message);
            }
            let (listen, ports) = (proxy.listen.port(), &rule.matches.port);
            // A header of the PROXY protocol may state another port.
            if proxy.accept.is_empty()
                && !ports.is_empty()
                && !ports.iter().any(|range| range.contains(&listen))
            {
                let message = format!(
                    "proxy.{name}.rule.match.port: clients connect to {listen}, which is not among these ports"
                );
                problems.note(Code::DoubtfulCondition, rule.place.clone(), message);
            }
        }
    }
}

/// In a policy without rules, callers name classes themselves, and no class is unused.
fn classes(policy: &Policy, problems: &Problems) {
    if policy.rules.is_empty() {
        return;
    }
    for (name, class) in &policy.classes {
        if class.matches.is_none() && !policy.assigns_class(name) {
            let message = format!(
                "class.{name}: no rule, no group and no proxy assigns it; only requests that name it use it"
            );
            problems.note(Code::UnusedClass, class.place.clone(), message);
        }
    }
}
