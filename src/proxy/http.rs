//! The head of an HTTP/1 request: read strictly, since an origin that reads it in another way would see other requests.

use std::fmt;

use super::body::Body;

/// What a head shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) method: String,
    /// In lower case, without the port.
    pub(super) host: Option<String>,
    /// As [`compared_path`] has it.
    pub(super) path: String,
    pub(super) body: Body,
    /// Whether the connection is to change to another protocol, if the origin agrees.
    pub(super) upgrades: bool,
    /// The lines of the head without the empty one at its end, and without those of [`RENDITION`].
    lines: Vec<u8>,
}

/// Whether the origin may change to the protocol that a request proposes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Upgrade {
    /// The origin sees the proposal, and its answer is looked at.
    Allowed,
    /// The origin does not see it.
    Removed,
}

/// Why a head is not passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BadHead {
    /// It can be read in two ways, or not at all.
    #[error(transparent)]
    Ambiguous(#[from] AmbiguousHead),
    #[error("the head of the request is too large")]
    TooLarge,
    #[error("the version of HTTP is neither 1.0 nor 1.1")]
    Version,
}

/// What of a head can be read in two ways, or not at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum AmbiguousHead {
    #[error("the request cannot be read")]
    Request,
    #[error("a line ends without CR")]
    BareLineFeed,
    #[error("a CR or a NUL within a line")]
    ControlCharacter,
    #[error("a header continues on the next line")]
    Folded,
    #[error("the target is neither a path nor a URL of http, or has a fragment or a NUL")]
    Target,
    #[error("more than one {0} header")]
    Repeated(HeaderName),
    #[error("the Host header is not a host")]
    InvalidHost,
    #[error("the Host header is missing")]
    NoHost,
    #[error("the target and the Host header name different hosts")]
    TwoHosts,
    #[error("both Content-Length and Transfer-Encoding")]
    TwoLengths,
    #[error("the Transfer-Encoding is not chunked alone")]
    Coding,
    #[error("the Content-Length is not a number")]
    Length,
}

/// The headers that a request has at most once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeaderName {
    Host,
    ContentLength,
    TransferEncoding,
}

impl HeaderName {
    const fn text(self) -> &'static str {
        match self {
            Self::Host => "Host",
            Self::ContentLength => "Content-Length",
            Self::TransferEncoding => "Transfer-Encoding",
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The header that tells the origin which rendition is reserved.
const RENDITION: &str = "X-Gqos-Rendition";

/// The header that proposes another protocol.
const UPGRADE: &str = "Upgrade";

/// The most headers of a request.
const MOST_HEADERS: usize = 128;

impl Head {
    /// Reads the head at the start of these bytes, of at most `most`, and its length; `None` where it is not complete.
    pub(super) fn parse(bytes: &[u8], most: usize) -> Result<Option<(Self, usize)>, BadHead> {
        let start = empty_lines(bytes);
        let Some(lines) = lines(&bytes[start..])? else {
            return if bytes.len() > most { Err(BadHead::TooLarge) } else { Ok(None) };
        };
        let end = start + lines.iter().map(|line| line.len()).sum::<usize>();
        if end > most {
            return Err(BadHead::TooLarge);
        }
        Self::read(&bytes[start..end], &lines).map(|head| Some((head, end)))
    }

    fn read(bytes: &[u8], lines: &[&[u8]]) -> Result<Self, BadHead> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooLarge),
            Err(httparse::Error::Version) => return Err(BadHead::Version),
            _ => return Err(AmbiguousHead::Request.into()),
        }
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        let is_new = request.version == Some(1);
        let (authority, path) = target_parts(target)?;
        let headers = Headers(request.headers);
        let host = headers.host(authority, is_new)?;
        let body = headers.body(is_new)?;
        let upgrades = is_new && headers.upgrades();
        let path = compared_path(path);
        if path.contains('\0') {
            return Err(AmbiguousHead::Target.into());
        }
        let kept = lines[..lines.len() - 1].iter().filter(|line| !names_rendition(line));
        let kept = kept.flat_map(|line| line.iter().copied()).collect();
        Ok(Self { method: method.to_owned(), host, path, body, upgrades, lines: kept })
    }

    /// The head as the origin gets it.
    pub(super) fn with_rendition(&self, rendition: Option<&str>, upgrade: Upgrade) -> Vec<u8> {
        let kept = |line: &&[u8]| {
            let is_allowed = self.upgrades && upgrade == Upgrade::Allowed;
            is_allowed || !is_header(line, UPGRADE)
        };
        let mut bytes =
            self.lines.split_inclusive(|&byte| byte == b'\n').filter(kept).collect::<Vec<_>>().concat();
        // A name with other characters cannot stand in a header.
        if let Some(rendition) = rendition.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())) {
            bytes.extend_from_slice(format!("{RENDITION}: {rendition}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}

/// Whether a line of a head is a header of this name.
fn is_header(line: &[u8], name: &str) -> bool {
    line.split(|&byte| byte == b':').next().unwrap_or_default().eq_ignore_ascii_case(name.as_bytes())
}

/// Whether a line of a head is a header that an origin could take for [`RENDITION`]: CGI names it by the same variable where it
/// has underscores.
fn names_rendition(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let hyphened = name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
    hyphened.eq(RENDITION.bytes().map(|byte| byte.to_ascii_lowercase()))
}

/// How many bytes of empty lines come before the head: a client may send one after a body.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    start
}

/// The lines of a head, each with its end, up to the empty one; `None` where that has not come.
pub(super) fn lines(bytes: &[u8]) -> Result<Option<Vec<&[u8]>>, BadHead> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
        let text = match end {
            Some(_) => line.strip_suffix(b"\r\n").ok_or(AmbiguousHead::BareLineFeed)?,
            None => line.strip_suffix(b"\r").unwrap_or(line),
        };
        if text.contains(&b'\r') || text.contains(&0) {
            return Err(AmbiguousHead::ControlCharacter.into());
        }
        if !lines.is_empty() && matches!(text.first(), Some(b' ' | b'\t')) {
            return Err(AmbiguousHead::Folded.into());
        }
        if end.is_none() {
            return Ok(None);
        }
        lines.push(line);
        if text.is_empty() {
            return Ok(Some(lines));
        }
        rest = &rest[line.len()..];
    }
}

