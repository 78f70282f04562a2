//! What nothing reaches: rules, rules of proxies, clients and classes whose conditions earlier ones meet first.
//!
//! Earlier rules may cover a rule together: their conditions are regions of ports and addresses. What cannot be told, or
//! only with too much work, counts as reached.

use std::ops::RangeInclusive;

use crate::ordered::OrderedSet;

use super::code::Code;
use super::model::Policy;
use super::owner::OwnerMatch;
use super::place::Place;
use super::problem::Problem;
use super::problems::Problems;
use super::proxy::{Proxy, ProxyMatch, ProxyRule, matches};
use super::region::{Effort, Rectangle, Rest, Span, TooMany, product};
use super::rule::{Match, Network, PortRange, Protocol, Rule};

/// The most earlier definitions that a warning shows.
const MOST_LABELS: usize = 8;

/// The most combinations of the patterns of one rule that are looked at.
const MOST_PATTERNS: usize = 1_000;

/// Notes what nothing reaches.
pub(super) fn reach(policy: &Policy, problems: &Problems) {
    let mut effort = Effort::for_a_policy();
    rules(policy, &mut effort, problems);
    for (name, proxy) in &policy.proxies {
        proxy_rules(name, proxy, &mut effort, problems);
    }
    clients(policy, problems);
    classes(policy, &mut effort, problems);
}

/// Definitions of one list: some before one, which they cover.
struct Covering<'a> {
    /// The subject of the message, and what is the matter with it.
    message: String,
    /// What it says of several earlier ones.
    of_several: &'a str,
    /// What it says of one earlier one.
    of_one: &'a str,
    /// Why the place of an earlier one matters.
    label: &'a str,
    help: String,
}

impl Covering<'_> {
    /// Notes that the definition at a place is covered by those at other places.
    fn note(self, code: Code, place: &Place, earlier: &[&Place], problems: &Problems) {
        let Self { message, of_several, of_one, label, help } = self;
        let by = if earlier.len() > 1 { of_several } else { of_one };
        let problem = Problem::new(code, place.clone(), format!("{message}: {by}")).with_help(Some(help));
        let labelled = earlier.iter().take(MOST_LABELS);
        problems.add(labelled.fold(problem, |problem, place| problem.with_label((*place).clone(), label)));
    }
}

fn warning_of_rule(of: &str) -> Covering<'static> {
    Covering {
        message: format!("no {of} reaches this rule"),
        of_several: "the earlier rules together match everything that it matches",
        of_one: "an earlier rule matches everything that it matches",
        label: "this rule is tried first",
        help: "move it before the earlier rule that should not apply, or remove it".to_owned(),
    }
}

/// The rules of flows that no flow reaches.
fn rules(policy: &Policy, effort: &mut Effort, problems: &Problems) {
    let interface = |rule: &Rule| {
        let group = rule.group.as_ref().and_then(|group| policy.groups.get(group));
        group.map(|group| group.interface.as_str())
    };
    let interfaces = distinguished_interfaces(policy);
    for (number, rule) in policy.rules.iter().enumerate() {
        let earlier = &policy.rules[..number];
        let covers = |before: &Rule| {
            before.matches.covers(&rule.matches)
                && interface(before).is_none_or(|only| interface(rule) == Some(only))
        };
        let several = || {
            if effort.is_spent() {
                return None;
            }
            let mut covering = OrderedSet::new();
            let is_own = |name: &&Option<&str>| interface(rule).is_none_or(|only| **name == Some(only));
            for name in interfaces.iter().filter(is_own) {
                let on_interface = |before: &Rule| interface(before).is_none_or(|only| *name == Some(only));
                let before: Vec<_> = numbered(earlier).filter(|(_, before)| on_interface(before)).collect();
                covering.extend(covering_rules(rule, &before, effort)?);
            }
            Some(covering)
        };
        let covering = earlier.iter().position(covers).map(|one| OrderedSet::from([one])).or_else(several);
        if let Some(covering) = covering {
            let places: Vec<_> = covering.into_iter().map(|number| &earlier[number].place).collect();
            warning_of_rule("flow").note(Code::ShadowedRule, &rule.place, &places, problems);
        }
    }
}

fn numbered<T>(all: &[T]) -> impl Iterator<Item = (usize, &T)> {
    all.iter().enumerate()
}

/// The interfaces that the rules tell apart, and `None` in place of all others.
fn distinguished_interfaces(policy: &Policy) -> Vec<Option<&str>> {
    let groups = policy.rules.iter().filter_map(|rule| policy.groups.get(rule.group.as_ref()?));
    let named: OrderedSet<_> = groups.map(|group| group.interface.as_str()).collect();
    let mut others = policy.interfaces.keys().filter(|name| !named.contains(name.as_str()));
    let has_other = policy.any_interface.is_some() || named.is_empty() || others.next().is_some();
    named.into_iter().map(Some).chain(has_other.then_some(None)).collect()
}

