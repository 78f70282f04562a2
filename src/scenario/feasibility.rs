//! What can be admitted nowhere: groups that cannot be made, and templates and rules that even an empty ledger refuses on
//! every interface.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowspec::{Direction, Qos, Rate};

use super::distinct::{ANY_INTERFACE, distinct, owner_for, with_any_interface};
use crate::admission::{GroupDifference, Ledger, NewFlow, Refusal, Request};
use crate::manager::proven_error_terms;
use crate::policy::{Budget, Capacity, Class, Code, InterfacePolicy, Owner, Place, Policy, Problem};

/// The most requests that are tried; a policy with more combinations is not searched any further.
const MOST_TRIALS: usize = 200_000;

/// What a link carries whose capacity only the kernel knows: more than any, since only what is refused by every capacity is
/// a problem.
const ANY_CAPACITY: Rate = Rate::from_mbit(10_000_000);

/// The warnings about groups that are not made although no flow is admitted, and about templates and rules whose flows are
/// then refused on every interface.
///
/// The groups are made as a ledger makes them that starts: in the order of their names, each that fits beside those before it.
/// Each template is tried on each interface, without a class and in each class (those that differ, if there are many);
/// each template of a rule with the class and the group of the rule, where the policy's groups have reserved. What the kernel knows, a capacity or an MTU, counts
/// as unlimited. A policy without interfaces has no such warnings. Where it has too many combinations, a warning says from
/// which template or rule on none was tried.
pub fn infeasible(policy: &Policy) -> Vec<Problem> {
    FeasibilitySearch { trial: Trial::new(policy, MOST_TRIALS), problems: Vec::new() }.run(policy)
}

/// The warnings found so far.
struct FeasibilitySearch {
    trial: Trial,
    problems: Vec<Problem>,
}

/// As many requests were tried as are tried.
struct Exhausted;

impl FeasibilitySearch {
    fn run(mut self, policy: &Policy) -> Vec<Problem> {
        self.problems.extend(self.trial.unmade_groups(policy));
        let mut hopeless = Vec::new();
        // What is tried next is the place of the warning.
        let mut next = Place::default();
        let templates = self.templates(policy, &mut hopeless, &mut next);
        let assigned = assigned(policy);
        if templates.and_then(|()| self.rules(policy, (&assigned, &hopeless), &mut next)).is_err() {
            let most = self.trial.most;
            let message = format!(
                "from here on it was not tried whether an interface admits the templates, alone and by the rules: {most} requests have been tried before"
            );
            self.problems.push(Problem::new(Code::SearchEnded, next, message));
        }
        self.problems
    }

    /// Tries each template without a class and in each class. `hopeless` gets the names of those that are never admitted.
    fn templates(
        &mut self,
        policy: &Policy,
        hopeless: &mut Vec<String>,
        next: &mut Place,
    ) -> Result<(), Exhausted> {
        let classes = distinct(&policy.classes, |class| Class {
            dscp: None,
            setup_priority: Policy::DEFAULT_PRIORITY,
            holding_priority: Policy::DEFAULT_PRIORITY,
            place: Place::default(),
            ..class.clone()
        });
        for (name, template) in &policy.templates {
            next.clone_from(&template.place);
            let classes = std::iter::once(None).chain(classes.iter().copied().map(Some));
            let Some(reasons) = self.trial.refused(&template.qos, classes, None)? else { continue };
            hopeless.push(name.clone());
            let message = format!(
                "template.{name} is admitted on no interface, even if nothing is reserved: {reasons}"
            );
            self.problems.push(Problem::new(Code::NeverFits, template.place.clone(), message));
        }
        Ok(())
    }

