//! What each object means.

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
    /// QOS_OBJECT_END_OF_LIST: nothing follows.
    EndOfList,
    /// QOS_OBJECT_SD_MODE: what becomes of traffic that does not conform.
    SdMode {
        /// ShapeDiscardMode.
        shape_discard_mode: ShapeDiscardMode,
    },
    /// QOS_OBJECT_SHAPING_RATE: shape to this rate instead of TokenRate.
    ShapingRate {
        /// Bytes per second, not zero.
        shaping_rate: Rate,
    },
    /// QOS_OBJECT_DESTADDR: where an unconnected sender sends to.
    Destaddr {
        /// SocketAddress.
        socket_address: Pointee<SocketAddr>,
    },
    /// RSVP_OBJECT_STATUS_INFO: what has become of a request.
    StatusInfo {
        /// A WSA_QOS_* code.
        status_code: u32,
        /// ExtendedStatus1: a code that says more.
        extended_status1: u32,
        /// ExtendedStatus2: a value that goes with it.
        extended_status2: u32,
    },
    /// RSVP_OBJECT_RESERVE_INFO: style, confirmation, filters.
    ReserveInfo(ReserveInfo),
    /// RSVP_OBJECT_ADSPEC: what the path offers.
    Adspec(Adspec),
    /// RSVP_OBJECT_POLICY_INFO: who asks.
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
    /// QOS_OBJECT_DIFFSERV: other marks for each code point that comes in.
    Diffserv {
        /// DiffservRule; no code point comes in twice.
        rules: Vec<DiffservRule>,
    },
    /// QOS_OBJECT_TCP_TRAFFIC: the flow is TCP.
    TcpTraffic,
    /// QOS_OBJECT_FRIENDLY_NAME: what people call the flow.
    FriendlyName {
        /// At most 255 UTF-16 units.
        friendly_name: String,
    },
}

/// What becomes of traffic that does not conform.
///
/// Source: QOS_SD_MODE, `qos.h`; the meaning from the traffic control API.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeDiscardMode {
    /// TC_NONCONF_BORROW: it is sent at once, with the lowest priority.
    Borrow,
    /// TC_NONCONF_SHAPE: it waits until there is credit.
    Shape,
    /// TC_NONCONF_DISCARD: it is dropped.
    Discard,
    /// TC_NONCONF_BORROW_PLUS: as borrow; not supported on Windows either.
    BorrowPlus,
}

/// Marks for packets that come in with a code point. Source: QOS_DIFFSERV_RULE, `qossp.h`.
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
    /// ObjectType.
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

    /// The code in a status object, where it is one that is known.
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

    /// What holds where no object says it: guaranteed traffic is shaped, other traffic borrows.
    ///
    /// Source: Platform SDK, "Quality of Service", QOS_SD_MODE.
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
    /// The five bytes, in their order.
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
