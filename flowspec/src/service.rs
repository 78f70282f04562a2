//! Service types: what kind of promise a flowspec asks for.

use serde::{Deserialize, Serialize};

/// Winsock's SERVICETYPE, by its base value (the low sixteen bits).
///
/// JSON and policy files use the snake-case names. Source: `qos.h`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceType {
    /// Nothing flows this way; turns quality of service off for a direction.
    NoTraffic,
    /// No reservation.
    BestEffort,
    /// Like best effort on an unloaded network (RFC 2211).
    ControlledLoad,
    /// A firm rate and a delay bound, no queue drops while conforming (RFC 2212).
    Guaranteed,
    /// A report, not a request: the network is lost.
    NetworkUnavailable,
    /// A report, not a request: all service types on offer.
    GeneralInformation,
    /// Leave this direction as it is.
    NoChange,
    /// A label for excess traffic, not a request.
    Nonconforming,
    /// Signalling packets; reserved for the network itself.
    NetworkControl,
    /// Better than best effort by an amount nobody can say.
    Qualitative,
}

impl ServiceType {
    /// Every service type, in the order of their values.
    pub const ALL: [Self; 10] = [
        Self::NoTraffic,
        Self::BestEffort,
        Self::ControlledLoad,
        Self::Guaranteed,
        Self::NetworkUnavailable,
        Self::GeneralInformation,
        Self::NoChange,
        Self::Nonconforming,
        Self::NetworkControl,
        Self::Qualitative,
    ];

    /// The base value in `qos.h`.
    pub const fn value(self) -> u32 {
        match self {
            Self::NoTraffic => 0,
            Self::BestEffort => 1,
            Self::ControlledLoad => 2,
            Self::Guaranteed => 3,
            Self::NetworkUnavailable => 4,
            Self::GeneralInformation => 5,
            Self::NoChange => 6,
            Self::Nonconforming => 9,
            Self::NetworkControl => 0xA,
            Self::Qualitative => 0xD,
        }
    }

    /// The service type with this base value, if one is assigned.
    pub fn from_value(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.value() == value)
    }

    /// The name used in policy files and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoTraffic => "no_traffic",
            Self::BestEffort => "best_effort",
            Self::ControlledLoad => "controlled_load",
            Self::Guaranteed => "guaranteed",
            Self::NetworkUnavailable => "network_unavailable",
            Self::GeneralInformation => "general_information",
            Self::NoChange => "no_change",
            Self::Nonconforming => "nonconforming",
            Self::NetworkControl => "network_control",
            Self::Qualitative => "qualitative",
        }
    }

    /// Whether a flow of this type takes from a budget.
    pub const fn reserves(self) -> bool {
        matches!(self, Self::ControlledLoad | Self::Guaranteed)
    }
}

impl std::fmt::Display for ServiceType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_names_are_one_to_one() {
        for service in ServiceType::ALL {
            assert_eq!(ServiceType::from_value(service.value()), Some(service));
            let json = serde_json::to_string(&service).expect("a unit variant serializes");
            assert_eq!(json, format!("\"{}\"", service.name()));
        }
        assert_eq!(ServiceType::from_value(7), None);
        assert_eq!(ServiceType::from_value(0x8001_0000), None);
    }
}
