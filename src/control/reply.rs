//! The parameters of the replies.

use std::collections::BTreeMap;

use flowspec::{Both, Flowspec, Micros, Moment, Rate};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decided::DecisionDetails;
use super::fields::{MissingField, required};
use crate::admission::{GroupDifference, NotProgrammed, Reason, Totals};
use crate::manager::{Admitted, Lost};
use crate::tc::Handle;

/// A notice in the stream of `Wait`.
///
/// - **JSON**: `{"notice": "lost", "lost": {"id": "v1", "interface": "eth0", "why": "shed"}}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case", try_from = "WrittenNotice")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that their names describe")]
pub enum ClientNotice {
    /// The first notice: what happens from now on is in the stream.
    Listening {},
    /// What the client may do while the daemon is not there: the second notice where it may do anything, and after each
    /// reload.
    Degrade {
        /// The templates and rules of the daemon's policy and its `degrade`, as a policy file; absent where clients are to
        /// refuse.
        policy: Option<String>,
    },
    /// A reservation was taken back.
    Lost { lost: Lost },
    /// A reservation that was made ahead begins.
    Begun {
        id: String,
        /// How its flow is set up.
        admitted: Box<Admitted>,
    },
    /// The kernel sends a flow's packets by another interface, where it is admitted. Its client attaches its socket again.
    Moved {
        id: String,
        /// The decision by its parts, which names the interface and the class.
        details: Box<DecisionDetails>,
        /// How its flow is set up.
        admitted: Box<Admitted>,
    },
    /// The request of a flow that waits would be granted now.
    Capacity { id: String },
    /// More is reserved on an interface than it carries, or no longer.
    Overcommitted { interface: String, over: bool },
}

/// A [`ClientNotice`] as JSON has it, with the fields of all notices.
#[derive(Deserialize)]
struct WrittenNotice {
    notice: NoticeName,
    policy: Option<String>,
    lost: Option<Lost>,
    id: Option<String>,
    details: Option<Box<DecisionDetails>>,
    admitted: Option<Box<Admitted>>,
    interface: Option<String>,
    over: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum NoticeName {
    Listening,
    Degrade,
    Lost,
    Begun,
    Moved,
    Capacity,
    Overcommitted,
}

impl TryFrom<WrittenNotice> for ClientNotice {
    type Error = MissingField;

    fn try_from(written: WrittenNotice) -> Result<Self, MissingField> {
        let WrittenNotice { notice, policy, lost, id, details, admitted, interface, over } = written;
        let (id, admitted) = (required(id, "id"), required(admitted, "admitted"));
        Ok(match notice {
            NoticeName::Listening => Self::Listening {},
            NoticeName::Degrade => Self::Degrade { policy },
            NoticeName::Lost => Self::Lost { lost: required(lost, "lost")? },
            NoticeName::Begun => Self::Begun { id: id?, admitted: admitted? },
            NoticeName::Moved => {
                Self::Moved { id: id?, details: required(details, "details")?, admitted: admitted? }
            }
            NoticeName::Capacity => Self::Capacity { id: id? },
            NoticeName::Overcommitted => Self::Overcommitted {
                interface: required(interface, "interface")?,
                over: required(over, "over")?,
            },
        })
    }
}

/// What the daemon did with a socket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attached {
    /// The socket's cookie, with which the reservation ends.
    pub cookie: u64,
    /// The class that its packets are sent to, in `tc`'s notation; null where user space alone enforces the flow.
    pub class: Option<Handle>,
    /// The code point that they carry, where the class of the policy has one.
    pub dscp: Option<u8>,
}

/// Flowspecs that a request asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RenditionRecord {
    /// The name of the template; null for flowspecs of the request's own.
    pub template: Option<String>,
    /// The flowspec for sending.
    pub sending: Flowspec,
    /// The flowspec for receiving.
    pub receiving: Flowspec,
}

/// The flowspecs that a request asks for, best first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RenditionsReply {
    /// One at least.
    pub renditions: Vec<RenditionRecord>,
}

