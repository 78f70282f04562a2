//! Service types: the service that a flowspec requests.
//!
//! - Types: [`ServiceType`]; [`Service`], a type with its flags; [`ServiceUse`], where a type is used; [`Mark`], how its
//!   packets are marked by default.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::raw::{SERVICE_NO_QOS_SIGNALING, SERVICE_NO_TRAFFIC_CONTROL};

/// Winsock's SERVICETYPE, by its base value (the low sixteen bits).
///
/// JSON and policy files use the snake-case names. Source: `qos.h`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceType {
    /// No data in this direction; turns quality of service off for it.
    NoTraffic,
    /// No reservation.
    BestEffort,
    /// Like best effort on an unloaded network (RFC 2211).
    ControlledLoad,
    /// A guaranteed rate and a delay bound; no conforming packet is dropped in a queue (RFC 2212).
    Guaranteed,
    /// Only in reports: the network is not available.
    NetworkUnavailable,
    /// Only in reports: all service types are offered.
    GeneralInformation,
    /// SIO_SET_QOS leaves this direction as it is.
    NoChange,
    /// Only as a label: traffic that does not conform.
    Nonconforming,
    /// Signalling packets of the network itself.
    NetworkControl,
    /// Better than best effort, by an amount that is not quantified.
    Qualitative,
}

/// Where a service type is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceUse {
    /// The sending flowspec of a socket (`WSPConnect`, SIO_SET_QOS).
    Sending,
    /// The receiving flowspec of a socket.
    Receiving,
    /// A flow of the traffic control API (`TcAddFlow`).
    TrafficControl,
    /// An answer to SIO_GET_QOS.
    Report,
}

/// A SERVICETYPE in its parts: the service type and the flags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service {
    /// From the short or the long form.
    pub service_type: ServiceType,
    /// SERVICE_NO_TRAFFIC_CONTROL: the kernel's traffic control does not handle the flow.
    pub no_traffic_control: bool,
    /// SERVICE_NO_QOS_SIGNALING: no signalling to the network.
    pub no_qos_signaling: bool,
}

/// How packets are marked: in the IP header and in an 802.1Q tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Mark {
    /// The differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// The 802.1p user priority, 0 to 7.
    pub user_priority: u8,
}

/// The long forms of the service types. Each has a bit of its own, so that a report can hold several. Source: `qos.h`,
/// SERVICE_*.
const OFFERS: [(u32, ServiceType); 4] = [
    (0x8001_0000, ServiceType::BestEffort),
    (0x8002_0000, ServiceType::ControlledLoad),
    (0x8004_0000, ServiceType::Guaranteed),
    (0x8020_0000, ServiceType::Qualitative),
];

impl Service {
    /// Reads a SERVICETYPE: the short form (base value and flags), or the long form of one type (`SERVICE_GUARANTEED`,
    /// 0x80040000, …) with or without flags. `None` where it is neither.
    ///
    /// SERVICE_NO_TRAFFIC_CONTROL is two bits, and the upper one is part of every long form: the flag is set only where
    /// both bits are. Source: `qos.h`.
    #[inline]
    pub fn from_raw(value: u32) -> Option<Self> {
        if let Some(service_type) = ServiceType::from_value(value) {
            return Some(Self { service_type, no_traffic_control: false, no_qos_signaling: false });
        }
        let no_traffic_control = value & SERVICE_NO_TRAFFIC_CONTROL == SERVICE_NO_TRAFFIC_CONTROL;
        let no_qos_signaling = value & SERVICE_NO_QOS_SIGNALING != 0;
        let mut rest = value & !SERVICE_NO_QOS_SIGNALING;
        if no_traffic_control {
            rest &= !SERVICE_NO_TRAFFIC_CONTROL;
        }
        let long = |&&(bits, _): &&(u32, ServiceType)| {
            rest == bits || no_traffic_control && rest == bits & !SERVICE_NO_TRAFFIC_CONTROL
        };
        let service_type = match OFFERS.iter().find(long) {
            Some(&(_, service_type)) => Some(service_type),
            None => ServiceType::from_value(rest),
        }?;
        Some(Self { service_type, no_traffic_control, no_qos_signaling })
    }

