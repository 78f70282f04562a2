//! Compares the names of a test file with the policies and with the flows that its tests open, before anything is run.
//!
//! A step that names something that does not exist is refused or finds nothing, whatever the policy decides; a test with
//! such a step shows nothing. A step may name what does not exist if it expects what follows from that.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expectations::suggestion;
use super::named::{NameKind, NameUse};
use super::names::IdPattern;
use super::step::{Action, Step};
use super::suite::{Suite, Test};
use crate::admission::Reason;
use crate::policy::device::device_name_fault;
use crate::policy::{Code, Policy, Problem};

impl Suite {
    /// The names that neither the policies define nor the tests introduce, in the order of their places.
    ///
    /// `policies` holds the policies by the names that the file gives them; what follows a policy that is not there is
    /// not checked.
    pub fn check(&self, policies: &BTreeMap<String, Arc<Policy>>) -> Vec<Problem> {
        let mut problems: Vec<_> =
            self.tests.iter().flat_map(|test| self.check_test(test, policies)).collect();
        problems.sort_by_key(|problem| problem.place.span.start);
        problems
    }

    fn check_test(&self, test: &Test, policies: &BTreeMap<String, Arc<Policy>>) -> Vec<Problem> {
        let first = test.policy.as_ref().or(self.policy.as_ref());
        let Some(first) = first.and_then(|name| policies.get(name)) else { return Vec::new() };
        let mut known = KnownNames { policies: vec![first], ..KnownNames::default() };
        let mut problems = Vec::new();
        for step in &test.steps {
            if let Action::Reload(name) = &step.action {
                let Some(policy) = policies.get(name) else { break };
                known.policies.push(policy);
            }
            if let Action::Connect(connect) = &step.action {
                known.flows.push(&connect.id);
                known.clients.extend(connect.client.as_deref());
            }
            if let Action::Group(group) = &step.action {
                known.groups.push(&group.id);
            }
            let used = step.names.iter().filter(|name| name.kind == NameKind::Interface && !name.is_expected);
            known.interfaces.extend(used.map(|name| name.names.pattern.as_str()));
            if test.is_complete {
                problems.extend(known.without_interface(step));
            }
            let policy = known.policies.last().copied();
            let unknown = step.names.iter().filter(|name| !follows(step, name, policy));
            // A step that could not be read may have opened the flow.
            let unknown = unknown
                .filter(|name| test.is_complete || !matches!(name.kind, NameKind::Flow | NameKind::Client));
            problems.extend(unknown.filter_map(|name| known.problem(name)));
        }
        problems
    }
}

/// The reasons of refusals that end a request before its interface is known, in the order in which they are found.
const FOUND_IN_ORDER: [Reason; 10] = [
    Reason::UnknownTemplate,
    Reason::ClientLimit,
    Reason::DuplicateId,
    Reason::InvalidWindow,
    Reason::UnknownGroup,
    Reason::GroupElsewhere,
    Reason::UnknownClass,
    Reason::ClassOwner,
    Reason::InvalidPriority,
    Reason::UnknownInterface,
];

/// Whether a step expects what follows from a name that is not known: it is refused for that, or before the name is
/// looked up; or it is admitted all the same, since a flow that reserves nothing needs no interface of the policy.
fn follows(step: &Step, name: &NameUse, policy: Option<&Arc<Policy>>) -> bool {
    if name.is_expected {
        return false;
    }
    let reason = match name.kind {
        NameKind::Interface => Reason::UnknownInterface,
        NameKind::Class => Reason::UnknownClass,
        NameKind::Group => Reason::UnknownGroup,
        NameKind::Template => Reason::UnknownTemplate,
        NameKind::Flow => Reason::UnknownId,
        NameKind::Client => return false,
    };
    let Some(expect) = &step.expect else { return false };
    let is_expected = |reason: Reason| expect.reason.as_deref() == Some(reason.name());
    let place = FOUND_IN_ORDER.iter().position(|found| *found == reason);
    // A template is looked up before the flow that is to have it.
    let first = if name.kind == NameKind::Flow { 1 } else { 0 };
    let found_before = &FOUND_IN_ORDER[..place.unwrap_or(first)];
    let reserves_nothing = || match (&step.action, policy) {
        (Action::Connect(connect) | Action::Query(connect), Some(policy)) => {
            connect.qos.reserves_nothing(policy)
        }
        (Action::Group(group), Some(policy)) => group.qos.reserves_nothing(policy),
        _ => false,
    };
    // A query looks at its interface first.
    let is_query = matches!(step.action, Action::Query(_));
    // A measurement looks at its class first.
    let is_measurement = matches!(step.action, Action::Measure { .. });
    is_expected(reason)
        || is_measurement && name.kind == NameKind::Interface && is_expected(Reason::NotMeasured)
        || is_query && is_expected(Reason::UnknownInterface)
        || found_before.iter().any(|before| is_expected(*before))
        || name.kind == NameKind::Interface && expect.admitted == Some(true) && reserves_nothing()
}

