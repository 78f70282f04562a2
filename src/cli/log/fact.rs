//! Facts of the manager as events of `tracing`: a sentence for people, and the facts' fields by name.
//!
//! Rates are in bytes per second, as in JSON. Facts that an operator may have to act on are warnings.

use flowspec::{Both, Rate};
use gqos::admission::Holding;
use gqos::telemetry::event::{
    CapacityChanged, ClassMeasured, FlowAdmitted, FlowRefused, FlowRenegotiated, FlowRerouted, GroupCharged,
    GroupMade, InterfaceOvercommitted, InterfaceReleased, InterfaceSharesWire, PolicyReloaded,
    RequestRefused, RootFileFailed, RootNotRestored, RootRestored, RootTakenOver, TreeChanged,
    TreeRolledBack,
};
use gqos::telemetry::{Event, Recorded};

use crate::cli::plain::plain;

/// Tells facts to the subscriber that is in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct FactLog {
    /// Whether fields have names as they are; the subscriber then writes what a terminal would obey as text.
    pub(super) is_exact: bool,
}

/// An event with the fields that every fact has.
macro_rules! fact {
    ($level:ident, $at:expr, $event:literal, { $($field:ident = $value:expr),* $(,)? }, $($words:tt)+) => {
        tracing::$level!(target: "gqos::fact", event = $event, at_us = $at, $($field = $value,)* $($words)+)
    };
}

/// A fact about a flow that is or was charged.
macro_rules! flow {
    ($log:expr, $level:ident, $at:expr, $event:literal, $flow:expr, { $($field:ident = $value:expr),* $(,)? }, $words:expr) => {{
        let Holding { id, interface, charged, group } = $flow;
        fact!($level, $at, $event, {
            id = $log.name(id),
            interface = $log.name(interface),
            group = $log.optional(group.as_deref()),
            charged_sending = charged.sending.get(),
            charged_receiving = charged.receiving.get(),
            $($field = $value),*
        }, "{}: {}", plain(id), $words)
    }};
}

impl FactLog {
    /// Tells one fact.
    pub(super) fn tell(self, recorded: &Recorded) {
        let at = recorded.at.as_micros();
        if !self.flow(at, &recorded.event)
            && !self.group(at, &recorded.event)
            && !self.interface(at, &recorded.event)
            && !self.root(at, &recorded.event)
        {
            self.other(at, recorded);
        }
    }

    /// Facts about a flow. Whether it is one.
    fn flow(self, at: u64, event: &Event) -> bool {
        match event {
            Event::FlowAdmitted(fact) => self.admitted(at, fact),
            Event::FlowRefused(fact) => self.refused(at, fact),
            Event::FlowRenegotiated(FlowRenegotiated { flow, previously: Both { sending, receiving } }) => {
                let words = format!("renegotiated, now {}", charged(&flow.charged));
                let (sending, receiving) = (sending.get(), receiving.get());
                let fields = (sending, receiving);
                flow!(self, info, at, "flow_renegotiated", flow,
                    { previously_sending = fields.0, previously_receiving = fields.1 }, words);
            }
            Event::FlowReleased(fact) => {
                let words = format!(
                    "released, {} free on {}",
                    charged(&fact.flow.charged),
                    plain(&fact.flow.interface)
                );
                flow!(self, info, at, "flow_released", &fact.flow, {}, words);
            }
            Event::FlowPreempted(fact) => {
                let words = format!("preempted by {}", plain(&fact.by));
                flow!(self, warn, at, "flow_preempted", &fact.flow, { by = self.name(&fact.by) }, words);
            }
            Event::FlowShed(fact) => {
                let words = format!("shed: {} carries less than before", plain(&fact.flow.interface));
                flow!(self, warn, at, "flow_shed", &fact.flow, {}, words);
            }
            Event::FlowLinkGone(fact) => {
                let words = format!("lost: {} is gone", plain(&fact.flow.interface));
                flow!(self, warn, at, "flow_link_gone", &fact.flow, {}, words);
            }
            Event::FlowExpired(fact) => {
                flow!(self, info, at, "flow_expired", &fact.flow, {}, "its time is over")
            }
            Event::FlowTimedOut(fact) => {
                let words = format!("lost: its peer is {}", fact.reason.name());
                flow!(self, warn, at, "flow_timed_out", &fact.flow, { reason = fact.reason.name() }, words);
            }
            Event::FlowNotEnforced(fact) => {
                let why = fact.why.to_string();
                let words = format!("lost: not enforced: {}", plain(&why));
                flow!(self, warn, at, "flow_not_enforced", &fact.flow, { why = self.name(&why) }, words);
            }
            Event::FlowRerouted(fact) => self.rerouted(at, fact),
            _ => return false,
        }
        true
    }