/// The authority, where the target has one, and the path without its query.
fn target_parts(target: &str) -> Result<(Option<&str>, &str), BadHead> {
    // A target has no fragment (RFC 9112, section 3.2); some origins cut it off, and others do not.
    if target.contains('#') {
        return Err(AmbiguousHead::Target.into());
    }
    let (authority, path) = if target.starts_with('/') || target == "*" {
        (None, target)
    } else {
        let rest = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let rest = rest.and_then(|scheme| target.get(scheme.len()..));
        let rest = rest.ok_or(AmbiguousHead::Target)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        (Some(&rest[..end]), &rest[end..])
    };
    let path = path.split('?').next().unwrap_or_default();
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.0.iter();
        let named = headers.filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim_ascii())
    }

    /// The only header of a name.
    fn only(&self, name: HeaderName) -> Result<Option<&'a [u8]>, AmbiguousHead> {
        let mut all = self.all(name.text());
        let first = all.next();
        if all.next().is_some() { Err(AmbiguousHead::Repeated(name)) } else { Ok(first) }
    }

    fn host(&self, authority: Option<&str>, is_new: bool) -> Result<Option<String>, BadHead> {
        let host = self.only(HeaderName::Host)?;
        let host = host.map(std::str::from_utf8).transpose().map_err(|_| AmbiguousHead::InvalidHost)?;
        if host.is_none() && is_new {
            return Err(AmbiguousHead::NoHost.into());
        }
        if let (Some(authority), Some(host)) = (authority, host)
            && !authority.eq_ignore_ascii_case(host)
        {
            return Err(AmbiguousHead::TwoHosts.into());
        }
        let Some(host) = authority.or(host) else { return Ok(None) };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~%:[]".contains(&byte);
        if !host.bytes().all(is_host) {
            return Err(AmbiguousHead::InvalidHost.into());
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        Ok(Some(compared_host(name)))
    }

    /// Whether the request proposes another protocol.
    fn upgrades(&self) -> bool {
        let names = |value: &[u8]| {
            let mut words = value.split(|&byte| byte == b',');
            words.any(|word| word.trim_ascii().eq_ignore_ascii_case(UPGRADE.as_bytes()))
        };
        self.all(UPGRADE).next().is_some() && self.all("connection").any(names)
    }

    fn body(&self, is_new: bool) -> Result<Body, BadHead> {
        let length = self.only(HeaderName::ContentLength)?;
        let coding = self.only(HeaderName::TransferEncoding)?;
        match (length, coding) {
            (Some(_), Some(_)) => Err(AmbiguousHead::TwoLengths.into()),
            (None, Some(coding)) if is_new && coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::CHUNKED),
            (None, Some(_)) => Err(AmbiguousHead::Coding.into()),
            (Some(digits), None) => {
                let text = std::str::from_utf8(digits).ok();
                let text = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let length = text.and_then(|text| text.parse().ok());
                // An origin that counts with a sign reads a longer one in another way.
                let length = length.filter(|length| i64::try_from(*length).is_ok());
                let length = length.ok_or(AmbiguousHead::Length)?;
                Ok(Body::Length(length))
            }
            (None, None) => Ok(Body::Done),
        }
    }
}

