//! What a client gets that is not served.

use std::fmt::Write;

use serde_json::json;

use super::clock::duration;
use crate::connect::ConnectError;
use crate::policy::Proxy;

/// A response of the proxy itself.
pub(super) struct ProxyAnswer<'a> {
    /// The status and its name.
    pub(super) status: (u16, &'static str),
    pub(super) content_type: &'static str,
    pub(super) body: &'a [u8],
    /// Whole seconds.
    pub(super) retry_after: Option<u64>,
}

impl ProxyAnswer<'_> {
    /// The response by HTTP; without its body where HEAD was requested.
    pub(super) fn http(&self, method: &str) -> Vec<u8> {
        let (status, name) = self.status;
        let mut text = format!("HTTP/1.1 {status} {name}\r\n");
        // Writing to a String cannot fail, here and below.
        if let Some(seconds) = self.retry_after {
            let _ = write!(text, "Retry-After: {seconds}\r\n");
        }
        let (content_type, length) = (self.content_type, self.body.len());
        let _ = write!(text, "Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
        text.push_str("Cache-Control: no-store\r\nConnection: close\r\n\r\n");
        let mut bytes = text.into_bytes();
        if method != "HEAD" {
            bytes.extend_from_slice(self.body);
        }
        bytes
    }
}

/// The refusal of a proxy's client by HTTP: the operator's page, or the decision as JSON.
pub(super) fn service_unavailable(
    proxy: &Proxy,
    page: Option<&[u8]>,
    error: &ConnectError,
    method: &str,
) -> Vec<u8> {
    let json = refusal(error);
    let (content_type, body) = match page {
        Some(page) => ("text/html; charset=utf-8", page),
        None => ("application/json", json.as_bytes()),
    };
    let retry_after = Some(retry_seconds(proxy));
    ProxyAnswer { status: (503, "Service Unavailable"), content_type, body, retry_after }.http(method)
}

/// A fault by HTTP, with its reason as JSON.
pub(super) fn fault(status: (u16, &'static str), message: &str, method: &str) -> Vec<u8> {
    let body = format!("{}\n", json!({ "ok": false, "message": message }));
    ProxyAnswer { status, content_type: "application/json", body: body.as_bytes(), retry_after: None }
        .http(method)
}

/// The refusal of a proxy's client by RTSP.
pub(super) fn not_enough_bandwidth(proxy: &Proxy, error: &ConnectError, sequence: Option<u64>) -> Vec<u8> {
    let body = refusal(error);
    let mut text = "RTSP/1.0 453 Not Enough Bandwidth\r\n".to_owned();
    if let Some(sequence) = sequence {
        let _ = write!(text, "CSeq: {sequence}\r\n");
    }
    let _ = write!(text, "Retry-After: {}\r\nContent-Type: application/json\r\n", retry_seconds(proxy));
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// The decision as JSON; the code of the error where there is no decision. What has failed is for the log: it names paths of the
/// host.
fn refusal(error: &ConnectError) -> String {
    let message = "nothing can be reserved at present";
    let described = || json!({ "ok": false, "error": error.wsa().name(), "message": message });
    let json = error.decision().and_then(|decision| serde_json::to_value(decision).ok());
    format!("{}\n", json.unwrap_or_else(described))
}

/// In whole seconds, rounded up.
fn retry_seconds(proxy: &Proxy) -> u64 {
    let time = duration(proxy.retry_after);
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