    /// The short form of a SERVICETYPE: base value and flags.
    pub const fn to_raw(self) -> u32 {
        let control = if self.no_traffic_control { SERVICE_NO_TRAFFIC_CONTROL } else { 0 };
        let signaling = if self.no_qos_signaling { SERVICE_NO_QOS_SIGNALING } else { 0 };
        self.service_type.value() | control | signaling
    }
}

impl ServiceType {
    /// The types in a report of the services on offer, in which several long forms may be set. `None` where the value is
    /// not such a report.
    pub fn offers(value: u32) -> Option<Vec<Self>> {
        let known = OFFERS.iter().fold(0, |bits, &(bit, _)| bits | bit);
        let marked = value & 0x8000_0000 != 0 && value & !known == 0 && value != 0x8000_0000;
        let is_set = |&&(bits, _): &&(u32, Self)| value & bits == bits;
        marked.then(|| OFFERS.iter().filter(is_set).map(|&(_, service_type)| service_type).collect())
    }

    /// Whether the type may be used in this place. Says nothing about whether it is granted.
    ///
    /// The flags may be used in a socket's flowspec and in a report, not in the traffic control API. Source: `qos.h`;
    /// traffic control API, `TC_GEN_FLOW`.
    pub const fn is_legal(self, place: ServiceUse) -> bool {
        match self {
            Self::BestEffort | Self::ControlledLoad | Self::Guaranteed | Self::Qualitative => true,
            Self::NoTraffic | Self::NoChange => !matches!(place, ServiceUse::TrafficControl),
            Self::NetworkUnavailable => matches!(place, ServiceUse::Report),
            Self::GeneralInformation => matches!(place, ServiceUse::Sending | ServiceUse::Report),
            Self::NetworkControl => {
                matches!(place, ServiceUse::Sending | ServiceUse::TrafficControl | ServiceUse::Report)
            }
            Self::Nonconforming => false,
        }
    }

    /// The marks that Windows gives to packets of this type by default; traffic in excess gets those of
    /// [`Nonconforming`](Self::Nonconforming). `None` for a type that no packet has.
    ///
    /// gqos marks packets only where the policy sets a code point; these defaults are for reports. Source: Windows' QoS
    /// packet scheduler.
    pub const fn default_mark(self) -> Option<Mark> {
        let (dscp, user_priority) = match self {
            Self::BestEffort | Self::Qualitative => (0, 0),
            Self::ControlledLoad => (0x18, 4),
            Self::Guaranteed => (0x28, 5),
            Self::Nonconforming => (0, 1),
            Self::NetworkControl => (0x30, 7),
            Self::NoTraffic | Self::NetworkUnavailable | Self::GeneralInformation | Self::NoChange => {
                return None;
            }
        };
        Some(Mark { dscp, user_priority })
    }

    /// The priority in Windows' QoS packet scheduler: 1 before 2. `None` for a type that no packet has.
    pub const fn priority(self) -> Option<u8> {
        match self {
            Self::NetworkControl => Some(1),
            Self::Guaranteed => Some(2),
            Self::ControlledLoad => Some(3),
            Self::BestEffort => Some(4),
            Self::Qualitative => Some(5),
            Self::Nonconforming => Some(6),
            Self::NoTraffic | Self::NetworkUnavailable | Self::GeneralInformation | Self::NoChange => None,
        }
    }

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
    pub const fn from_value(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::NoTraffic,
            1 => Self::BestEffort,
            2 => Self::ControlledLoad,
            3 => Self::Guaranteed,
            4 => Self::NetworkUnavailable,
            5 => Self::GeneralInformation,
            6 => Self::NoChange,
            9 => Self::Nonconforming,
            0xA => Self::NetworkControl,
            0xD => Self::Qualitative,
            _ => return None,
        })
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

    /// Whether a flow of this type takes part of a budget.
    pub const fn reserves(self) -> bool {
        matches!(self, Self::ControlledLoad | Self::Guaranteed)
    }
}

impl std::fmt::Display for ServiceType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is not the name of a service type.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a service type; they are {names}", names = ServiceType::ALL.map(ServiceType::name).join(", "))]
pub struct UnknownServiceType(pub String);

impl FromStr for ServiceType {
    type Err = UnknownServiceType;

