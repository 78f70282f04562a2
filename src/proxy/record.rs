//! What is known of a connection once it has ended.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

/// How a connection ended. Serialises as snake case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// Both sides have closed it.
    Closed,
    /// The client has closed it before it asked for anything.
    NoRequest,
    /// The client's side has failed: reset, or dead.
    ClientFailed,
    /// The origin's side has failed, and the client's was reset.
    OriginFailed,
    /// The origin did not accept it.
    OriginUnreachable,
    /// Its reservation was refused.
    Refused,
    /// A later request was refused, and not passed on.
    LaterRequestRefused,
    /// What the client sent is not what the protocol allows.
    BadRequest,
    /// What the client had to send did not come in time.
    TimedOut,
    /// Nothing passed for the time that the policy allows.
    Idle,
    /// As many connections stood as the policy allows.
    TooManyConnections,
    /// The proxy ended before it.
    Drained,
    /// A socket could not be set up.
    Failed,
}

/// A connection that has ended. Serialises as one record of a log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ConnectionRecord {
    /// When it ended, in microseconds since 1970.
    pub unix_us: u64,
    /// The proxy, by its name in the policy.
    pub proxy: String,
    /// The address that it came from.
    pub peer: SocketAddr,
    /// The client's address, where a PROXY protocol header states another one.
    pub client: Option<SocketAddr>,
    /// The host name of the first request.
    pub host: Option<String>,
    /// The path of the first request, without its query.
    pub path: Option<String>,
    /// The server name of the ClientHello.
    pub sni: Option<String>,
    /// How many requests were passed on; 0 where requests are not read.
    pub requests: u64,
    /// The flow's id, where it was admitted.
    pub flow: Option<String>,
    /// The rendition that was reserved last.
    pub rendition: Option<String>,
    /// How it ended.
    pub end: ConnectionEnd,
    /// Why, where that is not clear from `end`.
    pub detail: Option<String>,
    /// The reason of a refusal, as decisions have it, or what was wrong with what the client sent.
    pub reason: Option<String>,
    /// Bytes from the client.
    pub received_bytes: u64,
    /// Bytes to the client.
    pub sent_bytes: u64,
    /// How often data had to wait for the token bucket.
    pub waits: u64,
    /// Datagrams of the origin that were lost, because more had come than the flow's bucket holds.
    pub lost_datagrams: u64,
    /// Datagrams of the origin that were lost, because they were larger than the flow's `max_sdu_size`.
    pub too_large_datagrams: u64,
    /// What of the reservation was not enforced, in words.
    pub lacking: Vec<String>,
    /// Why the reservation was lost before the end, if it was, in words.
    pub lost: Option<String>,
    /// From its acceptance to the decision.
    pub admission_us: Option<u64>,
    /// From its acceptance to its end.
    pub duration_us: u64,
}

impl ConnectionRecord {
    pub(super) fn new(proxy: &str, peer: SocketAddr) -> Self {
        Self {
            unix_us: 0,
            proxy: proxy.to_owned(),
            peer: canonical(peer),
            client: None,
            host: None,
            path: None,
            sni: None,
            requests: 0,
            flow: None,
            rendition: None,
            end: ConnectionEnd::Closed,
            detail: None,
            reason: None,
            received_bytes: 0,
            sent_bytes: 0,
            waits: 0,
            lost_datagrams: 0,
            too_large_datagrams: 0,
            lacking: Vec::new(),
            lost: None,
            admission_us: None,
            duration_us: 0,
        }
    }
}

/// The address as rules and limits have it: that of IPv4 where it is mapped into IPv6.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Closed => "closed",
            Self::NoRequest => "closed without a request",
            Self::ClientFailed => "the client failed",
            Self::OriginFailed => "the origin failed",
            Self::OriginUnreachable => "the origin cannot be reached",
            Self::Refused => "refused",
            Self::LaterRequestRefused => "a later request was refused",
            Self::BadRequest => "a bad request",
            Self::TimedOut => "timed out",
            Self::Idle => "idle",
            Self::TooManyConnections => "too many connections",
            Self::Drained => "drained",
            Self::Failed => "failed",
        })
    }
}

/// One line for people.
impl fmt::Display for ConnectionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.proxy, self.client.unwrap_or(self.peer))?;
        for text in [&self.host, &self.path, &self.sni].into_iter().flatten() {
            write!(f, " {}", text.escape_debug())?;
        }
        if let Some(rendition) = &self.rendition {
            write!(f, " [{rendition}]")?;
        }
        write!(f, " {} B sent, {} B received: {}", self.sent_bytes, self.received_bytes, self.end)?;
        if self.lost_datagrams > 0 {
            write!(f, "; {} datagrams lost", self.lost_datagrams)?;
        }
        if self.too_large_datagrams > 0 {
            write!(f, "; {} datagrams above max_sdu_size", self.too_large_datagrams)?;
        }
        for lack in &self.lacking {
            write!(f, "; not enforced: {lack}")?;
        }
        if let Some(lost) = &self.lost {
            write!(f, "; {lost}")?;
        }
        match &self.detail {
            Some(detail) => write!(f, ": {}", detail.escape_debug()),
            None => Ok(()),
        }
    }
}