    /// Tries the templates of each rule with the rule's class and group, beside what the policy's groups reserve.
    fn rules(
        &mut self,
        policy: &Policy,
        (assigned, hopeless): (&[Assigned<'_>], &[String]),
        next: &mut Place,
    ) -> Result<(), Exhausted> {
        for rule in assigned {
            next.clone_from(rule.place);
            for name in rule.templates.iter().filter(|name| !hopeless.contains(name)) {
                let Some(template) = policy.templates.get(name) else { continue };
                let Some(reasons) = self.trial.refused(&template.qos, [rule.class], Some(rule))? else {
                    continue;
                };
                let message = format!("{} template {name:?} is always refused{rule}: {reasons}", rule.what);
                self.problems.push(Problem::new(Code::RuleRefused, rule.place.clone(), message));
            }
        }
        Ok(())
    }
}

/// What a rule, a proxy or a rule of a proxy gives to its flows.
struct Assigned<'p> {
    /// The lead of a message: "the rule's".
    what: String,
    templates: &'p [String],
    class: Option<&'p str>,
    group: Option<&'p str>,
    place: &'p Place,
}

/// All of a policy: those of its rules, then those of each proxy.
fn assigned(policy: &Policy) -> Vec<Assigned<'_>> {
    let rules = policy.rules.iter().map(|rule| Assigned {
        what: "the rule's".into(),
        templates: &rule.templates,
        class: rule.class.as_deref(),
        group: rule.group.as_deref(),
        place: &rule.place,
    });
    let proxies = policy.proxies.iter().flat_map(|(name, proxy)| {
        let of_rules = proxy.rules.iter().map(move |rule| Assigned {
            what: format!("proxy.{name}.rule: the rule's"),
            templates: &rule.templates,
            class: rule.class.as_deref().or(proxy.class.as_deref()),
            group: None,
            place: &rule.place,
        });
        let own = Assigned {
            what: format!("proxy.{name}: the proxy's"),
            templates: &proxy.templates,
            class: proxy.class.as_deref(),
            group: None,
            place: &proxy.place,
        };
        std::iter::once(own).chain(of_rules)
    });
    rules.chain(proxies).collect()
}

/// What it gives besides its templates: " in class viewer and group channel7".
impl std::fmt::Display for Assigned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let class = self.class.map(|class| format!("class {class}"));
        let group = self.group.map(|group| format!("group {group}"));
        let both: Vec<_> = class.into_iter().chain(group).collect();
        if both.is_empty() { Ok(()) } else { write!(f, " in {}", both.join(" and ")) }
    }
}

struct Reasons(BTreeMap<String, Refusal>);

impl std::fmt::Display for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A few are enough to see why.
        const SHOWN: usize = 4;
        let mut texts: Vec<_> =
            self.0.values().map(|refusal| format!("{refusal} ({})", refusal.reason())).collect();
        // A limit of the class or of the group is the same on every interface.
        texts.dedup();
        f.write_str(&texts[..texts.len().min(SHOWN)].join("; "))?;
        match texts.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Requests to empty ledgers.
struct Trial {
    /// Without groups, whose envelopes would be reserved.
    empty: Ledger,
    /// With the policy's groups.
    grouped: Ledger,
    /// Those that differ.
    interfaces: Vec<String>,
    /// The same, with those of which groups reserve something.
    grouped_interfaces: Vec<String>,
    /// The owners that meet the conditions of the classes that have some.
    owners: BTreeMap<String, Owner>,
    group_interfaces: BTreeMap<String, String>,
    trials: usize,
    most: usize,
}

impl Trial {
    fn new(policy: &Policy, most: usize) -> Self {
        let mut known = with_any_interface(policy);
        for interface in known.interfaces.values_mut().chain(&mut known.any_interface) {
            assume_capacity(interface);
        }
        known.preemption = false;
        let grouped = Ledger::proving(Arc::new(known.clone()), proven_error_terms);
        known.groups.clear();
        let empty = Ledger::proving(Arc::new(known), proven_error_terms);
        let interfaces = distinct(&policy.interfaces, |interface| InterfacePolicy {
            place: Place::default(),
            ..interface.clone()
        });
        let any = policy.any_interface.iter().map(|_| ANY_INTERFACE.to_owned());
        let interfaces: Vec<_> = interfaces.into_iter().map(str::to_owned).chain(any).collect();
        let owners = policy.classes.iter().map(|(name, class)| (name.clone(), owner_for(class)));
        let groups = policy.groups.iter().map(|(name, group)| (name.clone(), group.interface.clone()));
        Self {
            empty,
            grouped,
            grouped_interfaces: grouped_interfaces(policy),
            interfaces,
            owners: owners.collect(),
            group_interfaces: groups.collect(),
            trials: 0,
            most,
        }
    }