/// What a test knows at a step.
#[derive(Default)]
struct KnownNames<'a> {
    /// The policies up to here: after a reload, flows of the one before may still exist.
    policies: Vec<&'a Arc<Policy>>,
    /// The flows that were opened.
    flows: Vec<&'a IdPattern>,
    clients: Vec<&'a str>,
    /// The groups that steps have made.
    groups: Vec<&'a str>,
    /// The interfaces that the actions of steps name.
    interfaces: Vec<&'a str>,
}

impl KnownNames<'_> {
    fn problem(&self, name: &NameUse) -> Option<Problem> {
        let NameUse { kind, names, place, .. } = name;
        let (message, near) = match kind {
            NameKind::Flow => {
                let id = self.unopened(names)?;
                let opened: Vec<_> = self.flows.iter().filter_map(|names| names.each().next()).collect();
                let near = help(&id, opened.iter().map(String::as_str));
                (format!("no step up to here opens a flow {id:?}"), near)
            }
            NameKind::Client => {
                let client = names.pattern.as_str();
                if self.clients.contains(&client) {
                    return None;
                }
                let near = help(client, self.clients.iter().copied());
                (format!("no step up to here opens a flow of the client {client:?}"), near)
            }
            // Nothing is reserved on an interface that only "*" stands for and no step names: nothing would be proven.
            NameKind::Interface if name.is_expected && self.is_untouched(names.pattern.as_str()) => {
                let interface = names.pattern.as_str();
                let near = help(interface, self.interfaces.iter().copied());
                (format!("no step up to here names the interface {interface:?}"), near)
            }
            NameKind::Interface | NameKind::Class | NameKind::Group | NameKind::Template => {
                let text = names.pattern.as_str();
                let is_made = *kind == NameKind::Group && self.groups.contains(&text);
                if is_made || self.policies.iter().any(|policy| is_defined(policy, *kind, text)) {
                    return None;
                }
                let defined = self.policies.iter().flat_map(|policy| defined(policy, *kind));
                (format!("the policy has no {} {text:?}", noun(*kind)), help(text, defined))
            }
        };
        Some(Problem::new(Code::UnknownName, place.clone(), message).with_help(near))
    }

    /// A step whose totals are those of no interface: no step has named one, and the policy has only `"*"`.
    fn without_interface(&self, step: &Step) -> Option<Problem> {
        let expect = step.expect.as_ref()?;
        let has_totals = expect.reserved.is_some() || expect.available.is_some();
        let has_table = self.policies.first().is_some_and(|policy| !policy.interfaces.is_empty());
        if !has_totals || expect.interface.is_some() || has_table || !self.interfaces.is_empty() {
            return None;
        }
        let message = "no step up to here names an interface whose totals could be compared".to_owned();
        let problem = Problem::new(Code::MissingKey, expect.place.clone(), message);
        Some(problem.with_help(Some("begin with a step that names one".to_owned())))
    }

    /// Whether the policy has an interface by `"*"` alone, and no step names it.
    fn is_untouched(&self, interface: &str) -> bool {
        let has_table = |policy: &Arc<Policy>| policy.interfaces.contains_key(interface);
        let is_any = |policy: &Arc<Policy>| is_defined(policy, NameKind::Interface, interface);
        !self.policies.iter().any(|policy| has_table(policy))
            && self.policies.iter().any(|policy| is_any(policy))
            && !self.interfaces.contains(&interface)
    }

    /// The first of the ids that no step opens.
    fn unopened(&self, names: &IdPattern) -> Option<String> {
        let all = |opened: &&&IdPattern| opened.pattern == names.pattern && opened.repeat >= names.repeat;
        if self.flows.iter().any(|opened| all(&opened)) {
            return None;
        }
        names.each().find(|id| !self.flows.iter().any(|opened| opened.contains(id)))
    }
}

/// The nearest name, or else some of those that there are.
fn help<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    const LISTED: usize = 5;
    let names: Vec<_> = names.collect();
    let listed: Vec<_> = names.iter().take(LISTED).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    let list = (!listed.is_empty()).then(|| format!("known: {}{more}", listed.join(", ")));
    suggestion(text, names.into_iter()).or(list)
}

fn is_defined(policy: &Policy, kind: NameKind, name: &str) -> bool {
    match kind {
        NameKind::Interface => {
            policy.interfaces.contains_key(name)
                || policy.any_interface.is_some() && device_name_fault(name).is_none()
        }
        NameKind::Class => policy.classes.contains_key(name),
        NameKind::Group => policy.groups.contains_key(name),
        NameKind::Template => policy.templates.contains_key(name),
        NameKind::Client | NameKind::Flow => false,
    }
}

fn defined(policy: &Policy, kind: NameKind) -> Vec<&str> {
    match kind {
        NameKind::Interface => policy.interfaces.keys().map(String::as_str).collect(),
        NameKind::Class => policy.classes.keys().map(String::as_str).collect(),
        NameKind::Group => policy.groups.keys().map(String::as_str).collect(),
        NameKind::Template => policy.templates.keys().map(String::as_str).collect(),
        NameKind::Client | NameKind::Flow => Vec::new(),
    }
}

const fn noun(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Interface => "interface",
        NameKind::Class => "class",
        NameKind::Group => "group",
        NameKind::Template => "template",
        NameKind::Client => "client",
        NameKind::Flow => "flow",
    }
}