    fn admitted(self, at: u64, fact: &FlowAdmitted) {
        let FlowAdmitted { flow, class, rendition, kernel_class } = fact;
        let words = format!("admitted on {}: {}", plain(&flow.interface), charged(&flow.charged));
        flow!(self, info, at, "flow_admitted", flow, {
            class = self.optional(class.as_deref()),
            rendition = self.optional(rendition.as_deref()),
            kernel_class = kernel_class.map(|class| class.to_string()),
        }, words);
    }

    fn refused(self, at: u64, fact: &FlowRefused) {
        let FlowRefused { operation, id, interface, reason, error, refused } = fact;
        let sum = refused.to_string();
        fact!(info, at, "flow_refused", {
            op = operation.name(),
            id = self.name(id),
            interface = self.optional(interface.as_deref()),
            reason = reason.name(),
            error = error.name(),
            code = error.code(),
            sum = self.name(&sum),
        }, "{}: refused: {}", plain(id), plain(&sum));
    }

    fn rerouted(self, at: u64, fact: &FlowRerouted) {
        let FlowRerouted { flow, to } = fact;
        let from = plain(&flow.interface);
        let words = match to {
            Some(to) => format!("its packets leave by {} and no longer by {from}", plain(to)),
            None => format!("its packets have no route, and no longer leave by {from}"),
        };
        flow!(self, info, at, "flow_rerouted", flow, { to = self.optional(to.as_deref()) }, words);
    }

    /// Facts about requests that wait or are for no flow, and about groups. Whether it is one.
    fn group(self, at: u64, event: &Event) -> bool {
        match event {
            Event::RequestRefused(RequestRefused { operation, id, reason, error }) => {
                fact!(info, at, "request_refused", {
                    op = operation.name(), id = self.optional(id.as_deref()), reason = reason.name(), error = error.name(),
                }, "{} refused: {reason}", operation.name());
            }
            Event::RequestDeferred(fact) => {
                fact!(info, at, "request_deferred", { id = self.name(&fact.id), interface = self.name(&fact.interface) },
                    "{}: waits for the tree of {}", plain(&fact.id), plain(&fact.interface));
            }
            Event::RequestQueued(fact) => {
                fact!(info, at, "request_queued", { id = self.name(&fact.id), interface = self.name(&fact.interface) },
                    "{}: waits for capacity on {}", plain(&fact.id), plain(&fact.interface));
            }
            Event::CapacityAvailable(fact) => {
                fact!(
                    info,
                    at,
                    "capacity_available",
                    { id = self.name(&fact.id) },
                    "{}: would fit now",
                    plain(&fact.id)
                );
            }
            Event::GroupMade(GroupMade { id, interface, mode, charged: rates }) => {
                fact!(info, at, "group_made", {
                    id = self.name(id),
                    interface = self.name(interface),
                    mode = json_word(mode),
                    charged_sending = rates.sending.get(),
                    charged_receiving = rates.receiving.get(),
                }, "group {}: made on {}: {}", plain(id), plain(interface), charged(rates));
            }
            Event::GroupCharged(GroupCharged { id, interface, charged: rates, previously }) => {
                fact!(info, at, "group_charged", {
                    id = self.name(id),
                    interface = self.name(interface),
                    charged_sending = rates.sending.get(),
                    charged_receiving = rates.receiving.get(),
                    previously_sending = previously.sending.get(),
                    previously_receiving = previously.receiving.get(),
                }, "group {}: now {}", plain(id), charged(rates));
            }
            Event::GroupEnded(fact) => {
                fact!(info, at, "group_ended", {
                    id = self.name(&fact.id),
                    interface = self.name(&fact.interface),
                    charged_sending = fact.charged.sending.get(),
                    charged_receiving = fact.charged.receiving.get(),
                }, "group {}: ended", plain(&fact.id));
            }
            _ => return false,
        }
        true
    }