/// The numbers of the rules that together match everything that a rule matches on an interface; `None` if they do not.
fn covering_rules(rule: &Rule, before: &[(usize, &Rule)], effort: &mut Effort) -> Option<OrderedSet<usize>> {
    let mut covering = OrderedSet::new();
    let protocols = Protocol::WORDS.map(|(_, protocol)| protocol).into_iter();
    for protocol in protocols.filter(|protocol| rule.matches.protocol.is_none_or(|own| own == *protocol)) {
        let has_protocol = |before: &Rule| before.matches.protocol.is_none_or(|own| own == protocol);
        for is_ipv4 in [true, false] {
            let region = |rule: &Rule, effort: &mut Effort| {
                let Match { local_port, peer, .. } = &rule.matches;
                product(&ports(local_port), &peers(peer, is_ipv4), effort)
            };
            let own = region(rule, effort).ok()?;
            let before = before.iter().filter(|(_, before)| has_protocol(before));
            let before = before.map(|(number, before)| (*number, *before));
            covering.extend(covering_of(own, before, region, effort)?);
        }
    }
    Some(covering)
}

/// The numbers of the earlier definitions whose regions together have all points of a region; `None` if they do not, or if
/// that takes too much work to tell.
fn covering_of<T>(
    own: Vec<Rectangle>,
    earlier: impl Iterator<Item = (usize, T)>,
    region: impl Fn(T, &mut Effort) -> Result<Vec<Rectangle>, TooMany>,
    effort: &mut Effort,
) -> Option<Vec<usize>> {
    let mut rest = Rest::new(own);
    let mut covering = Vec::new();
    for (number, before) in earlier {
        if rest.is_empty() {
            break;
        }
        let region = region(before, effort).ok()?;
        if rest.take_away(&region, effort).ok()? {
            covering.push(number);
        }
    }
    rest.is_empty().then_some(covering)
}

/// The local ports that a condition allows.
fn ports(ranges: &[PortRange]) -> Vec<Span> {
    let span = |range: &PortRange| Span::new(u128::from(*range.start())..=u128::from(*range.end()));
    if ranges.is_empty() { vec![span(&(0..=u16::MAX))] } else { ranges.iter().map(span).collect() }
}

/// The addresses of one version of IP that a condition allows.
fn peers(networks: &[Network], is_ipv4: bool) -> Vec<Span> {
    if networks.is_empty() {
        return vec![Span::new(0..=u128::MAX)];
    }
    let of_version = networks.iter().filter(|network| network.is_ipv4() == is_ipv4);
    of_version.map(|network| Span::new(network.addresses())).collect()
}

/// The rules of a proxy that no client reaches.
fn proxy_rules(name: &str, proxy: &Proxy, effort: &mut Effort, problems: &Problems) {
    for (number, rule) in proxy.rules.iter().enumerate() {
        let earlier = &proxy.rules[..number];
        let one = earlier.iter().position(|before| before.matches.covers(&rule.matches));
        let covering = one.map(|one| OrderedSet::from([one]));
        if let Some(covering) = covering.or_else(|| covering_proxy_rules(&rule.matches, earlier, effort)) {
            let places: Vec<_> = covering.into_iter().map(|number| &earlier[number].place).collect();
            let warning = warning_of_rule(&format!("client of proxy.{name}"));
            warning.note(Code::ShadowedRule, &rule.place, &places, problems);
        }
    }
}

/// The numbers of the rules that together match everything that a rule of the same proxy matches. Patterns are compared one
/// by one, ports and addresses as regions.
fn covering_proxy_rules(
    rule: &ProxyMatch,
    earlier: &[ProxyRule],
    effort: &mut Effort,
) -> Option<OrderedSet<usize>> {
    let [hosts, paths, names] = [&rule.host, &rule.path, &rule.sni].map(|patterns| alternatives(patterns));
    if hosts.len().saturating_mul(paths.len()).saturating_mul(names.len()) > MOST_PATTERNS {
        return None;
    }
    let mut covering = OrderedSet::new();
    let of_hosts = hosts.iter().flat_map(|host| paths.iter().map(move |path| (host, path)));
    for ((host, path), name) in of_hosts.flat_map(|both| names.iter().map(move |name| (both, name))) {
        let matches = |ProxyMatch { host: hosts, path: paths, sni, .. }: &ProxyMatch| {
            has_pattern_for(hosts, *host) && has_pattern_for(paths, *path) && has_pattern_for(sni, *name)
        };
        for is_ipv4 in [true, false] {
            let region = |rule: &ProxyMatch, effort: &mut Effort| {
                product(&ports(&rule.port), &peers(&rule.peer, is_ipv4), effort)
            };
            let own = region(rule, effort).ok()?;
            let before = numbered(earlier).map(|(number, before)| (number, &before.matches));
            let before = before.filter(|(_, before)| matches(before));
            covering.extend(covering_of(own, before, region, effort)?);
        }
    }
    Some(covering)
}

