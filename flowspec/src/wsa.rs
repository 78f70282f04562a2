//! Winsock's codes: what a caller of `WSPConnect` is told.

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $text:literal;)*) => {
        /// A Winsock error or status code, with its number, name and text.
        ///
        /// JSON: the name. Source: `winsock2.h`; WSPConnect, table of error codes; Winsock error
        /// code reference.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Wsa { $($(#[$doc])* #[doc = $text] $variant,)* }

        impl Wsa {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number in `winsock2.h`.
            pub const fn code(self) -> u32 { match self { $(Self::$variant => $number),* } }

            /// The name in `winsock2.h`.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }

            /// What it means, in a sentence.
            pub const fn text(self) -> &'static str { match self { $(Self::$variant => $text),* } }
        }
    };
}

codes! {
    Eintr = 10004, "WSAEINTR", "A blocking call was cancelled.";
    Eacces = 10013, "WSAEACCES", "The socket is not allowed to do this, such as sending to a broadcast address without SO_BROADCAST.";
    Efault = 10014, "WSAEFAULT", "A pointer or a length is not valid.";
    Einval = 10022, "WSAEINVAL", "The call is not valid in this state, such as connecting a listening socket.";
    Emfile = 10024, "WSAEMFILE", "No more socket descriptors are available.";
    Ewouldblock = 10035, "WSAEWOULDBLOCK", "The operation cannot finish at once on a non-blocking socket.";
    Einprogress = 10036, "WSAEINPROGRESS", "A blocking call is in progress.";
    Ealready = 10037, "WSAEALREADY", "A non-blocking connect is in progress on this socket.";
    Enotsock = 10038, "WSAENOTSOCK", "The descriptor is not a socket.";
    Emsgsize = 10040, "WSAEMSGSIZE", "The datagram is larger than the buffer or the limit.";
    Eprotonosupport = 10043, "WSAEPROTONOSUPPORT", "The protocol does not support what was asked, such as caller data.";
    Eopnotsupp = 10045, "WSAEOPNOTSUPP", "The flow specifications cannot be satisfied.";
    Eafnosupport = 10047, "WSAEAFNOSUPPORT", "Addresses of this family cannot be used with this socket.";
    Eaddrinuse = 10048, "WSAEADDRINUSE", "The local address is in use.";
    Eaddrnotavail = 10049, "WSAEADDRNOTAVAIL", "The address is not valid, such as a remote address of all zeroes.";
    Enetdown = 10050, "WSAENETDOWN", "The network subsystem has failed.";
    Enetunreach = 10051, "WSAENETUNREACH", "The network cannot be reached from this host now.";
    Econnaborted = 10053, "WSAECONNABORTED", "The connection was aborted on this host.";
    Econnreset = 10054, "WSAECONNRESET", "The connection was reset by the peer.";
    Enobufs = 10055, "WSAENOBUFS", "No buffer space is available.";
    Eisconn = 10056, "WSAEISCONN", "The socket is already connected.";
    Enotconn = 10057, "WSAENOTCONN", "The socket is not connected.";
    Eshutdown = 10058, "WSAESHUTDOWN", "The socket has been shut down in this direction.";
    Etimedout = 10060, "WSAETIMEDOUT", "The attempt timed out without establishing a connection.";
    Econnrefused = 10061, "WSAECONNREFUSED", "The attempt to connect was rejected.";
    Ehostunreach = 10065, "WSAEHOSTUNREACH", "There is no route to the host.";
    NotInitialised = 10093, "WSANOTINITIALISED", "WSAStartup has not been called.";
    QosAdmissionFailure = 11010, "WSA_QOS_ADMISSION_FAILURE", "There are not enough resources for the reservation.";
    QosPolicyFailure = 11011, "WSA_QOS_POLICY_FAILURE", "The policy does not allow the reservation.";
    QosTrafficCtrlError = 11014, "WSA_QOS_TRAFFIC_CTRL_ERROR", "Local traffic control failed.";
    QosGenericError = 11015, "WSA_QOS_GENERIC_ERROR", "The reservation failed for another reason.";
    QosEservicetype = 11016, "WSA_QOS_ESERVICETYPE", "The flowspec's service type is not valid.";
    QosEflowspec = 11017, "WSA_QOS_EFLOWSPEC", "The flowspec is not valid or contradicts itself.";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_unique() {
        let numbers: Vec<_> = Wsa::ALL.iter().map(|wsa| wsa.code()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let names: std::collections::BTreeSet<_> = Wsa::ALL.iter().map(|wsa| wsa.name()).collect();
        assert_eq!(names.len(), Wsa::ALL.len());
    }

    #[test]
    fn the_code_of_the_mission_is_10045() {
        assert_eq!(Wsa::Eopnotsupp.to_string(), "WSAEOPNOTSUPP (10045)");
        assert_eq!(serde_json::to_string(&Wsa::Eopnotsupp).ok().as_deref(), Some("\"WSAEOPNOTSUPP\""));
    }
}
