//! Refusals: why a request was turned down, with the sum that decided.

use flowspec::{Bytes, Direction, ErrorTerms, FlowspecError, Micros, Moment, Rate, ServiceType, Wsa};

use super::limits::{ClientLimit, GroupLimit, Sum, delay};
use super::not_programmed::NotProgrammed;
use super::reason::Reason;
use crate::policy::{Owner, Place, Policy};

/// Why a request was turned down. An answer, not a fault: the ledger is unchanged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The interface has less of its budget left than the flow would be charged.
    #[error("{interface} {direction}: {sum}")]
    InterfaceBudget {
        /// The interface.
        interface: String,
        /// The direction that is full.
        direction: Direction,
        /// The whole sum.
        sum: Box<Sum>,
    },
    /// The class has less of its share left than the flow would be charged.
    #[error("{interface} {direction}, class {class}: {sum}")]
    ClassShare {
        /// The interface.
        interface: String,
        /// The direction that is full.
        direction: Direction,
        /// The class.
        class: String,
        /// The whole sum.
        sum: Box<Sum>,
    },
    /// The class holds as many flows as it may.
    #[error("{interface}, class {class}: {flows} flows are admitted and max_flows is {max_flows}")]
    ClassFlows {
        /// The interface.
        interface: String,
        /// The class.
        class: String,
        /// How many it holds.
        flows: u64,
        /// How many it may hold.
        max_flows: u64,
    },
    /// One flow of the class may not be charged as much.
    #[error("class {class} {direction}: {asked} asked, max_rate is {max_rate}")]
    FlowRate {
        /// The class.
        class: String,
        /// The direction.
        direction: Direction,
        /// What the flow would be charged.
        asked: Rate,
        /// The most a flow of the class may be charged.
        max_rate: Rate,
    },
    /// A class that allocates by peak, and a flow without one.
    #[error("{direction}: the class is charged by peak_bandwidth, which is infinite")]
    InfinitePeak {
        /// The direction.
        direction: Direction,
    },
    /// The interface holds as many flows as it may.
    #[error("{interface}: {flows} flows are admitted and max_flows is {max_flows}")]
    InterfaceFlows {
        /// The interface.
        interface: String,
        /// How many it holds.
        flows: u64,
        /// How many it may hold.
        max_flows: u64,
    },
    /// The flows would need more buffer together than the interface has for them.
    #[error("{interface} {direction}: a buffer of {needed} is needed, {taken} of {limit} are taken")]
    Buffer {
        /// The interface.
        interface: String,
        /// The direction.
        direction: Direction,
        /// What the flow needs.
        needed: Bytes,
        /// What others need.
        taken: Bytes,
        /// What there is.
        limit: Bytes,
    },
    /// The group has less left than the member asks for.
    #[error("group {group} {direction}: {}", limit.sum(*asked, *taken, *most))]
    GroupBudget {
        /// The group.
        group: String,
        /// The direction.
        direction: Direction,
        /// What there is too little of.
        limit: GroupLimit,
        /// What the member asks for, in Winsock's units.
        asked: u64,
        /// What the other members take.
        taken: u64,
        /// What the group has.
        most: u64,
    },
    /// The client asks for more than it may have.
    #[error("client {client}: {limit}")]
    Client {
        /// The client.
        client: String,
        /// Of what.
        limit: ClientLimit,
    },
    /// No rate that the data path can prove meets the delay that was asked for.
    #[error("{interface} {direction}: {}", delay(*target, *terms))]
    Delay {
        /// The interface.
        interface: String,
        /// The direction.
        direction: Direction,
        /// The delay that is left for queueing.
        target: Micros,
        /// C and D of the data path; nothing where nobody has proved any.
        terms: Option<ErrorTerms>,
    },
    /// Packets are larger than the link carries.
    #[error("{interface} {direction}: max_sdu_size {max_sdu_size} is above the MTU, {mtu}")]
    Mtu {
        /// The interface.
        interface: String,
        /// The direction.
        direction: Direction,
        /// M.
        max_sdu_size: Bytes,
        /// The interface's MTU.
        mtu: Bytes,
    },
    /// Nobody can be given this service type.
    #[error("{direction}: {service} is not offered")]
    ServiceNotOffered {
        /// The direction.
        direction: Direction,
        /// The service type.
        service: ServiceType,
    },
    /// The flowspec contradicts itself.
    #[error("{direction}: {error}")]
    InvalidFlowspec {
        /// The direction.
        direction: Direction,
        /// What is wrong with it.
        error: FlowspecError,
    },
    /// The policy has no budget for this interface.
    #[error("{interface}: the policy has neither [interface.{interface}] nor [interface.\"*\"]")]
    UnknownInterface {
        /// The interface.
        interface: String,
    },
    /// The capacity is to be read from the kernel, which reports none.
    #[error(
        "{interface} {direction}: capacity is \"auto\" and the kernel reports no link speed; state the capacity"
    )]
    UnknownCapacity {
        /// The interface.
        interface: String,
        /// The direction.
        direction: Direction,
    },
    /// The policy has no such class.
    #[error("the policy has no class {class:?}")]
    UnknownClass {
        /// The name.
        class: String,
    },
    /// The policy has no such template.
    #[error("the policy has no template {template:?}")]
    UnknownTemplate {
        /// The name.
        template: String,
    },
    /// There is no such group.
    #[error("there is no group {group:?}")]
    UnknownGroup {
        /// The name.
        group: String,
    },
    /// The group is for another interface.
    #[error("group {group:?} is on {group_interface}, not on {interface}")]
    GroupElsewhere {
        /// The group.
        group: String,
        /// The interface it is for.
        group_interface: String,
        /// The flow's.
        interface: String,
    },
    /// The class is for the flows of others.
    #[error("class {class} is not for flows of {owner}")]
    ClassOwner {
        /// The class.
        class: String,
        /// Whose flow it is, as far as that is known.
        owner: Owner,
    },
    /// A measurement of a class that counts as declared.
    #[error("class {class}: its admission is not \"measured\"")]
    NotMeasured {
        /// The class.
        class: String,
    },
    /// No flow has this id, or not any more.
    #[error("no flow {id:?} is admitted")]
    UnknownId {
        /// The id.
        id: String,
    },
    /// A time without a moment in it.
    #[error("the reservation ends at {} us, which is not after {} us, when it would begin", end.as_micros(), start.as_micros())]
    Window {
        /// When it would begin.
        start: Moment,
        /// When it would end.
        end: Moment,
    },
    /// Priorities that could displace each other for ever.
    #[error("setup priority {setup} is better than holding priority {holding}")]
    Priorities {
        /// 0 best.
        setup: u8,
        /// 0 best.
        holding: u8,
    },
    /// A flow with this id is admitted already.
    #[error("a flow {id:?} is admitted already")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// More flows than the ledger has room for.
    #[error("{flows} flows are admitted, which is as many as there may be")]
    TooManyFlows {
        /// How many there are.
        flows: usize,
    },
    /// More requests are queued than the queue can hold.
    #[error("{waiting} requests wait for the interface, and no more than {limit} may")]
    TooManyRequests {
        /// How many wait.
        waiting: usize,
        /// How many may wait.
        limit: usize,
    },
    /// A change of this flow is still in the kernel's hands.
    #[error("flow {id:?}: the kernel has not answered to an earlier change of it; try again")]
    InProgress {
        /// The id.
        id: String,
    },
    /// The reservation fits, and the kernel could not be made to keep it.
    #[error("{interface}: traffic control could not be programmed: {cause}")]
    TrafficControl {
        /// The interface.
        interface: String,
        /// Why not.
        cause: NotProgrammed,
    },
}

