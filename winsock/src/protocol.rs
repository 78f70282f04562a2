//! The protocols of the catalogue, as WSAEnumProtocols lists them.

use flowspec::Direction;
use shaper::headers::IpVersion;

/// Address families.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// AF_INET.
    Inet,
    /// AF_INET6.
    Inet6,
}

impl Family {
    /// The version of IP of an address family, for packets that are not to an IPv4-mapped address.
    pub(crate) const fn ip_version(self) -> IpVersion {
        match self {
            Self::Inet => IpVersion::V4,
            Self::Inet6 => IpVersion::V6,
        }
    }
}

/// The values of `iSocketType` that the catalogue offers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SocketType {
    /// SOCK_STREAM: TCP.
    Stream,
    /// SOCK_DGRAM: UDP.
    Datagram,
}

/// A flow specification may come with the connect call.
pub const XP1_QOS_SUPPORTED: u32 = 0x2000;

/// Data may come with the connect call.
pub const XP1_CONNECT_DATA: u32 = 0x80;

/// The socket sends and does not receive.
pub const XP1_UNI_SEND: u32 = 0x8000;

/// The socket receives and does not send.
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
///
/// - **Source**: WSAPROTOCOL_INFO.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProtocolInfo {
    /// `dwCatalogEntryId`.
    pub catalog_entry: u32,
    /// `szProtocol`.
    pub name: &'static str,
    /// `iAddressFamily`.
    pub family: Family,
    /// `iSocketType`.
    pub socket_type: SocketType,
    /// `dwServiceFlags1`.
    pub service_flags: u32,
    /// `dwMessageSize`: the largest message; 0 for streams.
    pub message_size: u32,
}

impl ProtocolInfo {
    /// Whether connect calls carry data and flow specifications to the peer.
    pub const fn carries_connect_data(&self) -> bool {
        self.service_flags & XP1_CONNECT_DATA != 0
    }

    /// The direction of a one-way protocol; `None` where sockets both send and receive.
    pub const fn only(&self) -> Option<Direction> {
        if self.service_flags & XP1_UNI_SEND != 0 {
            Some(Direction::Sending)
        } else if self.service_flags & XP1_UNI_RECV != 0 {
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
pub(crate) const LARGEST_DATAGRAM: u32 = 65_507;

/// What WSAEnumProtocols returns, in its order.
pub const PROTOCOLS: [ProtocolInfo; 10] = [
    ProtocolInfo {
        catalog_entry: 1001,
        name: "gqos TCP/IP",
        family: Family::Inet,
        socket_type: SocketType::Stream,
        service_flags: STREAM,
        message_size: 0,
    },
    ProtocolInfo {
        catalog_entry: 1002,
        name: "gqos UDP/IP",
        family: Family::Inet,
        socket_type: SocketType::Datagram,
        service_flags: DATAGRAM,
        message_size: LARGEST_DATAGRAM,
    },
    ProtocolInfo {
        catalog_entry: 1003,
        name: "gqos TCP/IPv6",
        family: Family::Inet6,
        socket_type: SocketType::Stream,
        service_flags: STREAM,
        message_size: 0,
    },
    ProtocolInfo {
        catalog_entry: 1004,
        name: "gqos UDP/IPv6",
        family: Family::Inet6,
        socket_type: SocketType::Datagram,
        service_flags: DATAGRAM,
        message_size: LARGEST_DATAGRAM,
    },
    ProtocolInfo {
        catalog_entry: 1005,
        name: "gqos TCP/IP with connect data",
        family: Family::Inet,
        socket_type: SocketType::Stream,
        service_flags: STREAM | XP1_CONNECT_DATA,
        message_size: 0,
    },
    ProtocolInfo {
        catalog_entry: 1006,
        name: "gqos TCP/IPv6 with connect data",
        family: Family::Inet6,
        socket_type: SocketType::Stream,
        service_flags: STREAM | XP1_CONNECT_DATA,
        message_size: 0,
    },
    ProtocolInfo {
        catalog_entry: 1007,
        name: "gqos UDP/IP, sending",
        family: Family::Inet,
        socket_type: SocketType::Datagram,
        service_flags: DATAGRAM | XP1_UNI_SEND,
        message_size: LARGEST_DATAGRAM,
    },
    ProtocolInfo {
        catalog_entry: 1008,
        name: "gqos UDP/IP, receiving",
        family: Family::Inet,
        socket_type: SocketType::Datagram,
        service_flags: DATAGRAM | XP1_UNI_RECV,
        message_size: LARGEST_DATAGRAM,
    },
    ProtocolInfo {
        catalog_entry: 1009,
        name: "gqos UDP/IPv6, sending",
        family: Family::Inet6,
        socket_type: SocketType::Datagram,
        service_flags: DATAGRAM | XP1_UNI_SEND,
        message_size: LARGEST_DATAGRAM,
    },
    ProtocolInfo {
        catalog_entry: 1010,
        name: "gqos UDP/IPv6, receiving",
        family: Family::Inet6,
        socket_type: SocketType::Datagram,
        service_flags: DATAGRAM | XP1_UNI_RECV,
        message_size: LARGEST_DATAGRAM,
    },
];
