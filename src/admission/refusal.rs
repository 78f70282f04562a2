//! Why a request is refused, with the numbers that decided.
//!
//! The Winsock codes of a refusal are those of its [`Reason`]; the text is its `Display`. As JSON it is
//! `{"unknown_class": {"class": "gold"}}`, and reads back to the same value.

use flowspec::{Bytes, Direction, ErrorTerms, FlowspecError, Micros, Moment, Rate, ServiceType, Wsa};

use serde::{Deserialize, Serialize};

use super::limits::{
    ClientLimit, GroupAmount, GroupLimit, Holder, Shortfall, are_admitted, counted, describe_delay, since,
    without_preempting,
};
use super::not_programmed::NotProgrammed;
use super::reason::Reason;
use crate::policy::{Owner, Place, Policy};

/// Why a request is refused. An answer, not a fault: the ledger is unchanged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that their names describe")]
pub enum Refusal {
    /// The interface has too little of its budget left for the flow's charge.
    #[error("{interface} {direction}: {shortfall}{}", and_besides(shortfall.would_fit, besides.as_deref()))]
    InterfaceBudget {
        interface: String,
        /// The direction whose budget is too small.
        direction: Direction,
        /// What was requested, what is reserved and what is free of the budget.
        shortfall: Box<Shortfall>,
        /// Why the charge that would fit here is refused all the same, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        besides: Option<Box<Self>>,
    },
    /// The class has too little of its share left for the flow's charge.
    #[error("{interface} {direction}, class {class}: {shortfall}{}", and_besides(shortfall.would_fit, besides.as_deref()))]
    ClassShare {
        interface: String,
        /// The direction whose budget is too small.
        direction: Direction,
        class: String,
        /// What was requested, what is reserved and what is free of the share.
        shortfall: Box<Shortfall>,
        /// Why the charge that would fit here is refused all the same, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        besides: Option<Box<Self>>,
    },
    /// The class holds its `max_flows`.
    #[error("{interface}, class {class}: {} and max_flows is {max_flows}{}", are_admitted(*flows), since(*from))]
    ClassFlows {
        interface: String,
        class: String,
        /// How many flows of the class are admitted.
        flows: u64,
        /// The policy's `max_flows` of the class.
        max_flows: u64,
        /// The first moment at which it holds as many, where that is later than the flow's start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Moment>,
    },
    /// The flow's charge is above the class's `max_rate`.
    #[error("class {class} {direction}: {asked} asked, max_rate is {max_rate}{}", describe_alternative((*max_rate, *would_fit), *preemption, *least_latency, besides.as_deref()))]
    FlowRate {
        class: String,
        direction: Direction,
        /// The flow's charge.
        asked: Rate,
        /// The policy's `max_rate` of the class.
        max_rate: Rate,
        /// The largest charge that every constraint would allow now.
        would_fit: Rate,
        /// Where the flow requested a latency: the least delay that it would meet with this charge.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        least_latency: Option<Micros>,
        /// Whether the policy allows preemption, which `would_fit` does not count on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        preemption: bool,
        /// Why that charge is refused all the same, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        besides: Option<Box<Self>>,
    },
    /// The class allocates by peak, and the flow's peak is infinite.
    #[error("{direction}: the class is charged by peak_bandwidth, which is infinite")]
    InfinitePeak { direction: Direction },
    /// The interface holds its `max_flows`.
    #[error("{interface}: {} and max_flows is {max_flows}{}", are_admitted(*flows), since(*from))]
    InterfaceFlows {
        interface: String,
        /// How many flows of the interface are admitted.
        flows: u64,
        /// The policy's `max_flows` of the interface.
        max_flows: u64,
        /// The first moment at which it holds as many, where that is later than the flow's start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Moment>,
    },
    /// The flows would need more buffer together than the interface has.
    #[error("{interface} {direction}: a buffer of {needed} is needed, {taken} of {limit} are taken{}", since(*from))]
    Buffer {
        interface: String,
        direction: Direction,
        /// The bytes that this flow adds to what is taken.
        needed: Bytes,
        /// What the admitted flows need.
        taken: Bytes,
        /// The interface's `buffer`.
        limit: Bytes,
        /// The first moment at which as much is taken, where that is later than the flow's start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Moment>,
    },
    /// The group has too little left for the member.
    #[error("group {group} {direction}: {}{}", limit.describe(*asked, *taken, *most), since(*from))]
    GroupBudget {
        group: String,
        direction: Direction,
        /// Which of the group's numbers is too small.
        limit: GroupLimit,
        /// What the member requests.
        asked: GroupAmount,
        /// What the other members take.
        taken: GroupAmount,
        /// The number of the group's own flowspec.
        most: GroupAmount,
        /// The first moment at which as much is taken, where that is later than the member's begin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Moment>,
    },
    /// The client has reached one of its limits.
    #[error("client {client}: {limit}")]
    Client {
        client: String,
        /// The limit with the numbers that exceed it.
        limit: ClientLimit,
    },
    /// No rate meets the requested delay with the data path's error terms.
    #[error("{interface} {direction}: {}", describe_delay(*target, *terms))]
    Delay {
        interface: String,
        direction: Direction,
        /// The requested delay less the path's latency.
        target: Micros,
        /// C and D of the data path; `None` where none are proven.
        terms: Option<ErrorTerms>,
    },
    /// The flow's packets are larger than the link's MTU.
    #[error("{interface} {direction}: max_sdu_size {max_sdu_size} is above the MTU, {mtu}")]
    Mtu {
        interface: String,
        direction: Direction,
        /// M of the flowspec, in bytes of an IP datagram.
        max_sdu_size: Bytes,
        /// The interface's MTU.
        mtu: Bytes,
    },
    /// Nothing can be reserved for the service type, such as network control.
    #[error("{direction}: {service} is not offered")]
    ServiceNotOffered {
        direction: Direction,
        /// SERVICETYPE of the flowspec.
        service: ServiceType,
    },
    /// A field of the flowspec, or two of them together, has no meaning.
    #[error("{direction}: {error}")]
    InvalidFlowspec {
        direction: Direction,
        /// The field and its value; it also decides the extended status.
        error: FlowspecError,
    },
    /// The policy does not have the interface.
    #[error("{interface}: the policy has neither [interface.{interface}] nor [interface.\"*\"]")]
    UnknownInterface { interface: String },
    /// The policy reads the capacity from the kernel, which reports none.
    #[error(
        "{interface} {direction}: capacity is \"auto\" and the kernel reports no link speed; state the capacity"
    )]
    UnknownCapacity { interface: String, direction: Direction },
    /// The policy does not have the class.
    #[error("the policy has no class {class:?}")]
    UnknownClass { class: String },
    /// The policy does not have the template.
    #[error("the policy has no template {template:?}")]
    UnknownTemplate { template: String },
    /// Neither the policy nor a request has made the group, or it has ended.
    #[error("there is no group {group:?}")]
    UnknownGroup { group: String },
    /// The policy has the group, and its reservation is refused itself.
    #[error("group {group:?} of the policy has not been made: {why}")]
    GroupNotMade {
        group: String,
        /// Why its reservation is refused. It is made as soon as it fits.
        why: Box<Refusal>,
    },
    /// The group is on another interface.
    #[error("group {group:?} is on {group_interface}, not on {interface}")]
    GroupElsewhere {
        group: String,
        /// Where the group's members are.
        group_interface: String,
        /// Where the request would reserve.
        interface: String,
    },
    /// The group ends with its last member, and takes no others.
    #[error("group {group:?} ends with its last member and takes no others")]
    GroupEnding { group: String },
    /// The group is charged in another way, which cannot change while it exists.
    #[error("group {group:?} exists with another mode, which cannot change")]
    GroupModeFixed { group: String },
    /// The class is restricted to other owners.
    #[error("class {class} is not for flows of {owner}")]
    ClassOwner {
        class: String,
        /// The flow's owner, as far as it is known.
        owner: Owner,
    },
    /// A measurement of a class whose admission is not measured.
    #[error("class {class}: its admission is not \"measured\"")]
    NotMeasured { class: String },
    /// No flow has this id, or the flow has ended.
    #[error("no flow {id:?} is admitted")]
    UnknownId { id: String },
    /// The reservation would end before it begins.
    #[error("the reservation ends at {} us, which is not after {} us, when it would begin", end.as_micros(), start.as_micros())]
    Window {
        /// When it would begin.
        start: Moment,
        /// Not after `start`.
        end: Moment,
    },
    /// The setup priority is better than the holding priority: two such flows would preempt each other in turn.
    #[error("setup priority {setup} is better than holding priority {holding}")]
    Priorities {
        /// 0 (best) to 7; compared with `holding`.
        setup: u8,
        /// 0 (best) to 7; a larger number than `setup`.
        holding: u8,
    },
    /// There is no such priority.
    #[error("priority {priority} is not between 0 (best) and 7")]
    PriorityRange {
        /// The number that the request gives; more than 7.
        priority: u8,
    },
    /// A flow with this id is admitted already.
    #[error("a flow {id:?} is admitted already")]
    DuplicateId { id: String },
    /// The ledger holds as many flows as it can.
    #[error("{}, which is the limit", are_admitted(*flows as u64))]
    TooManyFlows {
        /// How many there are.
        flows: usize,
    },
    /// The ledger holds as many groups as it can.
    #[error("{}, which is the limit", exist(*groups))]
    TooManyGroups {
        /// How many there are.
        groups: usize,
    },
    /// The queue of requests is full.
    #[error("{} for the interface, and the limit is {limit}", wait(*waiting))]
    TooManyRequests {
        /// How many requests wait for the kernel.
        waiting: usize,
        /// How many may wait.
        limit: usize,
    },
    /// The kernel has not answered to an earlier change of this flow.
    #[error("flow {id:?}: an earlier change of it in the kernel is still pending; try again")]
    InProgress { id: String },
    /// The reservation fits, and the kernel could not be programmed for it.
    #[error("{interface}: traffic control could not be programmed: {cause}")]
    TrafficControl {
        interface: String,
        /// What keeps the flow's class out of the kernel.
        cause: NotProgrammed,
    },
    /// The manager has panicked while it handled the request, or before.
    #[error("the manager has failed: {fault}; {}", after_fault(*admission_stopped))]
    ManagerFault {
        /// What the panic says.
        fault: String,
        /// Whether nothing is admitted any more.
        admission_stopped: bool,
    },
}

