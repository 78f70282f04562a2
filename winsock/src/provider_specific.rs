//! The objects of a QOS structure: what a program requests besides the two flowspecs.

use std::net::SocketAddr;

use flowspec::objects::{Pointee, ShapeDiscardMode};
use flowspec::{Object, Rate};

/// The objects in a QOS structure's ProviderSpecific buffer that the provider heeds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ProviderSpecific {
    /// QOS_SD_MODE: the treatment of traffic that exceeds the flowspec. By default it waits. Only datagrams are
    /// discarded. In the modes that borrow, the bucket in user space is left out and only the kernel's class shapes.
    pub shape_discard_mode: Option<ShapeDiscardMode>,
    /// QOS_SHAPING_RATE: replaces TokenRate for shaping; never above the rate that is reserved.
    pub shaping_rate: Option<Rate>,
    /// QOS_DS_CLASS: the DSCP of the packets, in place of the class's.
    pub ds_field: Option<u8>,
    /// QOS_TRAFFIC_CLASS: the 802.1p priority. Where no DSCP is requested, packets carry the class selector of the
    /// same number.
    pub traffic_class: Option<u8>,
    /// QOS_DESTADDR: the destination of a datagram socket without a peer.
    pub destination: Option<SocketAddr>,
    /// ConfirmRequest of RSVP_RESERVE_INFO: FD_QOS reports a successful reservation too, as
    /// WSA_QOS_REQUEST_CONFIRMED.
    pub confirm_request: bool,
}

impl ProviderSpecific {
    pub(crate) const NONE: Self = Self {
        shape_discard_mode: None,
        shaping_rate: None,
        ds_field: None,
        traffic_class: None,
        destination: None,
        confirm_request: false,
    };

    /// What these objects request. Of several objects of one type the last counts.
    pub fn from_objects(objects: &[Object]) -> Self {
        let mut requested = Self::default();
        for object in objects {
            match object {
                Object::SdMode { shape_discard_mode } => {
                    requested.shape_discard_mode = Some(*shape_discard_mode);
                }
                Object::ShapingRate { shaping_rate } => requested.shaping_rate = Some(*shaping_rate),
                Object::DsClass { ds_field } => requested.ds_field = Some(*ds_field),
                Object::TrafficClass { traffic_class } => requested.traffic_class = Some(*traffic_class),
                Object::Destaddr { socket_address: Pointee::Inside(address) } => {
                    requested.destination = Some(*address);
                }
                Object::ReserveInfo(info) => requested.confirm_request = info.confirm_request != 0,
                _ => {}
            }
        }
        requested
    }

    /// The requested DSCP. Source: RFC 2474, class selectors.
    pub(crate) fn code_point(&self) -> Option<u8> {
        self.ds_field.or(self.traffic_class.map(|class| class << 3))
    }

    /// Whether traffic that exceeds the flowspec is sent at once.
    pub(crate) fn borrows(&self) -> bool {
        matches!(self.shape_discard_mode, Some(ShapeDiscardMode::Borrow | ShapeDiscardMode::BorrowPlus))
    }

    /// Whether datagrams that exceed the flowspec are dropped.
    pub(crate) fn discards(&self) -> bool {
        self.shape_discard_mode == Some(ShapeDiscardMode::Discard)
    }
}
