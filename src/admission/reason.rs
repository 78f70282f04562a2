//! The kind of a refusal: one word of the output contract, with its Winsock codes.

use std::fmt;
use std::str::FromStr;

use flowspec::Wsa;
use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $wsa:ident, $status:ident;)*) => {
        /// The kind of a refusal, as traces, tests and decisions name it.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[non_exhaustive]
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

            /// The code that the caller of connect sees.
            ///
            /// - **Source**: WSPConnect, table of error codes: "flow specifications specified in lpSQOS cannot be
            ///   satisfied" is WSAEOPNOTSUPP.
            pub const fn wsa(self) -> Wsa {
                match self { $(Self::$variant => Wsa::$wsa,)* }
            }

            /// The extended status.
            ///
            /// - **Source**: `winsock2.h`, WSA_QOS_*.
            pub const fn status(self) -> Wsa {
                match self { $(Self::$variant => Wsa::$status,)* }
            }
        }
    };
}

reasons! {
    /// The interface has too little of its budget left.
    InterfaceBudget = "interface_budget", Eopnotsupp, QosAdmissionFailure;
    /// The class has too little of its share left.
    ClassShare = "class_share", Eopnotsupp, QosPolicyFailure;
    /// The class holds as many flows as it may.
    ClassFlows = "class_flows", Eopnotsupp, QosPolicyFailure;
    /// One flow of the class may not be charged as much.
    FlowRate = "flow_rate", Eopnotsupp, QosPolicyFailure;
    /// The interface holds as many flows as it may.
    InterfaceFlows = "interface_flows", Eopnotsupp, QosAdmissionFailure;
    /// The interface has too little buffer left.
    Buffer = "buffer", Eopnotsupp, QosAdmissionFailure;
    /// The group has too little left for the member.
    GroupBudget = "group_budget", Eopnotsupp, QosAdmissionFailure;
    /// The client has reached one of its limits.
    ClientLimit = "client_limit", Eopnotsupp, QosPolicyFailure;
    /// There is no such group.
    UnknownGroup = "unknown_group", Eopnotsupp, QosPolicyFailure;
    /// The group is on another interface.
    GroupElsewhere = "group_elsewhere", Eopnotsupp, QosPolicyFailure;
    /// The group exists with another mode.
    GroupMode = "group_mode", Eopnotsupp, QosPolicyFailure;
    /// The class is reserved for other owners.
    ClassOwner = "class_owner", Eopnotsupp, QosPolicyFailure;
    /// A measurement came for a class without `admission = "measured"`.
    NotMeasured = "not_measured", Einval, QosPolicyFailure;
    /// No flow has this id, or the flow has ended.
    UnknownId = "unknown_id", Einval, QosGenericError;
    /// The reservation ends before it begins.
    InvalidWindow = "invalid_window", Eopnotsupp, QosGenericError;
    /// The setup priority is better than the holding priority.
    InvalidPriority = "invalid_priority", Eopnotsupp, QosPolicyFailure;
    /// No rate meets the delay bound.
    Delay = "delay", Eopnotsupp, QosAdmissionFailure;
    /// Packets are larger than the link's MTU.
    Mtu = "mtu", Eopnotsupp, QosAdmissionFailure;
    /// Nothing can be reserved for the service type, such as network control.
    ServiceNotOffered = "service_not_offered", Eopnotsupp, QosEservicetype;
    /// A field of the flowspec, or two of them together, has no meaning.
    InvalidFlowspec = "invalid_flowspec", Eopnotsupp, QosEflowspec;
    /// The policy does not have the interface.
    UnknownInterface = "unknown_interface", Eopnotsupp, QosPolicyFailure;
    /// The link's capacity is not known.
    UnknownCapacity = "unknown_capacity", Eopnotsupp, QosPolicyFailure;
    /// The policy does not have the class.
    UnknownClass = "unknown_class", Eopnotsupp, QosPolicyFailure;
    /// The policy does not have the template.
    UnknownTemplate = "unknown_template", Eopnotsupp, QosPolicyFailure;
    /// A flow with this id is admitted already.
    DuplicateId = "duplicate_id", Einval, QosGenericError;
    /// The kernel has not answered a change of this flow yet.
    InProgress = "in_progress", Einval, QosGenericError;
    /// As many flows are admitted as the ledger can hold.
    TooManyFlows = "too_many_flows", Enobufs, QosAdmissionFailure;
    /// As many groups exist as the ledger can hold.
    TooManyGroups = "too_many_groups", Enobufs, QosAdmissionFailure;
    /// As many requests are queued as the queue can hold.
    TooManyRequests = "too_many_requests", Enobufs, QosAdmissionFailure;
    /// The kernel could not be programmed.
    TrafficControl = "traffic_control", Eopnotsupp, QosTrafficCtrlError;
    /// The manager has failed.
    ManagerFault = "manager_fault", Enetdown, QosGenericError;
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