const fn after_fault(admission_stopped: bool) -> &'static str {
    match admission_stopped {
        true => {
            "nothing is admitted any more until it is started again, and admitted flows keep what they have"
        }
        false => "this request changed nothing",
    }
}

/// The charge that would fit instead of a refused one.
pub(crate) struct Alternative<'a> {
    pub(crate) direction: Direction,
    pub(crate) would_fit: &'a mut Rate,
    /// Why it is refused all the same.
    pub(crate) besides: &'a mut Option<Box<Refusal>>,
}

fn and_besides(would_fit: Rate, besides: Option<&Refusal>) -> String {
    let lead = if would_fit == Rate::ZERO { "because of" } else { "but for" };
    besides.map_or(String::new(), |refusal| format!(", {lead} another limit: {refusal}"))
}

fn describe_alternative(
    (max_rate, would_fit): (Rate, Rate),
    preemption: bool,
    least_latency: Option<Micros>,
    besides: Option<&Refusal>,
) -> String {
    let (other, without) = (and_besides(would_fit, besides), without_preempting(preemption));
    let delay = least_latency.map_or(String::new(), |least| format!(", with a delay of {least}"));
    match would_fit {
        Rate::ZERO => format!("; nothing would fit{without}{other}"),
        would_fit if would_fit == max_rate && other.is_empty() && delay.is_empty() => String::new(),
        would_fit => format!("; at most {would_fit} would fit{without}{delay}{other}"),
    }
}