/// The interface by which packets leave.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EgressReply {
    /// Its name.
    pub interface: String,
    /// What it carries, in bytes per second, as far as that is known.
    pub line_rate: Option<Rate>,
}

/// Some of the flows in the stream of `Flows`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FlowBatch {
    /// The caller's; those of all users for an administrator.
    pub flows: Vec<FlowRecord>,
    /// How many flows are as asked for, of which the stream has those from `first` on, and `most` of them.
    #[serde(default)]
    pub matching: usize,
}

/// What the kernel's classes have counted: of a flow, or of those flows of an interface, a class or a group that live. Flows that
/// user space alone enforces are not counted.
///
/// Times and rates are of the readings between which the daemon was watched; counts begin with the flow.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct TrafficRecord {
    /// How many flows are counted.
    pub flows: usize,
    /// What was sent between the last two readings, in bytes per second, link headers included; null before the second one.
    pub used: Option<Rate>,
    /// How often a class has run out of tokens, so that the packets that followed waited.
    pub delayed: u64,
    /// Packets that queues dropped.
    pub dropped: u64,
    /// For how long packets were dropped or waited although less was sent than the class's rate.
    pub below_promise_us: Micros,
    /// For how long that was watched.
    pub watched_us: Micros,
}

/// A flow that holds a reservation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FlowRecord {
    /// The id that its decision named.
    pub id: String,
    /// The name of the link that it is charged on.
    pub interface: String,
    /// What it takes from its budgets, in bytes per second.
    pub charged: Both<Rate>,
    /// The name of the group whose reservation it shares.
    pub group: Option<String>,
    /// Its class in the kernel, in `tc`'s notation.
    pub class: Option<Handle>,
    /// Its class in the policy.
    #[serde(default)]
    pub policy_class: Option<String>,
    /// The client that it is counted for.
    #[serde(default)]
    pub client: Option<String>,
    /// The user that reserved it.
    pub uid: u32,
    /// The process that reserved it.
    pub pid: Option<u32>,
    /// The cookie of its socket; null while it lives with its client's connection.
    pub cookie: Option<u64>,
    /// How long this run of the daemon has held it.
    #[serde(default)]
    pub age_us: Micros,
    /// What its class in the kernel has counted, where the call asked for it; null where it has none of its own.
    #[serde(default)]
    pub traffic: Option<TrafficRecord>,
}

/// Some of the events in the stream of `Events`. The first reply has none and says that the stream has begun.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct EventBatch {
    /// As `gqos events --json` prints them, one flat object each.
    pub events: Vec<Value>,
    /// How many were lost so far since the client reads too slowly.
    pub dropped: u64,
    /// When the clock of their `at_us` began, from 1970 on.
    #[serde(default)]
    pub began_us: Option<Moment>,
}

/// A class of the policy on an interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PolicyClassRecord {
    /// The name of the link.
    pub interface: String,
    /// The name of the class.
    pub class: String,
    /// The class's share of the interface's budget, all of it where it has none, and what its flows and groups declare of it, in
    /// bytes per second.
    pub totals: Both<Totals>,
    /// How many flows have it.
    pub flows: usize,
    /// What the kernel has counted of them, where the call asked for it; null where it counts none of them.
    #[serde(default)]
    pub traffic: Option<TrafficRecord>,
}

/// A group on its interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupRecord {
    /// The name of the link.
    pub interface: String,
    /// The id of the group.
    pub group: String,
    /// What it is charged, and what its members are charged together, in bytes per second.
    pub totals: Both<Totals>,
    /// How many flows are in it.
    pub flows: usize,
    /// What the kernel has counted of them; null where it counts none of them.
    pub traffic: Option<TrafficRecord>,
}