    /// A warning for each group of the policy that is refused.
    fn unmade_groups(&self, policy: &Policy) -> Vec<Problem> {
        let refused = self.grouped.group_differences().into_iter();
        let refused = refused.filter_map(|(name, difference)| match difference {
            GroupDifference::Refused(refusal) => Some((name, refusal)),
            _ => None,
        });
        let problem = |(name, refusal): (String, Refusal)| {
            let group = policy.groups.get(&name)?;
            // The kernel knows the MTU.
            if matches!(refusal, Refusal::Mtu { .. }) && self.has_mtu_of_kernel(&group.interface) {
                return None;
            }
            let message = format!(
                "group.{name} is not made, even if no flow is admitted: {refusal} ({})",
                refusal.reason()
            );
            Some(Problem::new(Code::GroupTooLarge, group.place.clone(), message))
        };
        refused.filter_map(problem).collect()
    }

    /// Why each interface refuses the flowspecs in each of the classes; `None` if one admits them. A rule's are tried beside
    /// the groups' reservations.
    fn refused<'c>(
        &mut self,
        qos: &Qos,
        classes: impl IntoIterator<Item = Option<&'c str>> + Clone,
        rule: Option<&Assigned<'_>>,
    ) -> Result<Option<Reasons>, Exhausted> {
        let group = rule.and_then(|rule| rule.group);
        let interfaces = match group {
            Some(group) => self.group_interfaces.get(group).cloned().into_iter().collect(),
            None if rule.is_some() => self.grouped_interfaces.clone(),
            None => self.interfaces.clone(),
        };
        let mut reasons = BTreeMap::new();
        for interface in interfaces {
            for class in classes.clone() {
                self.trials += 1;
                if self.trials > self.most {
                    return Err(Exhausted);
                }
                let mut request = Request::new(NewFlow { id: "trial", interface: &interface }, *qos);
                request.class = class.map(str::to_owned);
                request.group = group.map(str::to_owned);
                request.owner = class.and_then(|class| self.owners.get(class).cloned()).unwrap_or_default();
                let ledger = if rule.is_some() { &mut self.grouped } else { &mut self.empty };
                match ledger.consider(&request) {
                    Ok(_) => return Ok(None),
                    // The kernel knows the MTU.
                    Err(Refusal::Mtu { .. }) if self.has_mtu_of_kernel(&interface) => return Ok(None),
                    // The first is the one without a class, or with the class of the rule.
                    Err(refusal) => reasons.entry(interface.clone()).or_insert(refusal),
                };
            }
        }
        Ok((!reasons.is_empty()).then_some(Reasons(reasons)))
    }

    fn has_mtu_of_kernel(&self, interface: &str) -> bool {
        self.empty.policy().interface(interface).is_some_and(|interface| interface.mtu.is_none())
    }
}

/// The interfaces that differ beside the policy's groups: those with the reservation of a group, on themselves or on their
/// wire, and of the others those of which none means the same as another.
fn grouped_interfaces(policy: &Policy) -> Vec<String> {
    let parent = |name: &&str| policy.interface(name)?.parent.as_deref();
    // A checked policy has no circles.
    let wire = |name| std::iter::successors(Some(name), parent).take(1 + policy.interfaces.len());
    let of_groups = policy.groups.values().map(|group| group.interface.as_str());
    let reserved: BTreeSet<_> = of_groups.flat_map(wire).collect();
    let mut others = policy.interfaces.clone();
    others.retain(|name, _| !reserved.contains(name.as_str()));
    let others =
        distinct(&others, |interface| InterfacePolicy { place: Place::default(), ..interface.clone() });
    let any = policy.any_interface.iter().map(|_| ANY_INTERFACE);
    reserved.iter().copied().chain(others.iter().copied()).chain(any).map(str::to_owned).collect()
}

