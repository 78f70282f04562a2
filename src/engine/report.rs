//! The state of interfaces, with what the kernel counts.

use std::collections::BTreeMap;

use flowspec::Rate;
use serde::Serialize;

use crate::linux::ClassState;
use crate::manager::Status;
use crate::tc::{DEFAULT_CLASS, Handle, LINK_CLASS};

/// The state of an interface, with what the kernel counts.
#[derive(Clone, Debug)]
pub struct InterfaceReport {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// Budget, reserved, and whether a tree is programmed.
    pub status: Status,
    /// Packets that bypassed every class.
    pub direct_packets: u32,
    /// The kernel's classes.
    pub classes: Vec<ClassReport>,
}

impl InterfaceReport {
    /// The report of an interface whose classes are not read.
    pub(super) const fn without_tree(interface: String, status: Status) -> Self {
        Self { interface, status, direct_packets: 0, classes: Vec::new() }
    }
}

/// A leaf of an interface's tree, with the kernel's counters.
#[derive(Clone, Debug, Serialize)]
pub struct ClassReport {
    /// As `tc` writes it.
    pub class: String,
    /// The flow it carries; `link` and `default` for the trunk.
    pub flow: String,
    /// Its rate, link headers included.
    pub rate: Rate,
    /// What the kernel counted, link headers included.
    pub sent_bytes: u64,
    /// Packets that its queue dropped since it was made.
    pub dropped: u32,
}

pub(super) fn class_report(state: &ClassState, flows: &BTreeMap<Handle, String>) -> ClassReport {
    let handle = state.class.handle;
    let flow = match handle {
        LINK_CLASS => "link".to_owned(),
        DEFAULT_CLASS => "default".to_owned(),
        _ => flows.get(&handle).cloned().unwrap_or_default(),
    };
    ClassReport {
        class: handle.to_string(),
        flow,
        rate: state.class.rate,
        sent_bytes: state.sent_bytes,
        dropped: state.dropped,
    }
}
