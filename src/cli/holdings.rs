//! What a policy can hold, for people.

use std::fmt::Write;

use flowspec::Direction;
use gqos::admission::{GroupLimit, Reason};
use gqos::scenario::{Fill, HoldingChange, HoldingLimit, Holdings, InterfaceHoldings};

use super::output::counted;

/// The most interfaces, the most classes and groups of one, and the most templates of one of these that are listed.
const MOST_INTERFACES: usize = 8;
const MOST_ROWS: usize = 20;
const MOST_TEMPLATES: usize = 6;

/// What each interface can hold: a line for each class and group.
pub(super) fn summary(holdings: &Holdings) -> String {
    let mut text = String::new();
    for interface in holdings.interfaces.iter().take(MOST_INTERFACES) {
        interface_lines(&mut text, interface);
    }
    let hidden = holdings.interfaces.len().saturating_sub(MOST_INTERFACES);
    if hidden > 0 {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "and {}; --json lists all", counted(hidden, "other interface"));
    }
    if holdings.uncounted > 0 {
        let combinations = counted(usize::try_from(holdings.uncounted).unwrap_or(usize::MAX), "combination");
        let _ = writeln!(text, "{combinations} of a class and a template not counted: the policy is large");
    }
    text
}

/// The numbers that differ between two policies.
pub(super) fn changes(changes: &[HoldingChange]) -> String {
    let mut text = String::new();
    for change in changes {
        let HoldingChange { interface, class, group, template, before, after } = change;
        let holder = holder(class.as_deref(), group.as_deref());
        let [before, after] = [before, after].map(|flows| flows.unwrap_or_default());
        let _ = writeln!(text, "{interface} {holder}: {before} → {after} × {template}");
    }
    text
}

fn interface_lines(text: &mut String, interface: &InterfaceHoldings) {
    let names = match &interface.names[..] {
        names @ ([_] | [_, _] | [_, _, _]) => names.join(", "),
        names => format!("{} and {} like it", names[0], names.len() - 1),
    };
    let reservable = Direction::BOTH.map(|direction| match interface.reservable.get(direction) {
        Some(rate) => format!("{direction} {rate}"),
        None => format!("{direction} by the speed of the link (capacity = \"auto\")"),
    });
    let _ = writeln!(text, "{names}: reservable {}", reservable.join(", "));
    let rows = interface.fills.chunk_by(|a, b| (&a.class, &a.group) == (&b.class, &b.group));
    let rows: Vec<_> = rows.filter_map(row).collect();
    for row in rows.iter().take(MOST_ROWS) {
        let _ = writeln!(text, "  {row}");
    }
    if rows.len() > MOST_ROWS {
        let _ = writeln!(text, "  and {} more; --json lists all", rows.len() - MOST_ROWS);
    }
}

/// `viewer: 19 × 1080p, or 30 × 720p (the sending budget of 80 Mbit/s)`. A template that is always refused is left out: it
/// has a warning where that may be a mistake.
fn row(fills: &[Fill]) -> Option<String> {
    let first = fills.first()?;
    let mut fitting: Vec<_> = fills.iter().filter(|fill| fill.flows > 0).collect();
    fitting.sort_by_key(|fill| fill.flows);
    let hidden = fitting.len().saturating_sub(MOST_TEMPLATES);
    fitting.truncate(MOST_TEMPLATES);
    let alike = fitting.chunk_by(|a, b| a.limit == b.limit);
    let parts = alike.map(|fills| {
        let counts: Vec<_> = fills.iter().map(|fill| count(fill)).collect();
        let limit = fills[0].limit.map_or(String::new(), |limit| format!(" ({})", limit_text(&limit)));
        counts.join(", or ") + &limit
    });
    let parts: Vec<_> = parts.collect();
    let more = if hidden > 0 { format!(", and {hidden} more") } else { String::new() };
    let holder = holder(first.class.as_deref(), first.group.as_deref());
    (!parts.is_empty()).then(|| format!("{holder}: {}{more}", parts.join(", or ")))
}

fn count(fill: &Fill) -> String {
    let least = if fill.limit.is_none() { "at least " } else { "" };
    format!("{least}{} × {}", fill.flows, fill.template)
}

fn holder(class: Option<&str>, group: Option<&str>) -> String {
    match (class, group) {
        (Some(class), _) => class.to_owned(),
        (None, Some(group)) => format!("group {group}"),
        (None, None) => "without a class".to_owned(),
    }
}

fn limit_text(limit: &HoldingLimit) -> String {
    let direction = limit.direction.map_or(String::new(), |direction| format!("{direction} "));
    let of = limit.budget.map_or(String::new(), |budget| format!(" of {budget}"));
    match limit.reason {
        Reason::InterfaceBudget => format!("the {direction}budget{of}"),
        Reason::ClassShare => format!("the class's {direction}share{of}"),
        Reason::ClassFlows => "max_flows of the class".to_owned(),
        Reason::InterfaceFlows => "max_flows of the interface".to_owned(),
        Reason::Buffer => format!("the interface's {direction}buffer"),
        Reason::GroupBudget => {
            let number = limit.group_limit.map_or("flowspec", GroupLimit::name);
            format!("the group's {direction}{number}")
        }
        other => other.to_string(),
    }
}