/// Gives an interface that has its capacity from the kernel one that admits every rate.
fn assume_capacity(interface: &mut InterfacePolicy) {
    for direction in Direction::BOTH {
        let budget = interface.budgets.get_mut(direction);
        if budget.capacity == Capacity::Auto {
            *budget = Budget { capacity: Capacity::Rate(ANY_CAPACITY), ..*budget };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    /// The codes of the warnings about a policy with these lines, whose messages contain these words.
    #[track_caller]
    fn check(name: &str, lines: &str, expected: &[(&str, &str)]) {
        let text = format!("version = 1\n{lines}");
        let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect(name);
        let found = infeasible(&policy);
        assert_eq!(found.len(), expected.len(), "{name}: {found:#?}");
        for (problem, (code, words)) in found.iter().zip(expected) {
            assert_eq!(problem.code.id(), *code, "{name}");
            assert!(problem.message.contains(words), "{name}: {}", problem.message);
        }
    }

    const ETH0: &str = "[interface.eth0]\negress = { capacity = \"100 Mbit/s\" }\n";

    fn template(fields: &str) -> String {
        format!("[template.t]\nsending = {{ service_type = \"guaranteed\", {fields} }}\n")
    }

    #[test]
    fn a_template_that_no_interface_admits_is_named_with_the_reasons() {
        let fits = |rate: &str| format!("{ETH0}{}", template(&format!("token_rate = \"{rate}\"")));
        check("an exact fit", &fits("80 Mbit/s"), &[]);
        check("one more", &fits("80.008 Mbit/s"), &[("GQ0106", "interface_budget")]);
        check("no interfaces", &template("token_rate = \"1 Gbit/s\""), &[]);
        let second = "[interface.eth1]\negress = { capacity = \"1 Gbit/s\" }\n";
        check("another interface admits it", &format!("{}{second}", fits("81 Mbit/s")), &[]);
        let auto = "[interface.\"*\"]\negress = { capacity = \"auto\" }\n";
        check(
            "the kernel knows the capacity",
            &format!("{auto}{}", template("token_rate = \"9 Gbit/s\"")),
            &[],
        );
        let delay =
            template("token_rate = \"6 Mbit/s\", token_bucket_size = \"64 KiB\", latency = \"50 ms\"");
        check("no bound is proven", &format!("{ETH0}{delay}"), &[("GQ0106", "(delay)")]);
        check("on no link is a bound proven", &format!("{auto}{delay}"), &[("GQ0106", "(delay)")]);
        let terms = "error_terms = { c = \"1500 B\", d = \"2 ms\" }\n";
        check("a bound is stated", &format!("{ETH0}{terms}{delay}"), &[]);
        let jumbo = template("token_rate = \"6 Mbit/s\", max_sdu_size = \"9000 B\"");
        check("packets above an unknown MTU", &format!("{ETH0}{jumbo}"), &[]);
        check("packets above the MTU", &format!("{ETH0}mtu = \"1500 B\"\n{jumbo}"), &[("GQ0106", "(mtu)")]);
        let buffer = template("token_rate = \"6 Mbit/s\", token_bucket_size = \"64 KiB\"");
        check(
            "no space for the bucket",
            &format!("{ETH0}buffer = \"10 kB\"\n{buffer}"),
            &[("GQ0106", "(buffer)")],
        );
        let load =
            "[template.t]\nsending = { service_type = \"controlled_load\", token_rate = \"100 Mbit/s\" }\n";
        check("declared load", &format!("{ETH0}{load}"), &[("GQ0106", "interface_budget")]);
        let class = "[class.c]\noverbooking = 2.0\n";
        check("a class overbooks it", &format!("{ETH0}{load}{class}"), &[]);
        let owned = "[class.c]\noverbooking = 2.0\nmatch = { uid = \"1000-1999\", cgroup = \"/a\" }\n";
        check("a class of some owners overbooks it", &format!("{ETH0}{load}{owned}"), &[]);
        let group = "[group.g]\ninterface = \"eth0\"\nsending = { service_type = \"guaranteed\", token_rate = \"79 Mbit/s\" }\n";
        check("groups leave too little, but may end", &format!("{}{group}", fits("2 Mbit/s")), &[]);
    }

    #[test]
    fn a_rule_whose_flows_are_always_refused_is_named() {
        let slow = template("token_rate = \"6 Mbit/s\"");
        let rule = |rest: &str| format!("{ETH0}{slow}[[rule]]\ntemplate = \"t\"\n{rest}");
        let class = |rate: &str| rule(&format!("class = \"c\"\n[class.c]\nmax_rate = \"{rate}\"\n"));
        check("as much as the class allows", &class("6 Mbit/s"), &[]);
        check(
            "more than the class allows",
            &class("5 Mbit/s"),
            &[("GQ0110", "max_rate is 5 Mbit/s (flow_rate)")],
        );
        check("without a class", &rule(""), &[]);
        let share = rule("class = \"c\"\n[class.c]\nshare = \"5 Mbit/s\"\n");
        check("more than the class's share", &share, &[("GQ0110", "in class c")]);
        let ladder = format!(
            "{ETH0}{slow}[template.hd]\nsending = {{ service_type = \"guaranteed\", token_rate = \"9 Mbit/s\" }}\n[class.c]\nmax_rate = \"8 Mbit/s\"\n[[rule]]\ntemplate = [\"hd\", \"t\"]\nclass = \"c\"\n"
        );
        check("one rung of a ladder", &ladder, &[("GQ0110", "template \"hd\"")]);
        let group = |rate: &str| {
            rule(&format!(
                "group = \"g\"\n[group.g]\ninterface = \"eth0\"\nsending = {{ service_type = \"guaranteed\", token_rate = \"{rate}\" }}\n"
            ))
        };
        check("as much as the group has", &group("6 Mbit/s"), &[]);
        check("more than the group has", &group("5 Mbit/s"), &[("GQ0110", "in group g")]);
    }

    #[test]
    fn a_proxy_whose_clients_are_always_refused_is_named() {
        let slow = template("token_rate = \"6 Mbit/s\"");
        let proxy = |own: &str, rule: &str, rate: &str| {
            format!(
                "{ETH0}{slow}[class.c]\nmax_rate = \"{rate}\"\n[proxy.a]\nlisten = \"127.0.0.1:80\"\nto = \"origin:80\"\n{own}[[proxy.a.rule]]\n{rule}"
            )
        };
        let (class, template) = ("class = \"c\"\n", "template = \"t\"\n");
        let both = format!("{class}{template}");
        let of_rule = [("GQ0110", "proxy.a.rule: the rule's template \"t\" is always refused in class c")];
        check("as much as the class allows", &proxy(&both, &both, "6 Mbit/s"), &[]);
        check("of the rule", &proxy("", &both, "5 Mbit/s"), &of_rule);
        check("by the proxy's class", &proxy(class, template, "5 Mbit/s"), &of_rule);
        let own =
            [("GQ0110", "proxy.a: the proxy's template \"t\" is always refused in class c"), of_rule[0]];
        check("of the proxy", &proxy(&both, template, "5 Mbit/s"), &own);
        check("without a class", &proxy(template, template, "5 Mbit/s"), &[]);
    }

    #[test]
    fn a_rule_for_which_groups_leave_too_little_is_named() {
        let policy = |group_class: &str, rate: &str, rule_class: &str| {
            let rule = format!("[[rule]]\ntemplate = \"t\"\n{rule_class}");
            let group = format!(
                "[group.g]\ninterface = \"eth0\"\n{group_class}sending = {{ service_type = \"guaranteed\", token_rate = \"{rate}\" }}\n"
            );
            let classes = "[class.c]\nshare = \"10 Mbit/s\"\n[class.d]\nshare = \"40 Mbit/s\"\n";
            format!("{ETH0}{}{classes}{group}{rule}", template("token_rate = \"6 Mbit/s\""))
        };
        let in_class = "class = \"c\"\n";
        check("the group leaves just enough of the share", &policy(in_class, "4 Mbit/s", in_class), &[]);
        let named = [("GQ0110", "always refused in class c: eth0 sending, class c: 6 Mbit/s asked")];
        check("the group leaves too little of the share", &policy(in_class, "5 Mbit/s", in_class), &named);
        check("the group is of another class", &policy("class = \"d\"\n", "5 Mbit/s", in_class), &[]);
        let budget = [("GQ0110", "always refused: eth0 sending: 6 Mbit/s asked")];
        check("the group leaves too little of the interface", &policy("", "75 Mbit/s", ""), &budget);
        check("the group leaves just enough of the interface", &policy("", "74 Mbit/s", ""), &[]);
    }

    /// A group with these fields.
    fn group(name: &str, fields: &str, sending: &str) -> String {
        format!(
            "[group.{name}]\ninterface = \"eth0\"\n{fields}sending = {{ service_type = \"guaranteed\", {sending} }}\n"
        )
    }

    #[test]
    fn a_group_that_is_not_made_is_named_with_the_reason() {
        let rate = |name: &str, rate: &str| group(name, "", &format!("token_rate = \"{rate}\""));
        let made = |lines: &str| check(lines, &format!("{ETH0}{lines}"), &[]);
        let refused =
            |lines: &str, words: &str| check(lines, &format!("{ETH0}{lines}"), &[("GQ0102", words)]);
        made(&rate("g", "80 Mbit/s"));
        refused(&rate("g", "81 Mbit/s"), "group.g is not made, even if no flow is admitted: eth0 sending");
        let three = [rate("a", "70 Mbit/s"), rate("b", "70 Mbit/s"), rate("c", "10 Mbit/s")].concat();
        refused(&three, "group.b is not made");
        let small = "token_rate = \"6 Mbit/s\"";
        let class = "[class.c]\nshare = \"5 Mbit/s\"\n";
        refused(&format!("{class}{}", group("g", "class = \"c\"\n", small)), "(class_share)");
        let peak = "[class.c]\nallocate = \"peak\"\n";
        refused(&format!("{peak}{}", group("g", "class = \"c\"\n", small)), "(flow_rate)");
        let high = format!("{small}, peak_bandwidth = \"2 Gbit/s\"");
        refused(&format!("{peak}{}", group("g", "class = \"c\"\n", &high)), "(interface_budget)");
        refused(&group("g", "", &format!("{small}, latency = \"50 ms\"")), "(delay)");
        refused(&group("g", "", &format!("{small}, reserved_rate = \"2 Gbit/s\"")), "(interface_budget)");
        made(&group("g", "mode = \"shared\"\n", "token_rate = \"2 Gbit/s\""));
        let jumbo = group("g", "", &format!("{small}, max_sdu_size = \"9000 B\""));
        made(&jumbo);
        refused(&format!("mtu = \"1500 B\"\n{jumbo}"), "(mtu)");
        let bucket = group("g", "", &format!("{small}, token_bucket_size = \"64 KiB\""));
        refused(&format!("buffer = \"10 kB\"\n{bucket}"), "(buffer)");
        let parent = "[interface.vlan]\negress = { capacity = \"100 Mbit/s\" }\nparent = \"eth0\"\n";
        let on_vlan = rate("v", "79 Mbit/s").replace("\"eth0\"", "\"vlan\"");
        refused(&format!("{parent}{}{on_vlan}", rate("g", "2 Mbit/s")), "group.v is not made");
    }

    #[test]
    fn an_interface_without_the_groups_reservation_admits_what_an_equal_one_does_not() {
        let slow = template("token_rate = \"6 Mbit/s\"");
        let policy = |second: &str| {
            let full = group("g", "", "token_rate = \"75 Mbit/s\"");
            format!("{ETH0}{second}{slow}{full}[[rule]]\ntemplate = \"t\"\n")
        };
        check("the only interface", &policy(""), &[("GQ0110", "always refused")]);
        check("an equal one", &policy("[interface.eth1]\negress = { capacity = \"100 Mbit/s\" }\n"), &[]);
    }

    #[test]
    fn a_search_that_ends_before_its_end_says_where() {
        let text = format!(
            "version = 1\n{ETH0}[class.c]\nmax_flows = 1\n[template.a]\nsending = {{ service_type = \"guaranteed\", token_rate = \"1 Gbit/s\" }}\n{}[[rule]]\nclass = \"c\"\ntemplate = \"t\"\n",
            template("token_rate = \"81 Mbit/s\"")
        );
        let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: &text }]).unwrap();
        let found = |most: usize| {
            let search = FeasibilitySearch { trial: Trial::new(&policy, most), problems: Vec::new() };
            let found = search.run(&policy).into_iter();
            found.map(|problem| (problem.code.id(), problem.place.span.start)).collect::<Vec<_>>()
        };
        let codes = |found: &[(&'static str, usize)]| found.iter().map(|(code, _)| *code).collect::<Vec<_>>();
        assert_eq!(codes(&found(4)), ["GQ0106", "GQ0106"], "two templates, with and without the class");
        assert_eq!(codes(&found(3)), ["GQ0106", "GQ0112"]);
        let (first, second) = (found(4), found(3));
        assert_eq!(first[1].1, second[1].1, "the template that was not tried to its end");
        assert_eq!(codes(&found(0)), ["GQ0112"]);
        assert_eq!(found(0)[0].1, first[0].1);
    }
}
