//! Where the daemon's HTTP endpoint listens.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

/// Where the daemon serves metrics and its status page. Without authentication: therefore on this host alone.
///
/// ```
/// use gqos::policy::HttpAddress;
///
/// let port: HttpAddress = "127.0.0.1:9464".parse()?;
/// let socket: HttpAddress = "/run/gqos/http.sock".parse()?;
/// assert_eq!([port.to_string(), socket.to_string()], ["127.0.0.1:9464", "/run/gqos/http.sock"]);
/// assert!("0.0.0.0:9464".parse::<HttpAddress>().is_err());
/// # Ok::<(), gqos::policy::InvalidHttpAddress>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HttpAddress {
    /// A port of a loopback address; 0 for any free port.
    Port(SocketAddr),
    /// The absolute path of an AF_UNIX socket.
    Socket(String),
}

/// Why an address is none for the HTTP endpoint.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHttpAddress {
    /// Another host can reach the address.
    #[error(
        "{0:?} is not a loopback address, and the endpoint has no authentication; write \"127.0.0.1:9464\", \"[::1]:9464\" or the absolute path of a socket, and put a server with authentication in front for other hosts"
    )]
    NotLoopback(String),
    /// The path is too long for the kernel.
    #[error("{0:?} is longer than the {LONGEST_SOCKET} bytes that the path of a socket may have")]
    LongPath(String),
    /// It is neither an address with a port nor an absolute path.
    #[error(
        "{0:?} is neither a loopback address with a port, such as \"127.0.0.1:9464\", nor the absolute path of a socket, such as \"/run/gqos/http.sock\""
    )]
    Unreadable(String),
}

/// The longest path of an AF_UNIX socket, with the suffix under which the daemon makes it. Source: unix(7), `sun_path`.
pub(super) const LONGEST_SOCKET: usize = 107 - ".new".len();

impl FromStr for HttpAddress {
    type Err = InvalidHttpAddress;

    fn from_str(text: &str) -> Result<Self, InvalidHttpAddress> {
        if text.starts_with('/') {
            return match text.len() {
                ..=LONGEST_SOCKET => Ok(Self::Socket(text.to_owned())),
                _ => Err(InvalidHttpAddress::LongPath(text.to_owned())),
            };
        }
        let address: SocketAddr =
            text.parse().map_err(|_| InvalidHttpAddress::Unreadable(text.to_owned()))?;
        match address.ip().to_canonical().is_loopback() {
            true => Ok(Self::Port(address)),
            false => Err(InvalidHttpAddress::NotLoopback(text.to_owned())),
        }
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Socket(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        match (text.parse::<HttpAddress>(), expected) {
            (Ok(address), Ok(())) => assert_eq!(address.to_string(), text),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn the_endpoint_is_on_this_host_alone() {
        check("127.0.0.1:9464", Ok(()));
        check("127.1.2.3:0", Ok(()));
        check("[::1]:9464", Ok(()));
        check("/run/gqos/http.sock", Ok(()));
        check("0.0.0.0:9464", Err("not a loopback address, and the endpoint has no authentication"));
        check("[::]:9464", Err("not a loopback address"));
        check("192.0.2.1:80", Err("not a loopback address"));
        check("localhost:9464", Err("such as \"127.0.0.1:9464\""));
        check("9464", Err("neither"));
        check("run/http.sock", Err("absolute path"));
        check("", Err("neither"));
        check(&format!("/{}", "a".repeat(LONGEST_SOCKET)), Err("longer than the 103 bytes"));
        check(&format!("/{}", "a".repeat(LONGEST_SOCKET - 1)), Ok(()));
    }
}
