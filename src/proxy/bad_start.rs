//! Why a client's start cannot be read, and what is said of it: the status by HTTP, the text and the reason in the record.

use std::io;

use super::body::Malformed;
use super::client_hello::NotAClientHello;
use super::header::NotAHeader;
use super::http::BadHead;
use super::record::ConnectionEnd;

/// Why nothing more is read of a client.
#[derive(Debug)]
pub(super) enum NoStart {
    /// It is not what the protocol begins with.
    Bad(BadStart),
    /// The client has closed its side.
    Closed,
    Failed(io::Error),
    /// The server ends.
    Draining,
}

/// What is wrong with what a client has sent. The status, the text and the reason follow from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BadStart {
    #[error(transparent)]
    Header(#[from] NotAHeader),
    #[error(transparent)]
    Head(#[from] BadHead),
    #[error(transparent)]
    ClientHello(#[from] NotAClientHello),
    #[error(transparent)]
    Chunk(#[from] Malformed),
    #[error("no request came in time")]
    TimedOut,
}

impl NoStart {
    pub(super) const fn end(&self) -> ConnectionEnd {
        match self {
            Self::Bad(bad) => bad.end(),
            Self::Closed => ConnectionEnd::NoRequest,
            Self::Failed(_) => ConnectionEnd::ClientFailed,
            Self::Draining => ConnectionEnd::Drained,
        }
    }
}

impl BadStart {
    pub(super) const fn end(self) -> ConnectionEnd {
        match self {
            Self::Header(_) | Self::Head(_) | Self::ClientHello(_) | Self::Chunk(_) => {
                ConnectionEnd::BadRequest
            }
            Self::TimedOut => ConnectionEnd::TimedOut,
        }
    }

    /// The status that answers it by HTTP. Source: RFC 9110, RFC 6585.
    pub(super) const fn status(self) -> (u16, &'static str) {
        match self {
            Self::Head(BadHead::TooLarge) => (431, "Request Header Fields Too Large"),
            Self::Head(BadHead::Version) => (505, "HTTP Version Not Supported"),
            Self::TimedOut => (408, "Request Timeout"),
            Self::Header(_) | Self::Head(BadHead::Ambiguous(_)) | Self::ClientHello(_) | Self::Chunk(_) => {
                (400, "Bad Request")
            }
        }
    }

    /// The reason as records have it, by which they can be counted.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Header(NotAHeader) => "no_proxy_header",
            Self::Head(BadHead::Ambiguous(_)) => "ambiguous_head",
            Self::Head(BadHead::TooLarge) => "head_too_large",
            Self::Head(BadHead::Version) => "http_version",
            Self::ClientHello(NotAClientHello::Malformed) => "no_client_hello",
            Self::ClientHello(NotAClientHello::TooLarge) => "client_hello_too_large",
            Self::Chunk(Malformed) => "ambiguous_chunk",
            Self::TimedOut => "too_slow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::AmbiguousHead;
    use super::*;

    #[test]
    fn each_reason_has_one_answer() {
        let check = |bad: BadStart, status, reason, end| {
            assert_eq!((bad.status().0, bad.reason(), bad.end()), (status, reason, end), "{bad}");
        };
        check(NotAHeader.into(), 400, "no_proxy_header", ConnectionEnd::BadRequest);
        check(
            BadHead::from(AmbiguousHead::TwoHosts).into(),
            400,
            "ambiguous_head",
            ConnectionEnd::BadRequest,
        );
        check(BadHead::TooLarge.into(), 431, "head_too_large", ConnectionEnd::BadRequest);
        check(BadHead::Version.into(), 505, "http_version", ConnectionEnd::BadRequest);
        check(NotAClientHello::Malformed.into(), 400, "no_client_hello", ConnectionEnd::BadRequest);
        check(NotAClientHello::TooLarge.into(), 400, "client_hello_too_large", ConnectionEnd::BadRequest);
        check(Malformed.into(), 400, "ambiguous_chunk", ConnectionEnd::BadRequest);
        check(BadStart::TimedOut, 408, "too_slow", ConnectionEnd::TimedOut);
        assert_eq!(NoStart::Closed.end(), ConnectionEnd::NoRequest);
    }
}
