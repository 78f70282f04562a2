//! Service types: what kind of promise a flowspec asks for.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::raw::{SERVICE_NO_QOS_SIGNALING, SERVICE_NO_TRAFFIC_CONTROL};

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

/// Where a service type is said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The sending flowspec of a socket (`WSPConnect`, SIO_SET_QOS).
    Sending,
    /// The receiving flowspec of a socket.
    Receiving,
    /// A flow of the traffic control API (`TcAddFlow`).
    TrafficControl,
    /// An answer to SIO_GET_QOS.
    Report,
}

/// A SERVICETYPE taken apart: the type, and the flags beside it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service {
    /// What is asked for.
    pub service_type: ServiceType,
    /// SERVICE_NO_TRAFFIC_CONTROL: the kernel's traffic control is left alone.
    pub no_traffic_control: bool,
    /// SERVICE_NO_QOS_SIGNALING: the network is not told.
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

/// Long forms: bits, so that a report can hold several. Source: `qos.h`, SERVICE_*.
const OFFERS: [(u32, ServiceType); 4] = [
    (0x8001_0000, ServiceType::BestEffort),
    (0x8002_0000, ServiceType::ControlledLoad),
    (0x8004_0000, ServiceType::Guaranteed),
    (0x8020_0000, ServiceType::Qualitative),
];

impl Service {
    /// Takes a SERVICETYPE apart: the short form (base value and flags), or the long form of one type
    /// (`SERVICE_GUARANTEED`, 0x80040000, …) with or without flags. Nothing where it is neither.
    ///
    /// SERVICE_NO_TRAFFIC_CONTROL is two bits, of which the upper is in every long form as well: only
    /// both together mean it. Source: `qos.h`.
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

    /// The short form with its flags.
    pub const fn to_raw(self) -> u32 {
        let control = if self.no_traffic_control { SERVICE_NO_TRAFFIC_CONTROL } else { 0 };
        let signaling = if self.no_qos_signaling { SERVICE_NO_QOS_SIGNALING } else { 0 };
        self.service_type.value() | control | signaling
    }
}

impl ServiceType {
    /// The types in a report of what is on offer: the long forms are bits, and several may be set.
    /// Nothing where the value is no such report.
    pub fn offers(value: u32) -> Option<Vec<Self>> {
        let known = OFFERS.iter().fold(0, |bits, &(bit, _)| bits | bit);
        let marked = value & 0x8000_0000 != 0 && value & !known == 0 && value != 0x8000_0000;
        let is_set = |&&(bits, _): &&(u32, Self)| value & bits == bits;
        marked.then(|| OFFERS.iter().filter(is_set).map(|&(_, service_type)| service_type).collect())
    }

    /// Whether it may be said there. Whether it is granted is another question.
    ///
    /// The flags may stand beside it in a socket's flowspec and in a report, not in the traffic
    /// control API. Source: `qos.h`; traffic control API, `TC_GEN_FLOW`.
    pub const fn is_legal(self, place: Place) -> bool {
        match self {
            Self::BestEffort | Self::ControlledLoad | Self::Guaranteed | Self::Qualitative => true,
            Self::NoTraffic | Self::NoChange => !matches!(place, Place::TrafficControl),
            Self::NetworkUnavailable => matches!(place, Place::Report),
            Self::GeneralInformation => matches!(place, Place::Sending | Place::Report),
            Self::NetworkControl => matches!(place, Place::Sending | Place::TrafficControl | Place::Report),
            Self::Nonconforming => false,
        }
    }

    /// The marks that packets of this type get where nothing says otherwise; excess traffic gets those
    /// of [`Nonconforming`](Self::Nonconforming). Nothing where no packet is of this type.
    ///
    /// Source: Windows' QoS packet scheduler, its defaults.
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

    /// Which goes first: 1 before 2. Source: Windows' QoS packet scheduler.
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

/// A text is not the name of a service type.
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
    fn flags_stand_beside_the_type() {
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
    fn offers_are_bits() {
        use ServiceType::*;
        assert_eq!(ServiceType::offers(0x8007_0000), Some(vec![BestEffort, ControlledLoad, Guaranteed]));
        assert_eq!(ServiceType::offers(0x8020_0000), Some(vec![Qualitative]));
        for value in [0, 3, 0x8000_0000, 0x8008_0000, 0x0001_0000, 0x8100_0003] {
            assert_eq!(ServiceType::offers(value), None, "{value:#x}");
        }
    }

    #[test]
    fn what_may_be_said_where() {
        let at = |place| ServiceType::ALL.map(|service| u8::from(service.is_legal(place)));
        // no_traffic, best_effort, controlled_load, guaranteed, network_unavailable,
        // general_information, no_change, nonconforming, network_control, qualitative
        assert_eq!(at(Place::Sending), [1, 1, 1, 1, 0, 1, 1, 0, 1, 1]);
        assert_eq!(at(Place::Receiving), [1, 1, 1, 1, 0, 0, 1, 0, 0, 1]);
        assert_eq!(at(Place::TrafficControl), [0, 1, 1, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(at(Place::Report), [1, 1, 1, 1, 1, 1, 1, 0, 1, 1]);
    }

    #[test]
    fn marks_and_priorities() {
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
        fn what_is_taken_apart_goes_together(value: u32) {
            if let Some(service) = Service::from_raw(value) {
                proptest::prop_assert_eq!(Service::from_raw(service.to_raw()), Some(service));
            }
        }
    }

    #[test]
    fn values_and_names_are_one_to_one() {
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
