//! The head of an RTSP request.

use super::http::{AmbiguousHead, BadHead, compared_host, compared_path, lines};

/// What a head shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RtspHead {
    pub(super) method: String,
    pub(super) host: Option<String>,
    pub(super) path: String,
    /// The number of the request, which the answer repeats.
    pub(super) sequence: Option<u64>,
}

impl RtspHead {
    /// Reads the head at the start of these bytes, of at most `most`; `None` where it is not complete.
    pub(super) fn parse(bytes: &[u8], most: usize) -> Result<Option<Self>, BadHead> {
        let Some(lines) = lines(bytes)? else {
            return if bytes.len() > most { Err(BadHead::TooLarge) } else { Ok(None) };
        };
        let unreadable = BadHead::from(AmbiguousHead::Request);
        let mut texts = lines.iter().map(|line| std::str::from_utf8(line).unwrap_or_default().trim_end());
        let request: Vec<_> = texts.next().unwrap_or_default().split(' ').collect();
        let [method, target, version] = request[..] else { return Err(unreadable) };
        if !version.starts_with("RTSP/") || method.is_empty() {
            return Err(unreadable);
        }
        let mut sequence = None;
        for (name, value) in texts.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("cseq") {
                sequence = value.trim().parse().ok();
            }
        }
        let rest = target.split_once("://").map(|(_, rest)| rest);
        let (host, path) = match rest {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", target),
        };
        let name = host.rsplit('@').next().unwrap_or_default();
        let name = match name.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => name,
        };
        let path = path.split('?').next().unwrap_or_default();
        let path = compared_path(if path.is_empty() { "/" } else { path });
        let host = (!name.is_empty()).then(|| compared_host(name));
        Ok(Some(Self { method: method.to_owned(), host, path, sequence }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_shows_host_and_path() {
        let text = "OPTIONS rtsp://user@Cam.Example:554/live/1?x RTSP/1.0\r\nCSeq: 3\r\n\r\n";
        let head = RtspHead::parse(text.as_bytes(), 1024).expect("a head").expect("complete");
        assert_eq!(
            (head.host.as_deref(), head.path.as_str(), head.sequence),
            (Some("cam.example"), "/live/1", Some(3))
        );
        assert_eq!(RtspHead::parse(&text.as_bytes()[..60], 1024), Ok(None));
        assert_eq!(RtspHead::parse(&text.as_bytes()[..60], 50), Err(BadHead::TooLarge));
        for text in ["GET / HTTP/1.1\r\n\r\n", "OPTIONS\r\n\r\n", " a RTSP/1.0\r\n\r\n"] {
            assert!(RtspHead::parse(text.as_bytes(), 1024).is_err(), "{text}");
        }
    }
}
