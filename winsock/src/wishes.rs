//! Wishes: what the objects of a QOS ask for besides its flowspecs, and what is said of a promise.

use std::net::SocketAddr;

use flowspec::objects::{Pointee, ShapeDiscardMode};
use flowspec::{Object, Rate, Wsa};

use gqos::admission::{Decision, Reason};

/// What is asked for besides the flowspecs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    /// QOS_SD_MODE: what becomes of what does not conform. It waits, where nothing is said; dropped are
    /// datagrams alone. What borrows is not held in user space: the kernel's class is all that holds it.
    pub excess: Option<ShapeDiscardMode>,
    /// QOS_SHAPING_RATE: shaped to this in place of TokenRate, but never to more than was promised.
    pub shaping_rate: Option<Rate>,
    /// QOS_DS_CLASS: the code point of the packets, in place of the class's.
    pub ds_field: Option<u8>,
    /// QOS_TRAFFIC_CLASS: the 802.1p priority, which goes along as the class selector of the same number where no
    /// code point is asked for.
    pub traffic_class: Option<u8>,
    /// QOS_DESTADDR: where a datagram socket without a peer sends to.
    pub destination: Option<SocketAddr>,
    /// RSVP_RESERVE_INFO's ConfirmRequest: FD_QOS tells of the promise as well, with WSA_QOS_REQUEST_CONFIRMED.
    pub confirm: bool,
}

/// What was last said about a socket's quality.
///
/// - **Source**: RSVP_STATUS_INFO.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// StatusCode.
    pub code: Wsa,
    /// ExtendedStatus1: what there was too little of; 0 where that is not one of these.
    pub extended: u32,
    /// ExtendedStatus2: the largest rate that would have fitted, in bytes a second; 0 where nobody knows.
    pub value: u32,
}

/// Source: `qossp.h`, GQOS_ERRORCODE_UNKNOWN and the codes of admission control below it.
const DELAY: u32 = 56_102;
const BANDWIDTH: u32 = 56_103;
const MTU: u32 = 56_104;
const FLOW_RATE: u32 = 56_105;

impl Wishes {
    /// Those among these objects; of several of a kind the last.
    pub fn of(objects: &[Object]) -> Self {
        let mut wishes = Self::default();
        for object in objects {
            match object {
                Object::SdMode { shape_discard_mode } => wishes.excess = Some(*shape_discard_mode),
                Object::ShapingRate { shaping_rate } => wishes.shaping_rate = Some(*shaping_rate),
                Object::DsClass { ds_field } => wishes.ds_field = Some(*ds_field),
                Object::TrafficClass { traffic_class } => wishes.traffic_class = Some(*traffic_class),
                Object::Destaddr { socket_address: Pointee::Inside(address) } => {
                    wishes.destination = Some(*address);
                }
                Object::ReserveInfo(info) => wishes.confirm = info.confirm_request != 0,
                _ => {}
            }
        }
        wishes
    }

    /// The code point that is asked for, by whichever object. Source: RFC 2474, class selectors.
    pub(super) fn code_point(&self) -> Option<u8> {
        self.ds_field.or(self.traffic_class.map(|class| class << 3))
    }

    /// Whether what does not conform is sent at once.
    pub(super) fn borrows(&self) -> bool {
        matches!(self.excess, Some(ShapeDiscardMode::Borrow | ShapeDiscardMode::BorrowPlus))
    }

    /// Whether datagrams that do not conform are dropped.
    pub(super) fn discards(&self) -> bool {
        self.excess == Some(ShapeDiscardMode::Discard)
    }
}

impl From<Wsa> for Status {
    fn from(code: Wsa) -> Self {
        Self { code, extended: 0, value: 0 }
    }
}

impl Status {
    /// Why a decision was no.
    pub(super) fn refused(decision: &Decision) -> Self {
        let extended = match decision.reason() {
            Some(Reason::Delay) => DELAY,
            Some(Reason::InterfaceBudget | Reason::ClassShare | Reason::GroupBudget) => BANDWIDTH,
            Some(Reason::Mtu) => MTU,
            Some(Reason::FlowRate) => FLOW_RATE,
            _ => 0,
        };
        let value = decision.would_fit().map_or(0, |rate| u32::try_from(rate.get()).unwrap_or(u32::MAX));
        Self { code: decision.status().unwrap_or(Wsa::QosGenericError), extended, value }
    }
}
