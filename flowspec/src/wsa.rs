//! Winsock's error and status codes.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $text:literal;)*) => {
        /// A Winsock error or status code.
        ///
        /// JSON: the name. Source: `winsock2.h`; WSPConnect, table of error codes; Winsock error
        /// code reference.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Wsa { $($(#[$doc])* #[doc = $text] $variant,)* }

        impl Wsa {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number in `winsock2.h`.
            pub const fn code(self) -> u32 { match self { $(Self::$variant => $number),* } }

            /// The name in `winsock2.h`.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }

            /// The code with this number, if there is one.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The code with this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|wsa| wsa.name() == name)
            }

            /// The meaning, in a sentence.
            pub const fn text(self) -> &'static str { match self { $(Self::$variant => $text),* } }
        }
    };
}

codes! {
    InvalidHandle = 6, "WSA_INVALID_HANDLE", "The handle is not that of an event.";
    InvalidParameter = 87, "WSA_INVALID_PARAMETER", "One or more parameters are not valid.";
    OperationAborted = 995, "WSA_OPERATION_ABORTED", "The overlapped operation was aborted.";
    IoIncomplete = 996, "WSA_IO_INCOMPLETE", "The overlapped operation has not finished.";
    IoPending = 997, "WSA_IO_PENDING", "The overlapped operation will finish later.";
    Eintr = 10004, "WSAEINTR", "A blocking call was cancelled.";
    Eacces = 10013, "WSAEACCES", "The socket is not allowed to do this, such as sending to a broadcast address without SO_BROADCAST.";
    Efault = 10014, "WSAEFAULT", "A pointer or a length is not valid.";
    Einval = 10022, "WSAEINVAL", "The call is not valid in this state, such as connecting a listening socket.";
    Emfile = 10024, "WSAEMFILE", "No more socket descriptors are available.";
    Ewouldblock = 10035, "WSAEWOULDBLOCK", "The operation cannot finish at once on a non-blocking socket.";
    Einprogress = 10036, "WSAEINPROGRESS", "A blocking call is in progress.";
    Ealready = 10037, "WSAEALREADY", "A non-blocking connect is in progress on this socket.";
    Enotsock = 10038, "WSAENOTSOCK", "The descriptor is not a socket.";
    Edestaddrreq = 10039, "WSAEDESTADDRREQ", "A destination address is required.";
    Emsgsize = 10040, "WSAEMSGSIZE", "The datagram is larger than the buffer or the limit.";
    Eprototype = 10041, "WSAEPROTOTYPE", "The protocol is of another type than the socket.";
    Enoprotoopt = 10042, "WSAENOPROTOOPT", "The option is unknown or not supported by the protocol.";
    Eprotonosupport = 10043, "WSAEPROTONOSUPPORT", "The protocol does not support the request, such as caller data.";
    Esocktnosupport = 10044, "WSAESOCKTNOSUPPORT", "Sockets of this type are not supported.";
    Eopnotsupp = 10045, "WSAEOPNOTSUPP", "The flow specifications cannot be satisfied.";
    Eafnosupport = 10047, "WSAEAFNOSUPPORT", "Addresses of this family cannot be used with this socket.";
    Eaddrinuse = 10048, "WSAEADDRINUSE", "The local address is in use.";
    Eaddrnotavail = 10049, "WSAEADDRNOTAVAIL", "The address is not valid, such as a remote address of all zeroes.";
    Enetdown = 10050, "WSAENETDOWN", "The network subsystem has failed.";
    Enetunreach = 10051, "WSAENETUNREACH", "The network cannot be reached from this host now.";
    Enetreset = 10052, "WSAENETRESET", "The connection was broken by the network or by keep-alive.";
    Econnaborted = 10053, "WSAECONNABORTED", "The connection was aborted on this host.";
    Econnreset = 10054, "WSAECONNRESET", "The connection was reset by the peer.";
    Enobufs = 10055, "WSAENOBUFS", "No buffer space is available.";
    Eisconn = 10056, "WSAEISCONN", "The socket is already connected.";
    Enotconn = 10057, "WSAENOTCONN", "The socket is not connected.";
    Eshutdown = 10058, "WSAESHUTDOWN", "The socket has been shut down in this direction.";
    Etimedout = 10060, "WSAETIMEDOUT", "The attempt timed out without establishing a connection.";
    Econnrefused = 10061, "WSAECONNREFUSED", "The attempt to connect was rejected.";
    Ehostunreach = 10065, "WSAEHOSTUNREACH", "There is no route to the host.";
    SysNotReady = 10091, "WSASYSNOTREADY", "The network subsystem is not ready, such as with a policy that cannot be read.";
    VerNotSupported = 10092, "WSAVERNOTSUPPORTED", "The requested version of Winsock is not supported.";
    NotInitialised = 10093, "WSANOTINITIALISED", "WSAStartup has not been called.";
    Ediscon = 10101, "WSAEDISCON", "The peer has begun a graceful shutdown.";
    Ecancelled = 10103, "WSAECANCELLED", "The call was cancelled.";
    TypeNotFound = 10109, "WSATYPE_NOT_FOUND", "There is no such service.";
    HostNotFound = 11001, "WSAHOST_NOT_FOUND", "No host has this name.";
    TryAgain = 11002, "WSATRY_AGAIN", "The acceptor has deferred its decision.";
    NoData = 11004, "WSANO_DATA", "The name is known and has no data of the requested type.";
    QosReceivers = 11005, "WSA_QOS_RECEIVERS", "A reservation has arrived.";
    QosSenders = 11006, "WSA_QOS_SENDERS", "A path has arrived.";
    QosNoSenders = 11007, "WSA_QOS_NO_SENDERS", "There are no senders left.";
    QosNoReceivers = 11008, "WSA_QOS_NO_RECEIVERS", "There are no receivers left.";
    QosRequestConfirmed = 11009, "WSA_QOS_REQUEST_CONFIRMED", "The reservation has been confirmed.";
    QosAdmissionFailure = 11010, "WSA_QOS_ADMISSION_FAILURE", "There are not enough resources for the reservation.";
    QosPolicyFailure = 11011, "WSA_QOS_POLICY_FAILURE", "The policy does not allow the reservation.";
    QosBadStyle = 11012, "WSA_QOS_BAD_STYLE", "The reservation style is unknown or conflicts with another.";
    QosBadObject = 11013, "WSA_QOS_BAD_OBJECT", "Part of a filterspec or of the provider-specific buffer is not valid.";
    QosTrafficCtrlError = 11014, "WSA_QOS_TRAFFIC_CTRL_ERROR", "Local traffic control failed.";
    QosGenericError = 11015, "WSA_QOS_GENERIC_ERROR", "The reservation failed for another reason.";
    QosEservicetype = 11016, "WSA_QOS_ESERVICETYPE", "The flowspec's service type is not valid.";
    QosEflowspec = 11017, "WSA_QOS_EFLOWSPEC", "The flowspec is not valid or is inconsistent.";
    QosEprovspecbuf = 11018, "WSA_QOS_EPROVSPECBUF", "The provider-specific buffer is not valid or is inconsistent.";
    QosEfilterstyle = 11019, "WSA_QOS_EFILTERSTYLE", "The filter style is not valid.";
    QosEfiltertype = 11020, "WSA_QOS_EFILTERTYPE", "The filter type is not valid.";
    QosEfiltercount = 11021, "WSA_QOS_EFILTERCOUNT", "The number of filters is not valid.";
    QosEobjlength = 11022, "WSA_QOS_EOBJLENGTH", "An object's ObjectLength is not valid.";
    QosEflowcount = 11023, "WSA_QOS_EFLOWCOUNT", "The number of flow descriptors is not valid.";
    QosEunkownpsobj = 11024, "WSA_QOS_EUNKOWNPSOBJ", "The provider-specific buffer has an unknown object.";
    QosEpolicyobj = 11025, "WSA_QOS_EPOLICYOBJ", "A policy object is not valid.";
    QosEflowdesc = 11026, "WSA_QOS_EFLOWDESC", "A flow descriptor is not valid.";
    QosEpsflowspec = 11027, "WSA_QOS_EPSFLOWSPEC", "A flowspec inside the provider-specific buffer is not valid.";
    QosEpsfilterspec = 11028, "WSA_QOS_EPSFILTERSPEC", "A filterspec inside the provider-specific buffer is not valid.";
    QosEsdmodeobj = 11029, "WSA_QOS_ESDMODEOBJ", "A shape-discard-mode object is not valid.";
    QosEshaperateobj = 11030, "WSA_QOS_ESHAPERATEOBJ", "A shaping-rate object is not valid.";
    QosReservedPetype = 11031, "WSA_QOS_RESERVED_PETYPE", "A policy element has a reserved type.";
}

