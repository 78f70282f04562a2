//! The checked form of each object.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::service::ServiceType;
use crate::units::Rate;
use crate::wsa::Wsa;

use super::adspec::Adspec;
use super::object_type;
use super::pointer::Pointee;
use super::policy::PolicyInfo;
use super::reserve::ReserveInfo;

/// A provider-specific object.
///
/// JSON: `{"object_type": "sd_mode", "shape_discard_mode": "shape"}`; Winsock's names in snake case,
/// integers in its units. Source: `qos.h`, `qossp.h`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "object_type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Object {
    /// QOS_OBJECT_END_OF_LIST: the last object.
    EndOfList,
    /// QOS_OBJECT_SD_MODE: how traffic that does not conform is handled.
    SdMode {
        /// Replaces [`ShapeDiscardMode::default_of`] the service type.
        shape_discard_mode: ShapeDiscardMode,
    },
    /// QOS_OBJECT_SHAPING_RATE: the rate to shape to, in place of TokenRate.
    ShapingRate {
        /// Bytes per second, not zero.
        shaping_rate: Rate,
    },
    /// QOS_OBJECT_DESTADDR: the destination of an unconnected sender.
    Destaddr {
        /// IPv4 or IPv6; the object has a pointer to it.
        socket_address: Pointee<SocketAddr>,
    },
    /// RSVP_OBJECT_STATUS_INFO: the result of a request.
    StatusInfo {
        /// A WSA_QOS_* code.
        status_code: u32,
        /// ExtendedStatus1: a code with more detail.
        extended_status1: u32,
        /// ExtendedStatus2: a value for that code.
        extended_status2: u32,
    },
    /// RSVP_OBJECT_RESERVE_INFO: style, confirmation, filters.
    ReserveInfo(ReserveInfo),
    /// RSVP_OBJECT_ADSPEC: the services and parameters of the path.
    Adspec(Adspec),
    /// RSVP_OBJECT_POLICY_INFO: the identity of the requester.
    PolicyInfo(PolicyInfo),
    /// QOS_OBJECT_DS_CLASS: the code point of the packets.
    DsClass {
        /// DSField, 0 to 63.
        ds_field: u8,
    },
    /// QOS_OBJECT_TRAFFIC_CLASS: the 802.1p priority of the frames.
    TrafficClass {
        /// TrafficClass, 0 to 7.
        traffic_class: u8,
    },
    /// QOS_OBJECT_DIFFSERV: the marks of outgoing packets by the code point of incoming ones.
    Diffserv {
        /// DiffservRule; at most one for each incoming code point.
        rules: Vec<DiffservRule>,
    },
    /// QOS_OBJECT_TCP_TRAFFIC: the flow is TCP.
    TcpTraffic,
    /// QOS_OBJECT_FRIENDLY_NAME: a name of the flow for people.
    FriendlyName {
        /// At most 255 UTF-16 units.
        friendly_name: String,
    },
}

/// How traffic that does not conform is handled.
///
/// Source: QOS_SD_MODE, `qos.h`; the meaning from the traffic control API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeDiscardMode {
    /// TC_NONCONF_BORROW: sent at once, with the lowest priority.
    Borrow,
    /// TC_NONCONF_SHAPE: waits until it conforms.
    Shape,
    /// TC_NONCONF_DISCARD: dropped.
    Discard,
    /// TC_NONCONF_BORROW_PLUS: handled as borrow. Windows does not support it.
    BorrowPlus,
}

/// The marks for packets that arrive with a code point. Source: QOS_DIFFSERV_RULE, `qossp.h`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffservRule {
    /// InboundDSField, 0 to 63.
    pub inbound_ds_field: u8,
    /// ConformingOutboundDSField, 0 to 63.
    pub conforming_outbound_ds_field: u8,
    /// NonConformingOutboundDSField, 0 to 63.
    pub nonconforming_outbound_ds_field: u8,
    /// ConformingUserPriority, 0 to 7.
    pub conforming_user_priority: u8,
    /// NonConformingUserPriority, 0 to 7.
    pub nonconforming_user_priority: u8,
}

impl Object {
    /// The number of its type in `qos.h` or `qossp.h`.
    pub const fn object_type(&self) -> u32 {
        match self {
            Self::EndOfList => object_type::END_OF_LIST,
            Self::SdMode { .. } => object_type::SD_MODE,
            Self::ShapingRate { .. } => object_type::SHAPING_RATE,
            Self::Destaddr { .. } => object_type::DESTADDR,
            Self::StatusInfo { .. } => object_type::STATUS_INFO,
            Self::ReserveInfo(_) => object_type::RESERVE_INFO,
            Self::Adspec(_) => object_type::ADSPEC,
            Self::PolicyInfo(_) => object_type::POLICY_INFO,
            Self::DsClass { .. } => object_type::DS_CLASS,
            Self::TrafficClass { .. } => object_type::TRAFFIC_CLASS,
            Self::Diffserv { .. } => object_type::DIFFSERV,
            Self::TcpTraffic => object_type::TCP_TRAFFIC,
            Self::FriendlyName { .. } => object_type::FRIENDLY_NAME,
        }
    }

    /// The code of a status object, where it is known.
    pub fn status(&self) -> Option<Wsa> {
        match self {
            Self::StatusInfo { status_code, .. } => Wsa::from_code(*status_code),
            _ => None,
        }
    }
}

impl ShapeDiscardMode {
    /// Every mode, in the order of their values, which begin at 0.
    pub const ALL: [Self; 4] = [Self::Borrow, Self::Shape, Self::Discard, Self::BorrowPlus];

    /// The value in `qos.h`.
    pub const fn value(self) -> u32 {
        match self {
            Self::Borrow => 0,
            Self::Shape => 1,
            Self::Discard => 2,
            Self::BorrowPlus => 3,
        }
    }

    /// The mode with this value, if there is one.
    pub fn from_value(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.value() == value)
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Borrow => "borrow",
            Self::Shape => "shape",
            Self::Discard => "discard",
            Self::BorrowPlus => "borrow_plus",
        }
    }

    /// Windows' mode where no object sets one: guaranteed traffic is shaped, other traffic borrows.
    ///
    /// gqos shapes both; see docs/WINSOCK.md. Source: Platform SDK, "Quality of Service", QOS_SD_MODE.
    pub const fn default_of(service: ServiceType) -> Self {
        match service {
            ServiceType::Guaranteed => Self::Shape,
            ServiceType::NoTraffic
            | ServiceType::BestEffort
            | ServiceType::ControlledLoad
            | ServiceType::NetworkUnavailable
            | ServiceType::GeneralInformation
            | ServiceType::NoChange
            | ServiceType::Nonconforming
            | ServiceType::NetworkControl
            | ServiceType::Qualitative => Self::Borrow,
        }
    }
}

impl DiffservRule {
    /// The rule's five bytes.
    pub const fn bytes(&self) -> [u8; 5] {
        [
            self.inbound_ds_field,
            self.conforming_outbound_ds_field,
            self.nonconforming_outbound_ds_field,
            self.conforming_user_priority,
            self.nonconforming_user_priority,
        ]
    }
}
