//! A plan as text.

use std::fmt::Write;

use gqos::tc::{DEFAULT_CLASS, LINK_CLASS};

use super::planned::Planned;
use super::receiving::PlannedReceiving;
use super::tree::{PlannedClass, Qdisc, TreeDifference};
use crate::cli::output::{counted, wrapped};

/// One interface: its tree and the commands for it, or the changes that make its tree.
pub(super) fn text(planned: &Planned) -> String {
    let mut text = heading(planned);
    match (&planned.difference, &planned.not_programmed) {
        (Some(difference), why) => changes(&mut text, difference, why.is_none()),
        (None, Some(_)) => {}
        (None, None) => tree(&mut text, planned),
    }
    if let Some(half) = &planned.receiving {
        receiving(&mut text, half);
    }
    text
}

// Writing to a String cannot fail.

fn heading(planned: &Planned) -> String {
    let Planned { interface, index, mtu, capacity, reservable, .. } = planned;
    let index = index.map_or_else(|| "not on this machine".to_owned(), |index| format!("interface {index}"));
    let source = if planned.capacity_is_read { "read from the link" } else { "by the policy" };
    let rates = match (capacity, reservable) {
        (Some(capacity), Some(reservable)) => format!("{capacity} {source}, {reservable} reservable"),
        _ => "capacity unknown".to_owned(),
    };
    let mut text = format!("{interface} ({index})\n");
    text.push_str(&wrapped("  ", &format!("{rates}, MTU {} B", mtu.get())));
    if let Some(why) = &planned.not_programmed {
        text.push_str(&wrapped("  ", &format!("Nothing is programmed: {why}.")));
    }
    if let Some(holder) = &planned.managed_by {
        text.push_str(&wrapped("  ", &format!("It is managed now by {holder}.")));
    }
    text
}

/// What the first flow that reserves for receiving adds, or how the kernel differs from it.
fn receiving(text: &mut String, half: &PlannedReceiving) {
    let PlannedReceiving { ifb, capacity, reservable, not_programmed, difference, .. } = half;
    let lead = format!(
        "Receiving, with the first flow that reserves for it: {ifb}, {capacity}, {reservable} reservable"
    );
    text.push_str(&wrapped("  ", &lead));
    match (difference, not_programmed) {
        (_, Some(why)) => {
            text.push_str(&wrapped("  ", &format!("No class for what is received: {why}.")));
        }
        (Some(difference), None) if !difference.differs => {
            text.push_str(&wrapped("  ", "Nothing differs for what is received."));
        }
        (Some(difference), None) => changes(text, difference, true),
        (None, None) => {
            objects(text, &half.qdiscs, &half.classes);
            for command in &half.commands {
                let _ = writeln!(text, "{command}");
            }
        }
    }
}

fn tree(text: &mut String, planned: &Planned) {
    objects(text, &planned.qdiscs, &planned.classes);
    let filters = format!(
        "No filters: sockets choose their class by SO_PRIORITY. Each reserved flow adds a class below {LINK_CLASS}."
    );
    text.push_str(&wrapped("  ", &filters));
    for command in &planned.commands {
        let _ = writeln!(text, "{command}");
    }
}

fn objects(text: &mut String, qdiscs: &[Qdisc], classes: &[PlannedClass]) {
    for Qdisc { handle, parent, kind, default, direct_qlen, limit, target, interval } in qdiscs {
        let handle = handle.as_ref().map(|handle| format!("{handle} ")).unwrap_or_default();
        let parent = if parent == "root" { parent.clone() } else { format!("parent {parent}") };
        let mut attributes = Vec::new();
        attributes.extend(default.as_ref().map(|class| format!("default {class}")));
        attributes.extend(direct_qlen.map(|packets| format!("direct_qlen {packets} packets")));
        attributes.extend(limit.map(|limit| format!("limit {} B", limit.get())));
        attributes.extend(target.map(|target| format!("target {target}")));
        attributes.extend(interval.map(|interval| format!("interval {interval}")));
        let _ = writeln!(text, "  qdisc {kind} {handle}{parent}: {}", attributes.join(", "));
    }
    for class in classes {
        let PlannedClass { handle, parent, kind, rate, ceil, burst, cburst, quantum, prio } = class;
        let _ = writeln!(text, "  class {kind} {handle} parent {parent}{}", purpose(handle));
        let _ = writeln!(
            text,
            "      rate {rate}, burst {} B; ceil {ceil}, cburst {} B;",
            burst.get(),
            cburst.get()
        );
        let _ = writeln!(text, "      quantum {} B, prio {prio}", quantum.get());
    }
}

fn purpose(handle: &str) -> &'static str {
    if handle == LINK_CLASS.to_string() {
        ": the link"
    } else if handle == DEFAULT_CLASS.to_string() {
        ": traffic without a reservation"
    } else {
        ""
    }
}

fn changes(text: &mut String, difference: &TreeDifference, is_programmed: bool) {
    let TreeDifference { differs, changes, flow_classes } = difference;
    if *flow_classes > 0 {
        let classes = if *flow_classes == 1 { "class of its flows is" } else { "classes of its flows are" };
        let _ = writeln!(text, "  {flow_classes} {classes} not compared.");
    }
    let _ = match (differs, changes.len()) {
        (false, _) if is_programmed => writeln!(text, "  The kernel has this tree."),
        (false, _) => writeln!(text, "  The kernel has no tree of gqos."),
        (true, 0) => writeln!(text, "  The kernel has another tree, which is left alone."),
        (true, count) => writeln!(text, "  {}:", counted(count, "change")),
    };
    for step in changes {
        let _ = writeln!(text, "{}", step.command);
        if let Some(replaces) = &step.replaces {
            let _ = writeln!(text, "# replaces {replaces}");
        }
    }
}