impl Refusal {
    /// The code the caller of connect sees. Source: WSPConnect, table of error codes: "flow
    /// specifications specified in lpSQOS cannot be satisfied".
    pub const fn wsa(&self) -> Wsa {
        match self {
            Self::InterfaceBudget { .. }
            | Self::ClassShare { .. }
            | Self::ClassFlows { .. }
            | Self::FlowRate { .. }
            | Self::InfinitePeak { .. }
            | Self::InterfaceFlows { .. }
            | Self::Buffer { .. }
            | Self::GroupBudget { .. }
            | Self::Client { .. }
            | Self::Delay { .. }
            | Self::Mtu { .. }
            | Self::ServiceNotOffered { .. }
            | Self::InvalidFlowspec { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownCapacity { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. }
            | Self::UnknownGroup { .. }
            | Self::GroupElsewhere { .. }
            | Self::ClassOwner { .. }
            | Self::Window { .. }
            | Self::Priorities { .. }
            | Self::TrafficControl { .. } => Wsa::Eopnotsupp,
            Self::DuplicateId { .. }
            | Self::InProgress { .. }
            | Self::UnknownId { .. }
            | Self::NotMeasured { .. } => Wsa::Einval,
            Self::TooManyFlows { .. } | Self::TooManyRequests { .. } => Wsa::Enobufs,
        }
    }

    /// The extended status. Source: `winsock2.h`, WSA_QOS_*.
    pub const fn status(&self) -> Wsa {
        match self {
            Self::InterfaceBudget { .. }
            | Self::InterfaceFlows { .. }
            | Self::Buffer { .. }
            | Self::GroupBudget { .. }
            | Self::Delay { .. }
            | Self::Mtu { .. }
            | Self::TooManyFlows { .. }
            | Self::TooManyRequests { .. } => Wsa::QosAdmissionFailure,
            Self::ClassShare { .. }
            | Self::ClassFlows { .. }
            | Self::FlowRate { .. }
            | Self::InfinitePeak { .. }
            | Self::Client { .. }
            | Self::Priorities { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownCapacity { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. }
            | Self::UnknownGroup { .. }
            | Self::GroupElsewhere { .. }
            | Self::NotMeasured { .. }
            | Self::ClassOwner { .. } => Wsa::QosPolicyFailure,
            Self::ServiceNotOffered { .. } => Wsa::QosEservicetype,
            Self::InvalidFlowspec { error, .. } => error.wsa(),
            Self::DuplicateId { .. }
            | Self::InProgress { .. }
            | Self::UnknownId { .. }
            | Self::Window { .. } => Wsa::QosGenericError,
            Self::TrafficControl { .. } => Wsa::QosTrafficCtrlError,
        }
    }

    /// The kind of refusal, as traces name it.
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
            Self::UnknownGroup { .. } => Reason::UnknownGroup,
            Self::GroupElsewhere { .. } => Reason::GroupElsewhere,
            Self::ClassOwner { .. } => Reason::ClassOwner,
            Self::NotMeasured { .. } => Reason::NotMeasured,
            Self::UnknownId { .. } => Reason::UnknownId,
            Self::Window { .. } => Reason::InvalidWindow,
            Self::Priorities { .. } => Reason::InvalidPriority,
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
            Self::TooManyRequests { .. } => Reason::TooManyRequests,
            Self::TrafficControl { .. } => Reason::TrafficControl,
        }
    }