/// A host as rules compare it: in lower case, and without the dot that ends a full name.
pub(super) fn compared_host(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A path as rules compare it, which is the one that origins serve: decoded, with dot segments removed and repeated slashes
/// merged.
///
/// - **Source**: RFC 3986, section 5.2.4; nginx compares a `location` in the same way.
pub(super) fn compared_path(path: &str) -> String {
    let path = decoded(path);
    let Some(relative) = path.strip_prefix('/') else { return path };
    let mut segments = Vec::new();
    for segment in relative.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let ends_in_directory = matches!(relative.rsplit('/').next(), Some("" | "." | ".."));
    let end = if ends_in_directory && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// A path with its escapes replaced; those that are not valid stay.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape =
            after.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let is_hex = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match escape.filter(is_hex).and_then(|text| u8::from_str_radix(text, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1024;

    fn parse(text: &str) -> Result<Option<(Head, usize)>, BadHead> {
        Head::parse(text.as_bytes(), MOST)
    }

    #[test]
    fn a_head_is_passed_on_as_it_came_but_for_one_header() {
        let text = "\r\nGET /a%20b?c=d HTTP/1.1\r\nhOsT:  A.Example:8080 \r\nx-GQOS-rendition: forged\r\nX_Gqos_Rendition: forged\r\nX:\tñ \r\n\r\nrest";
        let (head, length) = parse(text).expect("a head").expect("complete");
        assert_eq!(&text[length..], "rest");
        assert_eq!(
            (head.method.as_str(), head.host.as_deref(), head.path.as_str()),
            ("GET", Some("a.example"), "/a b")
        );
        assert_eq!(head.body, Body::Done);
        let start = "GET /a%20b?c=d HTTP/1.1\r\nhOsT:  A.Example:8080 \r\nX:\tñ \r\n";
        assert_eq!(head.with_rendition(None, Upgrade::Allowed), format!("{start}\r\n").as_bytes());
        assert_eq!(
            head.with_rendition(Some("hd"), Upgrade::Allowed),
            format!("{start}X-Gqos-Rendition: hd\r\n\r\n").as_bytes()
        );
        assert_eq!(head.with_rendition(Some("a\r\nb"), Upgrade::Allowed), format!("{start}\r\n").as_bytes());
        for end in 0..length {
            assert_eq!(Head::parse(&text.as_bytes()[..end], MOST).expect("a part"), None, "{end}");
        }
    }

    #[test]
    fn the_body_is_framed_by_one_header() {
        let body = |headers: &str| {
            let head = parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).expect(headers);
            head.expect("complete").0.body
        };
        assert_eq!(body(""), Body::Done);
        assert_eq!(body("Content-Length: 17\r\n"), Body::Length(17));
        assert_eq!(body("Transfer-Encoding: Chunked\r\n"), Body::CHUNKED);
        assert_eq!(body("Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"), Body::Done);
    }

    #[test]
    fn an_upgrade_is_proposed_by_two_headers() {
        let check = |start: &str, headers: &str, upgrades: bool| {
            let text = format!("{start}\r\nHost: a\r\n{headers}\r\n");
            let (head, _) = parse(&text).expect(headers).expect("complete");
            assert_eq!(head.upgrades, upgrades, "{text:?}");
            let lines = |upgrade| String::from_utf8(head.with_rendition(None, upgrade)).expect("text");
            assert_eq!(lines(Upgrade::Allowed).contains("Upgrade: h2c"), upgrades, "{text:?}");
            assert!(!lines(Upgrade::Removed).contains("Upgrade: h2c"), "{text:?}");
        };
        check("GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: keep-alive, upgrade\r\n", true);
        check("GET / HTTP/1.1", "Upgrade: h2c\r\n", false);
        check("GET / HTTP/1.0", "Upgrade: h2c\r\nConnection: Upgrade\r\n", false);
    }

    #[test]
    fn a_path_is_compared_as_origins_serve_it() {
        let check = |path: &str, compared: &str| assert_eq!(compared_path(path), compared, "{path}");
        check("/", "/");
        check("*", "*");
        check("/live/1.ts", "/live/1.ts");
        check("/live/", "/live/");
        check("/x/../live/1.ts", "/live/1.ts");
        check("//live///1.ts", "/live/1.ts");
        check("/./live/1.ts", "/live/1.ts");
        check("/%2e/live/1.ts", "/live/1.ts");
        check("/x/%2E%2e/live/1.ts", "/live/1.ts");
        check("/%2flive/1.ts", "/live/1.ts");
        check("/../../live/1.ts", "/live/1.ts");
        check("/live/x/..", "/live/");
        check("/live/..", "/");
        check("/live/...", "/live/...");
        check("/a%20b", "/a b");
        check("/%252e/live", "/%2e/live");
        check("/live%zz", "/live%zz");
        assert_eq!(compared_host("A.Example."), "a.example");
        assert_eq!(compared_host("a.example"), "a.example");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/b#c HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\x16\x03\x01\x02\x00\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(matches!(parse(text), Err(BadHead::Ambiguous(_))), "{text:?}: {:?}", parse(text));
        }
        assert_eq!(parse("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), Err(BadHead::Version));
        let long = "a".repeat(MOST);
        assert_eq!(parse(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), Err(BadHead::TooLarge));
        assert_eq!(parse(&format!("GET /{long}")), Err(BadHead::TooLarge));
    }
}