    fn from_str(text: &str) -> Result<Self, UnknownServiceType> {
        let found = Self::ALL.into_iter().find(|service| service.name() == text);
        found.ok_or_else(|| UnknownServiceType(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: u32, expected: Option<(ServiceType, bool, bool)>) {
        let found = Service::from_raw(value);
        let parts = found.map(|s| (s.service_type, s.no_traffic_control, s.no_qos_signaling));
        assert_eq!(parts, expected, "{value:#x}");
    }

    #[test]
    fn a_service_type_is_read_with_its_flags() {
        use ServiceType::*;
        check(3, Some((Guaranteed, false, false)));
        check(0x8100_0003, Some((Guaranteed, true, false)));
        check(0x4000_0002, Some((ControlledLoad, false, true)));
        check(0xC100_0001, Some((BestEffort, true, true)));
        check(0x8004_0000, Some((Guaranteed, false, false)));
        check(0x8104_0000, Some((Guaranteed, true, false)));
        check(0xC120_0000, Some((Qualitative, true, true)));
        check(0x8100_0000, Some((NoTraffic, true, false)));
        for stray in
            [7, 8, 11, 12, 0xE, 0xFFFF, 0x8000_0003, 0x0100_0003, 0x0004_0000, 0x8005_0000, 0x8004_0003]
        {
            check(stray, None);
        }
    }

    #[test]
    fn a_report_holds_several_service_types() {
        use ServiceType::*;
        assert_eq!(ServiceType::offers(0x8007_0000), Some(vec![BestEffort, ControlledLoad, Guaranteed]));
        assert_eq!(ServiceType::offers(0x8020_0000), Some(vec![Qualitative]));
        for value in [0, 3, 0x8000_0000, 0x8008_0000, 0x0001_0000, 0x8100_0003] {
            assert_eq!(ServiceType::offers(value), None, "{value:#x}");
        }
    }

    #[test]
    fn each_service_type_is_legal_in_its_places() {
        let at = |place| ServiceType::ALL.map(|service| u8::from(service.is_legal(place)));
        // no_traffic, best_effort, controlled_load, guaranteed, network_unavailable,
        // general_information, no_change, nonconforming, network_control, qualitative
        assert_eq!(at(ServiceUse::Sending), [1, 1, 1, 1, 0, 1, 1, 0, 1, 1]);
        assert_eq!(at(ServiceUse::Receiving), [1, 1, 1, 1, 0, 0, 1, 0, 0, 1]);
        assert_eq!(at(ServiceUse::TrafficControl), [0, 1, 1, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(at(ServiceUse::Report), [1, 1, 1, 1, 1, 1, 1, 0, 1, 1]);
    }

    #[test]
    fn default_marks_and_priorities_are_those_of_windows() {
        let marks = ServiceType::ALL.map(|s| s.default_mark().map(|m| (m.dscp, m.user_priority)));
        let expected = [
            None,
            Some((0, 0)),
            Some((24, 4)),
            Some((40, 5)),
            None,
            None,
            None,
            Some((0, 1)),
            Some((48, 7)),
            Some((0, 0)),
        ];
        assert_eq!(marks, expected);
        let mut order: Vec<_> = ServiceType::ALL.into_iter().filter_map(ServiceType::priority).collect();
        order.sort_unstable();
        assert_eq!(order, [1, 2, 3, 4, 5, 6]);
    }

    proptest::proptest! {
        #[test]
        fn a_service_that_was_read_is_written_to_the_same_value(value: u32) {
            if let Some(service) = Service::from_raw(value) {
                proptest::prop_assert_eq!(Service::from_raw(service.to_raw()), Some(service));
            }
        }
    }

    #[test]
    fn values_and_names_are_unique() {
        for service in ServiceType::ALL {
            assert_eq!(ServiceType::from_value(service.value()), Some(service));
            let json = serde_json::to_string(&service).expect("a unit variant serializes");
            assert_eq!(json, format!("\"{}\"", service.name()));
            assert_eq!(service.name().parse(), Ok(service));
        }
        assert_eq!(ServiceType::from_value(7), None);
        assert_eq!(ServiceType::from_value(0x8001_0000), None);
    }
}