    /// Facts about links and their trees. Whether it is one.
    fn interface(self, at: u64, event: &Event) -> bool {
        match event {
            Event::CapacityChanged(fact) => self.capacity(at, fact),
            Event::InterfaceOvercommitted(fact) => self.overcommitted(at, fact),
            Event::InterfaceWithinBudget(fact) => {
                fact!(
                    info,
                    at,
                    "interface_within_budget",
                    { interface = self.name(&fact.interface) },
                    "{}: within its budget again",
                    plain(&fact.interface)
                );
            }
            Event::InterfacePrepared(fact) => {
                fact!(info, at, "interface_prepared", { interface = self.name(&fact.interface), index = fact.index },
                    "{}: the kernel has its tree", plain(&fact.interface));
            }
            Event::InterfaceLeftToUserSpace(fact) => {
                let why = fact.why.to_string();
                fact!(warn, at, "interface_left_to_user_space",
                    { interface = self.name(&fact.interface), why = self.name(&why) },
                    "{}: user space alone: {}", plain(&fact.interface), plain(&why));
            }
            Event::InterfaceGone(fact) => {
                fact!(
                    warn,
                    at,
                    "interface_gone",
                    { interface = self.name(&fact.interface) },
                    "{}: gone",
                    plain(&fact.interface)
                );
            }
            Event::InterfaceReleased(fact) => self.released(at, fact),
            Event::InterfaceSharesWire(InterfaceSharesWire { interface, with }) => {
                fact!(warn, at, "interface_shares_wire", { interface = self.name(interface), with = self.name(with) },
                    "{}: sends on the wire of {}, and the policy names no parent", plain(interface), plain(with));
            }
            Event::TreeChanged(TreeChanged { interface, found }) => {
                let found = found.to_string();
                fact!(warn, at, "tree_changed", { interface = self.name(interface), found = self.name(&found) },
                    "{}: another program has changed the tree, which is being repaired: {}", plain(interface), plain(&found));
            }
            Event::TreeApplied(fact) => {
                fact!(info, at, "tree_applied", { interface = self.name(&fact.interface), operations = fact.operations },
                    "{}: the kernel has applied {} operations", plain(&fact.interface), fact.operations);
            }
            Event::TreeRolledBack(fact) => self.rolled_back(at, fact),
            Event::ClassMeasured(ClassMeasured { interface, class, rate }) => {
                fact!(info, at, "class_measured", {
                    interface = self.name(interface),
                    class = self.name(class),
                    rate_sending = rate.sending.get(),
                    rate_receiving = rate.receiving.get(),
                }, "{} class {}: measured {}", plain(interface), plain(class), charged(rate));
            }
            _ => return false,
        }
        true
    }

    fn released(self, at: u64, fact: &InterfaceReleased) {
        let InterfaceReleased { interface, failure } = fact;
        match failure {
            None => fact!(
                info,
                at,
                "interface_released",
                { interface = self.name(interface) },
                "{}: managed no more, and without a tree",
                plain(interface)
            ),
            Some(failure) => {
                let cause = failure.to_string();
                fact!(warn, at, "interface_released", { interface = self.name(interface), failure = self.name(&cause) },
                    "{}: managed no more, and its tree could not be deleted: {}", plain(interface), plain(&cause));
            }
        }
    }