fn exist(groups: usize) -> String {
    format!("{} {}", counted(groups as u64, "group"), if groups == 1 { "exists" } else { "exist" })
}

fn wait(requests: usize) -> String {
    format!("{} {}", counted(requests as u64, "request"), if requests == 1 { "waits" } else { "wait" })
}

impl Refusal {
    /// Names none of the flows that hold the most, except those that may be seen.
    pub(crate) fn retain_holders(&mut self, may_see: &dyn Fn(&str) -> bool) {
        let besides = match self {
            Self::InterfaceBudget { shortfall, besides, .. }
            | Self::ClassShare { shortfall, besides, .. } => {
                shortfall.holders.retain(|holder| may_see(&holder.id));
                besides
            }
            Self::FlowRate { besides, .. } => besides,
            Self::GroupNotMade { why, .. } => return why.retain_holders(may_see),
            _ => return,
        };
        if let Some(besides) = besides {
            besides.retain_holders(may_see);
        }
    }

    /// The code that the caller of connect sees.
    pub const fn wsa(&self) -> Wsa {
        self.reason().wsa()
    }

    /// The extended status: WSA_QOS_*, more precise for an invalid flowspec.
    pub const fn status(&self) -> Wsa {
        match self {
            Self::InvalidFlowspec { error, .. } => error.wsa(),
            _ => self.reason().status(),
        }
    }