    /// The largest charge that would fit instead, where the sum decided.
    pub const fn would_fit(&self) -> Option<Rate> {
        match self {
            Self::InterfaceBudget { sum, .. } | Self::ClassShare { sum, .. } => Some(sum.would_fit),
            Self::FlowRate { max_rate, .. } => Some(*max_rate),
            Self::ClassFlows { .. }
            | Self::InfinitePeak { .. }
            | Self::InterfaceFlows { .. }
            | Self::Buffer { .. }
            | Self::GroupBudget { .. }
            | Self::Client { .. }
            | Self::UnknownGroup { .. }
            | Self::GroupElsewhere { .. }
            | Self::ClassOwner { .. }
            | Self::NotMeasured { .. }
            | Self::UnknownId { .. }
            | Self::Window { .. }
            | Self::Priorities { .. }
            | Self::Delay { .. }
            | Self::Mtu { .. }
            | Self::ServiceNotOffered { .. }
            | Self::InvalidFlowspec { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownCapacity { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. }
            | Self::DuplicateId { .. }
            | Self::InProgress { .. }
            | Self::TooManyFlows { .. }
            | Self::TooManyRequests { .. }
            | Self::TrafficControl { .. } => None,
        }
    }

    /// Whether it would not be given if others took less: what preemption may help against.
    pub(crate) const fn is_lack_of_room(&self) -> bool {
        matches!(
            self,
            Self::InterfaceBudget { .. }
                | Self::ClassShare { .. }
                | Self::ClassFlows { .. }
                | Self::InterfaceFlows { .. }
                | Self::Buffer { .. }
        )
    }

    /// Whether it may be otherwise once others have gone: what is asked is not more than there is.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            // A link that carries nothing at all just now is down, and will be up again.
            Self::InterfaceBudget { sum, .. } | Self::ClassShare { sum, .. } => {
                sum.asked <= sum.budget || sum.budget == Rate::ZERO
            }
            Self::Buffer { needed, limit, .. } => needed <= limit,
            Self::ClassFlows { max_flows, .. } | Self::InterfaceFlows { max_flows, .. } => *max_flows > 0,
            _ => false,
        }
    }

    /// Whether another rendition of the same flow might be admitted.
    pub(crate) const fn is_for_its_size(&self) -> bool {
        self.is_lack_of_room()
            || matches!(
                self,
                Self::FlowRate { .. }
                    | Self::InfinitePeak { .. }
                    | Self::GroupBudget { .. }
                    | Self::Delay { .. }
                    | Self::Mtu { .. }
                    | Self::Client { limit: ClientLimit::Rate { .. }, .. }
            )
    }

    /// The least delay that what would fit would meet, where the flow asked for one.
    pub(crate) fn least_latency(&self) -> Option<Micros> {
        match self {
            Self::InterfaceBudget { sum, .. } | Self::ClassShare { sum, .. } => sum.least_latency,
            _ => None,
        }
    }

    /// Where in the policy the constraint stands that decided, if it stands there.
    pub fn decided_by(&self, policy: &Policy) -> Option<Place> {
        let interface = |name: &str| policy.interface(name).map(|interface| interface.place.clone());
        let class = |name: &str| policy.classes.get(name).map(|class| class.place.clone());
        match self {
            Self::InterfaceBudget { interface: name, .. }
            | Self::InterfaceFlows { interface: name, .. }
            | Self::Buffer { interface: name, .. }
            | Self::Delay { interface: name, .. }
            | Self::Mtu { interface: name, .. }
            | Self::UnknownCapacity { interface: name, .. }
            | Self::TrafficControl { interface: name, .. } => interface(name),
            Self::ClassShare { class: name, .. }
            | Self::ClassFlows { class: name, .. }
            | Self::FlowRate { class: name, .. }
            | Self::NotMeasured { class: name }
            | Self::ClassOwner { class: name, .. } => class(name),
            Self::GroupBudget { group, .. } | Self::GroupElsewhere { group, .. } => {
                policy.groups.get(group).map(|group| group.place.clone())
            }
            Self::Client { client, .. } => policy.client(client).map(|client| client.place.clone()),
            Self::InfinitePeak { .. }
            | Self::ServiceNotOffered { .. }
            | Self::InvalidFlowspec { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. }
            | Self::UnknownGroup { .. }
            | Self::UnknownId { .. }
            | Self::Window { .. }
            | Self::Priorities { .. }
            | Self::DuplicateId { .. }
            | Self::InProgress { .. }
            | Self::TooManyFlows { .. }
            | Self::TooManyRequests { .. } => None,
        }
    }
}
