//! Refusals: why a request was turned down, with the sum that decided.

use flowspec::{Bytes, Direction, FlowspecError, Rate, ServiceType, Wsa};

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
    /// The data path cannot prove the delay that was asked for.
    #[error(
        "{interface} {direction}: a delay bound is asked for, and this data path proves none; leave latency and delay_variation unspecified"
    )]
    Delay {
        /// The interface.
        interface: String,
        /// The direction.
        direction: Direction,
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
    /// The reservation fits, and the kernel could not be made to keep it.
    #[error("{interface}: traffic control could not be programmed: {cause}")]
    TrafficControl {
        /// The interface.
        interface: String,
        /// What failed: the request, the object and the error.
        cause: String,
    },
}

/// The sum behind a refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sum {
    /// What the flow would be charged.
    pub asked: Rate,
    /// What is promised already.
    pub reserved: Rate,
    /// What may be promised.
    pub budget: Rate,
    /// Who holds most of it, most first.
    pub holders: Vec<Holder>,
    /// The largest charge that every constraint would allow now.
    pub would_fit: Rate,
}

/// A flow that holds part of a budget.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its id.
    pub id: String,
    /// What it is charged.
    pub charged: Rate,
}

impl Sum {
    /// What is left.
    pub fn available(&self) -> Rate {
        self.budget.saturating_sub(self.reserved)
    }

    /// By how much it falls short.
    pub fn shortfall(&self) -> Rate {
        self.asked.saturating_sub(self.available())
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { asked, reserved, budget, holders, would_fit } = self;
        let (available, shortfall) = (self.available(), self.shortfall());
        write!(
            f,
            "{asked} asked, {reserved} reserved of {budget}, {available} available: {shortfall} short"
        )?;
        for (index, Holder { id, charged }) in holders.iter().enumerate() {
            let lead = if index == 0 { "; most is held by" } else { "," };
            write!(f, "{lead} {id} ({charged})")?;
        }
        match *would_fit {
            Rate::ZERO => write!(f, "; nothing would fit"),
            would_fit => write!(f, "; at most {would_fit} would fit"),
        }
    }
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
            | Self::Delay { .. }
            | Self::Mtu { .. }
            | Self::ServiceNotOffered { .. }
            | Self::InvalidFlowspec { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownCapacity { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. }
            | Self::TrafficControl { .. } => Wsa::Eopnotsupp,
            Self::DuplicateId { .. } => Wsa::Einval,
            Self::TooManyFlows { .. } => Wsa::Enobufs,
        }
    }

    /// The extended status. Source: `winsock2.h`, WSA_QOS_*.
    pub const fn status(&self) -> Wsa {
        match self {
            Self::InterfaceBudget { .. }
            | Self::Delay { .. }
            | Self::Mtu { .. }
            | Self::TooManyFlows { .. } => Wsa::QosAdmissionFailure,
            Self::ClassShare { .. }
            | Self::ClassFlows { .. }
            | Self::FlowRate { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownCapacity { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. } => Wsa::QosPolicyFailure,
            Self::ServiceNotOffered { .. } => Wsa::QosEservicetype,
            Self::InvalidFlowspec { error, .. } => error.wsa(),
            Self::DuplicateId { .. } => Wsa::QosGenericError,
            Self::TrafficControl { .. } => Wsa::QosTrafficCtrlError,
        }
    }

    /// The kind of refusal, in snake case, as in traces.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InterfaceBudget { .. } => "interface_budget",
            Self::ClassShare { .. } => "class_share",
            Self::ClassFlows { .. } => "class_flows",
            Self::FlowRate { .. } => "flow_rate",
            Self::Delay { .. } => "delay",
            Self::Mtu { .. } => "mtu",
            Self::ServiceNotOffered { .. } => "service_not_offered",
            Self::InvalidFlowspec { .. } => "invalid_flowspec",
            Self::UnknownInterface { .. } => "unknown_interface",
            Self::UnknownCapacity { .. } => "unknown_capacity",
            Self::UnknownClass { .. } => "unknown_class",
            Self::UnknownTemplate { .. } => "unknown_template",
            Self::DuplicateId { .. } => "duplicate_id",
            Self::TooManyFlows { .. } => "too_many_flows",
            Self::TrafficControl { .. } => "traffic_control",
        }
    }

    /// The largest charge that would fit instead, where the sum decided.
    pub const fn would_fit(&self) -> Option<Rate> {
        match self {
            Self::InterfaceBudget { sum, .. } | Self::ClassShare { sum, .. } => Some(sum.would_fit),
            Self::FlowRate { max_rate, .. } => Some(*max_rate),
            Self::ClassFlows { .. }
            | Self::Delay { .. }
            | Self::Mtu { .. }
            | Self::ServiceNotOffered { .. }
            | Self::InvalidFlowspec { .. }
            | Self::UnknownInterface { .. }
            | Self::UnknownCapacity { .. }
            | Self::UnknownClass { .. }
            | Self::UnknownTemplate { .. }
            | Self::DuplicateId { .. }
            | Self::TooManyFlows { .. }
            | Self::TrafficControl { .. } => None,
        }
    }
}