    /// The word that decisions and metrics count it under; it has the Winsock codes.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::InterfaceBudget { .. } => Reason::InterfaceBudget,
            Self::ClassShare { .. } => Reason::ClassShare,
            Self::ClassFlows { .. } => Reason::ClassFlows,
            Self::FlowRate { .. } | Self::InfinitePeak { .. } => Reason::FlowRate,
            Self::InterfaceFlows { .. } => Reason::InterfaceFlows,
            Self::Buffer { .. } => Reason::Buffer,
            Self::GroupBudget { .. } => Reason::GroupBudget,
            Self::Client { .. } => Reason::ClientLimit,
            Self::UnknownGroup { .. } | Self::GroupNotMade { .. } | Self::GroupEnding { .. } => {
                Reason::UnknownGroup
            }
            Self::GroupElsewhere { .. } => Reason::GroupElsewhere,
            Self::GroupModeFixed { .. } => Reason::GroupMode,
            Self::ClassOwner { .. } => Reason::ClassOwner,
            Self::NotMeasured { .. } => Reason::NotMeasured,
            Self::UnknownId { .. } => Reason::UnknownId,
            Self::Window { .. } => Reason::InvalidWindow,
            Self::Priorities { .. } | Self::PriorityRange { .. } => Reason::InvalidPriority,
            Self::Delay { .. } => Reason::Delay,
            Self::Mtu { .. } => Reason::Mtu,
            Self::ServiceNotOffered { .. } => Reason::ServiceNotOffered,
            Self::InvalidFlowspec { .. } => Reason::InvalidFlowspec,
            Self::UnknownInterface { .. } => Reason::UnknownInterface,
            Self::UnknownCapacity { .. } => Reason::UnknownCapacity,
            Self::UnknownClass { .. } => Reason::UnknownClass,
            Self::UnknownTemplate { .. } => Reason::UnknownTemplate,
            Self::DuplicateId { .. } => Reason::DuplicateId,
            Self::InProgress { .. } => Reason::InProgress,
            Self::TooManyFlows { .. } => Reason::TooManyFlows,
            Self::TooManyGroups { .. } => Reason::TooManyGroups,
            Self::TooManyRequests { .. } => Reason::TooManyRequests,
            Self::TrafficControl { .. } => Reason::TrafficControl,
            Self::ManagerFault { .. } => Reason::ManagerFault,
        }
    }

    /// The budget that is too small, with its numbers.
    const fn shortfall(&self) -> Option<&Shortfall> {
        match self {
            Self::InterfaceBudget { shortfall, .. } | Self::ClassShare { shortfall, .. } => Some(shortfall),
            _ => None,
        }
    }

    /// The same refusal without the flows that hold most, and those.
    pub(crate) fn without_holders(mut self) -> (Self, Vec<Holder>) {
        let holders = match &mut self {
            Self::InterfaceBudget { shortfall, .. } | Self::ClassShare { shortfall, .. } => {
                std::mem::take(&mut shortfall.holders)
            }
            _ => Vec::new(),
        };
        (self, holders)
    }

    /// The largest charge that would fit instead, where that is known.
    pub fn would_fit(&self) -> Option<Rate> {
        match self {
            Self::FlowRate { would_fit, .. } => Some(*would_fit),
            _ => self.shortfall().map(|shortfall| shortfall.would_fit),
        }
    }

    /// The same with its direction and the other refusal that stands in its way, to be corrected.
    pub(crate) fn alternative(&mut self) -> Option<Alternative<'_>> {
        let (direction, would_fit, besides) = match self {
            Self::FlowRate { direction, would_fit, besides, .. } => (direction, would_fit, besides),
            Self::InterfaceBudget { direction, shortfall, besides, .. }
            | Self::ClassShare { direction, shortfall, besides, .. } => {
                (direction, &mut shortfall.would_fit, besides)
            }
            _ => return None,
        };
        Some(Alternative { direction: *direction, would_fit, besides })
    }

    /// The least delay that the largest fitting charge would meet, where the flow requested one.
    pub(crate) fn least_latency(&self) -> Option<Micros> {
        match self {
            Self::FlowRate { least_latency, .. } => *least_latency,
            _ => self.shortfall()?.least_latency,
        }
    }

    /// Whether other flows take what this one lacks, so that preemption may help.
    pub(crate) const fn lacks_capacity(&self) -> bool {
        matches!(
            self,
            Self::InterfaceBudget { .. }
                | Self::ClassShare { .. }
                | Self::ClassFlows { .. }
                | Self::InterfaceFlows { .. }
                | Self::Buffer { .. }
        )
    }

    /// Whether the request may fit once other flows have ended: it is not larger than the limit itself.
    pub(crate) fn may_fit_later(&self) -> bool {
        match self {
            // A link with a capacity of zero is down, and may come up again.
            Self::InterfaceBudget { shortfall, .. } | Self::ClassShare { shortfall, .. } => {
                shortfall.asked <= shortfall.budget || shortfall.budget == Rate::ZERO
            }
            Self::Buffer { needed, limit, .. } => needed <= limit,
            Self::ClassFlows { max_flows, .. } | Self::InterfaceFlows { max_flows, .. } => *max_flows > 0,
            _ => false,
        }
    }

    /// Whether another rendition of the same flow might be admitted: the refusal does not follow from the flow's names,
    /// its time or its priorities alone.
    pub(crate) const fn depends_on_rendition(&self) -> bool {
        !matches!(
            self,
            Self::DuplicateId { .. }
                | Self::InProgress { .. }
                | Self::TooManyFlows { .. }
                | Self::UnknownClass { .. }
                | Self::ClassOwner { .. }
                | Self::UnknownGroup { .. }
                | Self::GroupNotMade { .. }
                | Self::GroupElsewhere { .. }
                | Self::Window { .. }
                | Self::Priorities { .. }
                | Self::Client {
                    limit: ClientLimit::Flows { .. }
                        | ClientLimit::Requests(_)
                        | ClientLimit::Horizon { .. }
                        | ClientLimit::Priority { .. },
                    ..
                }
        )
    }

    /// Whether the request itself is at fault, whatever is reserved and whatever the limits are: it names something that
    /// does not exist or that it may not use, or contradicts itself.
    pub(crate) const fn is_invalid_request(&self) -> bool {
        matches!(
            self,
            Self::DuplicateId { .. }
                | Self::UnknownInterface { .. }
                | Self::UnknownClass { .. }
                | Self::ClassOwner { .. }
                | Self::UnknownTemplate { .. }
                | Self::UnknownGroup { .. }
                | Self::GroupNotMade { .. }
                | Self::GroupElsewhere { .. }
                | Self::Window { .. }
                | Self::Priorities { .. }
                | Self::ServiceNotOffered { .. }
                | Self::InvalidFlowspec { .. }
        )
    }

    /// Where the policy states the constraint that decided, if it does.
    pub fn decided_by(&self, policy: &Policy) -> Option<Place> {
        match self {
            Self::InterfaceBudget { interface, .. }
            | Self::InterfaceFlows { interface, .. }
            | Self::Buffer { interface, .. }
            | Self::Delay { interface, .. }
            | Self::Mtu { interface, .. }
            | Self::UnknownCapacity { interface, .. }
            | Self::TrafficControl { interface, .. } => Some(policy.interface(interface)?.place.clone()),
            Self::ClassShare { class, .. }
            | Self::ClassFlows { class, .. }
            | Self::FlowRate { class, .. }
            | Self::NotMeasured { class }
            | Self::ClassOwner { class, .. } => Some(policy.classes.get(class)?.place.clone()),
            Self::GroupBudget { group, .. }
            | Self::GroupNotMade { group, .. }
            | Self::GroupElsewhere { group, .. }
            | Self::GroupModeFixed { group } => Some(policy.groups.get(group)?.place.clone()),
            Self::Client { client, .. } => Some(policy.client(client)?.place.clone()),
            _ => None,
        }
    }
}