/// The state of the daemon.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusReply {
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The files of its policy.
    pub policy: Vec<String>,
    /// Whether new flows are refused.
    pub draining: bool,
    /// How many clients are connected.
    pub connections: usize,
    /// How many reservations are held.
    pub flows: usize,
    /// What the daemon has given up; `None` where it was started without that.
    #[serde(default)]
    pub confinement: Option<ConfinementRecord>,
    /// How many requests for a flow were refused since the daemon started, by the reasons of the refusals.
    #[serde(default)]
    pub refused: BTreeMap<Reason, u64>,
    /// The classes of the policy on the interfaces that have been seen: the first 1024 of them.
    #[serde(default)]
    pub policy_classes: Vec<PolicyClassRecord>,
    /// The groups, where the call asked for sums: the first 512 of them; for others than administrators without those of other
    /// users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRecord>,
    /// The groups that are not as the policy states them: the first 512 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_differences: Vec<GroupDifferenceRecord>,
    /// Every interface that has been seen.
    pub interfaces: Vec<InterfaceRecord>,
}

/// A group that is not as the policy states it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupDifferenceRecord {
    /// The group.
    pub group: String,
    /// What differs; it names no flows of others than the caller, except to administrators.
    pub difference: GroupDifference,
    /// The same in words.
    pub message: String,
}

/// What the daemon's process has given up for good.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConfinementRecord {
    /// The capabilities that are left.
    pub capabilities: Vec<String>,
    /// Whether programs that it executed would gain no privileges.
    pub no_new_privileges: bool,
    /// How many system calls are allowed; `None` where every one is.
    pub system_calls: Option<usize>,
    /// The version of landlock that restricts files; `None` where none does.
    pub landlock: Option<u32>,
    /// What is not in force, with the reason.
    pub missing: Vec<String>,
}

/// The state of an interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InterfaceRecord {
    /// The name of the link.
    pub interface: String,
    /// Budget and reserved rate, in bytes per second.
    pub totals: Both<Totals>,
    /// Why the kernel has no tree for it; null where it has one.
    pub not_programmed: Option<NotProgrammed>,
    /// The interface on whose wire it sends, where the policy relates neither to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares_wire_with: Option<String>,
    /// Whether the policy does not have it any more: it loses its tree with its last flow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
    /// How many flows use it.
    pub flows: usize,
    /// Packets that bypassed every class.
    pub direct_packets: u32,
    /// What the kernel has counted of its flows, where the call asked for it; null where it counts none of them.
    #[serde(default)]
    pub traffic: Option<TrafficRecord>,
    /// The kernel's classes, where the call asked for them; for others than administrators without those of other users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassRecord>>,
}

/// A class of an interface, with the kernel's counters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClassRecord {
    /// As `tc` writes it.
    pub class: String,
    /// The flow it carries, the group whose members share it, or `link`, `default` or `idle`.
    pub flow: String,
    /// Whether `flow` is a group.
    #[serde(default)]
    pub is_group: bool,
    /// Its rate in bytes per second, link headers included.
    pub rate: Rate,
    /// What the kernel counted since the flow began.
    pub sent_bytes: u64,
    /// Packets that its queue dropped since then.
    pub dropped: u32,
    /// How often it has run out of tokens since then.
    #[serde(default)]
    pub delayed: u32,
    /// Packets that wait in its queue.
    #[serde(default)]
    pub queued: u32,
}

/// What another policy changes: in itself, and for the flows that are there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ReloadReply {
    /// Added, removed and changed definitions; flows without their interface or class; groups and budgets that differ.
    pub changes: Value,
}

/// What came of a call of `Drain`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DrainReply {
    /// Whether new flows are refused from now on.
    pub draining: bool,
    /// How many reservations are held still.
    pub flows: usize,
}

/// What a varlink service says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServiceInfo {
    /// Its maker.
    pub vendor: String,
    /// Its name.
    pub product: String,
    /// Of the program: `0.1.0`.
    pub version: String,
    /// Where it is described.
    pub url: String,
    /// The names of its interfaces.
    pub interfaces: Vec<String>,
}

/// An interface in varlink's definition language.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InterfaceDescription {
    /// The text.
    pub description: String,
}
