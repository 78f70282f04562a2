//! Coverage: which parts of a policy tests use.

use std::collections::BTreeSet;
use std::fmt;

use flowspec::Share;

use crate::admission::Reason;
use crate::policy::{Allocate, Class, Policy};

/// A definition of a policy, or a reason of refusals.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum CoverageItem {
    /// An interface, by the name of its table.
    Interface(String),
    /// `[class.NAME]`, by its name.
    Class(String),
    /// `[group.NAME]`, by its name.
    Group(String),
    /// `[template.NAME]`, by its name.
    Template(String),
    /// A rule, by its number from 1.
    Rule(usize),
    /// A refusal of this kind.
    Reason(Reason),
}

/// The items of a policy, and those of them that tests used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    /// What the policy defines, and the reasons for which it can refuse.
    pub all: BTreeSet<CoverageItem>,
    /// The items that tests used.
    pub covered: BTreeSet<CoverageItem>,
}

impl Coverage {
    /// The items of a policy: everything it defines, and every reason for which its limits can refuse a request.
    pub fn of(policy: &Policy) -> Self {
        let mut all = BTreeSet::new();
        all.extend(policy.interfaces.keys().cloned().map(CoverageItem::Interface));
        all.extend(policy.any_interface.iter().map(|_| CoverageItem::Interface("*".into())));
        all.extend(policy.classes.keys().cloned().map(CoverageItem::Class));
        all.extend(policy.groups.keys().cloned().map(CoverageItem::Group));
        all.extend(policy.templates.keys().cloned().map(CoverageItem::Template));
        all.extend((1..=policy.rules.len()).map(CoverageItem::Rule));
        all.extend(possible_reasons(policy).map(CoverageItem::Reason));
        Self { all, covered: BTreeSet::new() }
    }

    /// Adds the items that a test used; those that the policy does not have do not count.
    pub fn count(&mut self, covered: &BTreeSet<CoverageItem>) {
        self.covered.extend(covered.intersection(&self.all).cloned());
    }

    /// The items that no test used.
    pub fn uncovered(&self) -> impl Iterator<Item = &CoverageItem> {
        self.all.difference(&self.covered)
    }

    /// The covered part in per cent, rounded down; 100 if there are no items.
    pub fn percent(&self) -> u64 {
        (self.covered.len() as u64 * 100).checked_div(self.all.len() as u64).unwrap_or(100)
    }
}

/// The reasons for which the policy's own limits can refuse a request.
fn possible_reasons(policy: &Policy) -> impl Iterator<Item = Reason> {
    let interfaces = || policy.interfaces.values().chain(&policy.any_interface);
    let classes = || policy.classes.values();
    // A class that allocates by peak refuses flows without a finite one.
    let limits_rate = |class: &Class| class.max_rate.is_some() || class.allocate == Allocate::Peak;
    let is_limited = |class: &Class| class.share.is_some_and(|share| share != Share::Part(1_000_000_000));
    [
        (Reason::InterfaceBudget, interfaces().next().is_some()),
        (Reason::InterfaceFlows, interfaces().any(|interface| interface.max_flows.is_some())),
        (Reason::Buffer, interfaces().any(|interface| interface.buffer.is_some())),
        (Reason::ClassShare, classes().any(is_limited)),
        (Reason::ClassFlows, classes().any(|class| class.max_flows.is_some())),
        (Reason::ClassOwner, classes().any(|class| class.matches.is_some())),
        (Reason::FlowRate, classes().any(limits_rate)),
        (Reason::GroupBudget, !policy.groups.is_empty()),
        (Reason::ClientLimit, !policy.clients.is_empty()),
    ]
    .into_iter()
    .filter_map(|(reason, possible)| possible.then_some(reason))
}

impl fmt::Display for CoverageItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Class(name) => write!(f, "class {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Template(name) => write!(f, "template {name}"),
            Self::Rule(number) => write!(f, "rule {number}"),
            Self::Reason(reason) => write!(f, "reason {reason}"),
        }
    }
}
