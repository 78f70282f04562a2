//! The kind of a refusal: one word of the output contract.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kind of a refusal, as traces, tests and decisions name it.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Reason {
            /// Every kind of refusal.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in snake case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

reasons! {
    /// The interface has too little of its budget left.
    InterfaceBudget = "interface_budget",
    /// The class has too little of its share left.
    ClassShare = "class_share",
    /// The class holds as many flows as it may.
    ClassFlows = "class_flows",
    /// One flow of the class may not be charged as much.
    FlowRate = "flow_rate",
    /// The interface holds as many flows as it may.
    InterfaceFlows = "interface_flows",
    /// The interface has too little buffer left.
    Buffer = "buffer",
    /// The group has too little left for the member.
    GroupBudget = "group_budget",
    /// The client has reached one of its limits.
    ClientLimit = "client_limit",
    /// There is no such group.
    UnknownGroup = "unknown_group",
    /// The group is on another interface.
    GroupElsewhere = "group_elsewhere",
    /// The class is reserved for other owners.
    ClassOwner = "class_owner",
    /// The class is not measured.
    NotMeasured = "not_measured",
    /// No flow has this id, or the flow has ended.
    UnknownId = "unknown_id",
    /// The reservation ends before it begins.
    InvalidWindow = "invalid_window",
    /// The setup priority is better than the holding priority.
    InvalidPriority = "invalid_priority",
    /// No rate meets the delay bound.
    Delay = "delay",
    /// Packets are larger than the link's MTU.
    Mtu = "mtu",
    /// The service type is not offered.
    ServiceNotOffered = "service_not_offered",
    /// The flowspec is not valid.
    InvalidFlowspec = "invalid_flowspec",
    /// The policy does not have the interface.
    UnknownInterface = "unknown_interface",
    /// The link's capacity is not known.
    UnknownCapacity = "unknown_capacity",
    /// The policy does not have the class.
    UnknownClass = "unknown_class",
    /// The policy does not have the template.
    UnknownTemplate = "unknown_template",
    /// A flow with this id is admitted already.
    DuplicateId = "duplicate_id",
    /// A change of this flow is still in the kernel's hands.
    InProgress = "in_progress",
    /// As many flows are admitted as the ledger can hold.
    TooManyFlows = "too_many_flows",
    /// As many requests are queued as the queue can hold.
    TooManyRequests = "too_many_requests",
    /// The kernel could not be programmed.
    TrafficControl = "traffic_control",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no kind of refusal.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a reason for a refusal")]
pub struct UnknownReason(pub String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        let found = Self::ALL.iter().find(|reason| reason.name() == name);
        found.copied().ok_or_else(|| UnknownReason(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_from_text_and_json() {
        for reason in Reason::ALL {
            assert_eq!(reason.name().parse(), Ok(*reason));
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
            assert_eq!(serde_json::from_str::<Reason>(&json).unwrap(), *reason);
        }
        assert_eq!("full".parse::<Reason>(), Err(UnknownReason("full".into())));
    }
}
