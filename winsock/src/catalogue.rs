//! The protocols that there are, as WSAEnumProtocols lists them.

use flowspec::Direction;

use super::socket::{Family, Kind};

/// A flow specification may come with the connect call.
pub const XP1_QOS_SUPPORTED: u32 = 0x2000;

/// Data may come with the connect call.
pub const XP1_CONNECT_DATA: u32 = 0x80;

/// Nothing is received.
pub const XP1_UNI_SEND: u32 = 0x8000;

/// Nothing is sent.
pub const XP1_UNI_RECV: u32 = 0x1_0000;

const XP1_CONNECTIONLESS: u32 = 0x1;
const XP1_GUARANTEED_DELIVERY: u32 = 0x2;
const XP1_GUARANTEED_ORDER: u32 = 0x4;
const XP1_MESSAGE_ORIENTED: u32 = 0x8;
const XP1_GRACEFUL_CLOSE: u32 = 0x20;
const XP1_EXPEDITED_DATA: u32 = 0x40;
const XP1_SUPPORT_BROADCAST: u32 = 0x200;
const XP1_SUPPORT_MULTIPOINT: u32 = 0x400;
const XP1_IFS_HANDLES: u32 = 0x20000;

/// A protocol of the catalogue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Catalogued {
    /// Its number in the catalogue.
    pub entry: u32,
    /// What it is called.
    pub name: &'static str,
    /// Addresses of this family.
    pub family: Family,
    /// Streams or datagrams.
    pub kind: Kind,
    /// `dwServiceFlags1`.
    pub flags: u32,
    /// The largest message; 0 where there are none.
    pub message_size: u32,
}

impl Catalogued {
    /// Whether its connect calls carry data and flow specifications.
    pub const fn carries_data(&self) -> bool {
        self.flags & XP1_CONNECT_DATA != 0
    }

    /// The one direction in which its sockets move anything, where there is only one.
    pub const fn only(&self) -> Option<Direction> {
        if self.flags & XP1_UNI_SEND != 0 {
            Some(Direction::Sending)
        } else if self.flags & XP1_UNI_RECV != 0 {
            Some(Direction::Receiving)
        } else {
            None
        }
    }
}

const STREAM: u32 = XP1_GUARANTEED_DELIVERY
    | XP1_GUARANTEED_ORDER
    | XP1_GRACEFUL_CLOSE
    | XP1_EXPEDITED_DATA
    | XP1_QOS_SUPPORTED
    | XP1_IFS_HANDLES;

const DATAGRAM: u32 = XP1_CONNECTIONLESS
    | XP1_MESSAGE_ORIENTED
    | XP1_SUPPORT_BROADCAST
    | XP1_SUPPORT_MULTIPOINT
    | XP1_QOS_SUPPORTED
    | XP1_IFS_HANDLES;

/// The largest UDP payload.
const LARGEST_DATAGRAM: u32 = 65_507;

/// Every protocol.
pub const PROTOCOLS: [Catalogued; 10] = [
    Catalogued {
        entry: 1001,
        name: "gqos TCP/IP",
        family: Family::Inet,
        kind: Kind::Stream,
        flags: STREAM,
        message_size: 0,
    },
    Catalogued {
        entry: 1002,
        name: "gqos UDP/IP",
        family: Family::Inet,
        kind: Kind::Datagram,
        flags: DATAGRAM,
        message_size: LARGEST_DATAGRAM,
    },
    Catalogued {
        entry: 1003,
        name: "gqos TCP/IPv6",
        family: Family::Inet6,
        kind: Kind::Stream,
        flags: STREAM,
        message_size: 0,
    },
    Catalogued {
        entry: 1004,
        name: "gqos UDP/IPv6",
        family: Family::Inet6,
        kind: Kind::Datagram,
        flags: DATAGRAM,
        message_size: LARGEST_DATAGRAM,
    },
    Catalogued {
        entry: 1005,
        name: "gqos TCP/IP with connect data",
        family: Family::Inet,
        kind: Kind::Stream,
        flags: STREAM | XP1_CONNECT_DATA,
        message_size: 0,
    },
    Catalogued {
        entry: 1006,
        name: "gqos TCP/IPv6 with connect data",
        family: Family::Inet6,
        kind: Kind::Stream,
        flags: STREAM | XP1_CONNECT_DATA,
        message_size: 0,
    },
    Catalogued {
        entry: 1007,
        name: "gqos UDP/IP, sending",
        family: Family::Inet,
        kind: Kind::Datagram,
        flags: DATAGRAM | XP1_UNI_SEND,
        message_size: LARGEST_DATAGRAM,
    },
    Catalogued {
        entry: 1008,
        name: "gqos UDP/IP, receiving",
        family: Family::Inet,
        kind: Kind::Datagram,
        flags: DATAGRAM | XP1_UNI_RECV,
        message_size: LARGEST_DATAGRAM,
    },
    Catalogued {
        entry: 1009,
        name: "gqos UDP/IPv6, sending",
        family: Family::Inet6,
        kind: Kind::Datagram,
        flags: DATAGRAM | XP1_UNI_SEND,
        message_size: LARGEST_DATAGRAM,
    },
    Catalogued {
        entry: 1010,
        name: "gqos UDP/IPv6, receiving",
        family: Family::Inet6,
        kind: Kind::Datagram,
        flags: DATAGRAM | XP1_UNI_RECV,
        message_size: LARGEST_DATAGRAM,
    },
];