/// Each of the texts of which one has to match; `None` for the condition that always holds.
fn alternatives(texts: &[String]) -> Vec<Option<&str>> {
    if texts.is_empty() { vec![None] } else { texts.iter().map(|text| Some(text.as_str())).collect() }
}

/// Whether patterns match everything that another one matches.
fn has_pattern_for(patterns: &[String], other: Option<&str>) -> bool {
    // A literal part of a pattern contains no '*': what it matches in the other pattern is literal there too.
    patterns.is_empty() || other.is_some_and(|other| patterns.iter().any(|pattern| matches(pattern, other)))
}

/// The tables of clients whose limits count for no client.
fn clients(policy: &Policy, problems: &Problems) {
    for (number, client) in policy.clients.iter().enumerate() {
        let mut earlier = policy.clients[..number].iter();
        if let Some(before) = earlier.find(|before| before.matches(&client.pattern)) {
            let warning = Covering {
                message: format!("client.{:?}: no client is counted by these limits", client.pattern),
                of_several: "",
                of_one: &format!("each name that matches also matches the earlier {:?}", before.pattern),
                label: "this pattern is tried first",
                help: format!("move [client.{:?}] before [client.{:?}]", client.pattern, before.pattern),
            };
            warning.note(Code::ShadowedClient, &client.place, &[&before.place], problems);
        }
    }
}

/// The classes that no owner gets, though they have conditions on owners.
fn classes(policy: &Policy, effort: &mut Effort, problems: &Problems) {
    let conditional =
        policy.classes.iter().filter_map(|(name, class)| Some((name, class, class.matches.as_ref()?)));
    let mut conditional: Vec<_> = conditional.collect();
    conditional.sort_by_key(|(_, class, _)| (class.place.source, class.place.span.start));
    let owners: Vec<_> = conditional.iter().map(|(.., matches)| *matches).collect();
    for (number, (name, class, matches)) in conditional.iter().enumerate() {
        if policy.assigns_class(name) {
            continue;
        }
        if let Some(covering) = covering_owners(matches, &owners[..number], effort) {
            let places: Vec<_> = covering.iter().map(|number| &conditional[*number].1.place).collect();
            let first = covering.first().map_or("", |number| conditional[*number].0.as_str());
            let warning = Covering {
                message: format!("class.{name}: no owner gets it, and only requests that name it use it"),
                of_several: "the earlier classes together match every owner that it matches",
                of_one: "an earlier class matches every owner that it matches",
                label: "this class is tried first",
                help: format!("move [class.{name}] before [class.{first}], or remove its match"),
            };
            warning.note(Code::UnreachedClass, &class.place, &places, problems);
        }
    }
}

/// The numbers of the conditions that together hold for every owner for which `own` holds.
fn covering_owners(
    own: &OwnerMatch,
    earlier: &[&OwnerMatch],
    effort: &mut Effort,
) -> Option<OrderedSet<usize>> {
    let region =
        |owner: &OwnerMatch, effort: &mut Effort| product(&ids(&owner.uid), &ids(&owner.gid), effort);
    let mut covering = OrderedSet::new();
    for cgroup in alternatives(&own.cgroup) {
        let has_cgroup = |before: &OwnerMatch| {
            before.cgroup.is_empty() || cgroup.is_some_and(|cgroup| before.has_cgroup(cgroup))
        };
        let before = earlier.iter().enumerate().map(|(number, before)| (number, *before));
        let before = before.filter(|(_, before)| has_cgroup(before));
        covering.extend(covering_of(region(own, effort).ok()?, before, region, effort)?);
    }
    Some(covering)
}

/// The ids that a condition allows. One that always holds also allows an id that is not known, which no other does.
fn ids(ranges: &[RangeInclusive<u32>]) -> Vec<Span> {
    const UNKNOWN: u128 = 1 << 32;
    if ranges.is_empty() {
        return vec![Span::new(0..=UNKNOWN)];
    }
    ranges.iter().map(|range| Span::new(u128::from(*range.start())..=u128::from(*range.end()))).collect()
}