    /// Facts about root qdiscs of other programs. Whether it is one.
    fn root(self, at: u64, event: &Event) -> bool {
        match event {
            Event::RootTakenOver(RootTakenOver { interface, kind, handle, earlier }) => {
                let (root, by) =
                    (handle.to_string(), if *earlier { " by a process that was killed" } else { "" });
                fact!(warn, at, "root_taken_over",
                    { interface = self.name(interface), kind = self.name(kind), handle = root, earlier = *earlier },
                    "{}: {} {handle} was taken over{by}, and is restored at the end", plain(interface), plain(kind));
            }
            Event::RootRestored(RootRestored { interface, kind, handle }) => {
                let root = handle.to_string();
                fact!(info, at, "root_restored",
                    { interface = self.name(interface), kind = self.name(kind), handle = root },
                    "{}: {} {handle}, which was taken over, is restored", plain(interface), plain(kind));
            }
            Event::RootNotRestored(RootNotRestored { interface, kind, handle, failure }) => {
                let (root, cause) = (handle.to_string(), failure.to_string());
                fact!(warn, at, "root_not_restored", {
                    interface = self.name(interface),
                    kind = self.name(kind),
                    handle = root,
                    failure = self.name(&cause),
                }, "{}: {} {handle}, which was taken over, could not be restored: {}", plain(interface), plain(kind), plain(&cause));
            }
            Event::RootFileFailed(RootFileFailed { interface, failure }) => {
                let cause = failure.to_string();
                fact!(warn, at, "root_file_failed", { interface = self.name(interface), failure = self.name(&cause) },
                    "{}: the file of the qdisc that was taken over is of no use: {}", plain(interface), plain(&cause));
            }
            _ => return false,
        }
        true
    }

    fn capacity(self, at: u64, fact: &CapacityChanged) {
        let CapacityChanged { interface, direction, capacity, counts_from } = fact;
        fact!(info, at, "capacity_changed", {
            interface = self.name(interface),
            direction = direction.to_string(),
            capacity = capacity.get(),
            counts_from_us = counts_from.map(|moment| moment.as_micros()),
        }, "{}: carries {capacity} {direction}", plain(interface));
    }

    fn overcommitted(self, at: u64, fact: &InterfaceOvercommitted) {
        let InterfaceOvercommitted { interface, reserved, budget } = fact;
        fact!(warn, at, "interface_overcommitted", {
            interface = self.name(interface),
            reserved_sending = reserved.sending.get(),
            reserved_receiving = reserved.receiving.get(),
            budget_sending = budget.sending.get(),
            budget_receiving = budget.receiving.get(),
        }, "{}: more is reserved than it carries: {} of {}", plain(interface), charged(reserved), charged(budget));
    }

    fn rolled_back(self, at: u64, fact: &TreeRolledBack) {
        let TreeRolledBack { interface, operations, failure } = fact;
        let cause = failure.to_string();
        fact!(warn, at, "tree_rolled_back", {
            interface = self.name(interface),
            operations = *operations,
            call = failure.call.as_str(),
            object = self.name(&failure.object),
            failure = self.name(&cause),
        }, "{}: the kernel has refused a change, which was undone: {}", plain(interface), plain(&cause));
    }

    /// Facts about the policy and the manager, and those that this program does not know.
    fn other(self, at: u64, recorded: &Recorded) {
        match &recorded.event {
            Event::PolicyReloaded(fact) => self.reloaded(at, fact),
            Event::ManagerFaulted(fact) => {
                fact!(error, at, "manager_faulted",
                    { fault = self.name(&fact.fault), admission_stopped = fact.admission_stopped },
                    "the manager has panicked: {}", plain(&fact.fault));
            }
            _ => {
                let record = serde_json::to_string(recorded).unwrap_or_default();
                fact!(info, at, "other", { record = self.name(&record) }, "{}", plain(&record));
            }
        }
    }

    fn reloaded(self, at: u64, fact: &PolicyReloaded) {
        let PolicyReloaded { sources, reload } = fact;
        let changes = reload.changes.to_string();
        let words = if changes.is_empty() { "nothing in it has changed" } else { changes.trim_end() };
        fact!(info, at, "policy_reloaded", {
            sources = self.name(&sources.join(", ")),
            added = reload.changes.added.len(),
            removed = reload.changes.removed.len(),
            changed = reload.changes.changed.len(),
            orphans = reload.orphans.len(),
            over = reload.over.len(),
        }, "the policy was reloaded: {}", plain(&words.replace('\n', "; ")));
    }

    fn name(self, text: &str) -> String {
        if self.is_exact { text.to_owned() } else { plain(text).into_owned() }
    }

    fn optional(self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.name(text))
    }
}

/// `6 Mbit/s sending and 0 bit/s receiving`.
fn charged(rates: &Both<Rate>) -> String {
    format!("{} sending and {} receiving", rates.sending, rates.receiving)
}

/// A value whose JSON is a word.
fn json_word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