impl std::fmt::Display for Wsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

impl Serialize for Wsa {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Wsa {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom(format_args!("{name:?} is not a Winsock code")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_unique() {
        let numbers: Vec<_> = Wsa::ALL.iter().map(|wsa| wsa.code()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let names: std::collections::BTreeSet<_> = Wsa::ALL.iter().map(|wsa| wsa.name()).collect();
        assert_eq!(names.len(), Wsa::ALL.len());
        for &wsa in Wsa::ALL {
            assert_eq!(Wsa::from_code(wsa.code()), Some(wsa));
            let json = serde_json::to_string(&wsa).expect("JSON");
            assert_eq!(serde_json::from_str::<Wsa>(&json).ok(), Some(wsa));
        }
        assert_eq!(Wsa::from_code(11032), None);
        // WSA_QOS_* is without a gap, from the first status to the last error.
        let qos = Wsa::ALL.iter().filter(|wsa| wsa.name().starts_with("WSA_QOS_")).map(|wsa| wsa.code());
        assert!(qos.eq(11005..=11031));
    }

    #[test]
    fn a_code_is_displayed_with_its_number_and_serialized_by_its_name() {
        assert_eq!(Wsa::Eopnotsupp.to_string(), "WSAEOPNOTSUPP (10045)");
        assert_eq!(serde_json::to_string(&Wsa::Eopnotsupp).ok().as_deref(), Some("\"WSAEOPNOTSUPP\""));
    }
}
