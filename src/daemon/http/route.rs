//! From a request to its response.

use std::sync::Arc;

use futures_util::stream;
use http::header::{ACCEPT, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

use super::health::{health, ready};
use super::live::Live;
use super::metrics::metrics;
use super::page::{SCRIPT, page, style};
use super::response::{HttpBody, TEXT, method_not_allowed, response, retry_after, with_body};
use crate::telemetry::MetricsFormat;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// A port, which the pages of other sites can make a browser connect to.
    Network,
    /// A socket of this host, which no page can.
    Host,
}

/// Answers a request.
pub(super) async fn answer<B>(live: &Live, origin: Origin, request: &Request<B>) -> Response<HttpBody> {
    if origin == Origin::Network && !is_own_host(request.headers(), request.version()) {
        let problem = "the Host header names neither a loopback address nor localhost\n";
        return response(StatusCode::MISDIRECTED_REQUEST, TEXT, problem);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return method_not_allowed();
    }
    let facts = &*live.facts;
    match request.uri().path() {
        "/" => response(StatusCode::OK, "text/html; charset=utf-8", page(&live.fragments(true).await)),
        "/events" => events(live, request.method()).await,
        "/page.css" => response(StatusCode::OK, "text/css; charset=utf-8", style()),
        "/page.js" => response(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
        "/icon.svg" => response(StatusCode::OK, "image/svg+xml", ICON),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let format = MetricsFormat::accepted(accept.unwrap_or_default());
            response(StatusCode::OK, format.content_type(), metrics(facts).await.render(format))
        }
        "/health" => health(facts).await,
        "/ready" => ready(facts, request.uri().query()).await,
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /, /metrics, /health and /ready\n"),
    }
}

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><path fill=\"#0072B2\" d=\"M1 9h4v6H1zm5-4h4v10H6zm5-4h4v14h-4z\"/></svg>\n";

/// The stream of changes, which ends with its connection.
async fn events(live: &Live, method: &Method) -> Response<HttpBody> {
    const MEDIA: &str = "text/event-stream; charset=utf-8";
    if *method == Method::HEAD {
        return response(StatusCode::OK, MEDIA, "");
    }
    let Ok(place) = Arc::clone(&live.places).try_acquire_owned() else {
        let problem = "there are as many streams of events as there may be\n";
        return retry_after(response(StatusCode::SERVICE_UNAVAILABLE, TEXT, problem), 5);
    };
    // A client that reads slowly gets the last frame alone. The place is free once the stream ends.
    let frames = stream::unfold((live.watch().await, place), |(mut frames, place)| async move {
        frames.changed().await.ok()?;
        let frame = frames.borrow_and_update().clone();
        Some((frame, (frames, place)))
    });
    with_body(StatusCode::OK, MEDIA, HttpBody::Events(Box::pin(frames)))
}

/// Whether a request names this host by a loopback address or as `localhost`. A page of another site whose name leads here
/// ("DNS rebinding") makes the browser send that name.
fn is_own_host(headers: &HeaderMap, version: Version) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // No browser, and no page.
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => is_loopback(host),
        (Some(_), Some(_)) => false,
    }
}

fn is_loopback(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    address || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hosts: &[&str], version: Version, expected: bool) {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        assert_eq!(is_own_host(&headers, version), expected, "{hosts:?} {version:?}");
    }

    #[test]
    fn requests_by_another_name_are_not_answered() {
        for host in
            ["127.0.0.1:9464", "127.0.0.1", "localhost", "LocalHost:1", "[::1]:9464", "127.9.9.9", "[::1]"]
        {
            check(&[host], Version::HTTP_11, true);
        }
        let others = [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "a@localhost",
            "localhost@evil.example",
            "",
            "[::2]",
            "0.0.0.0",
        ];
        for host in others {
            check(&[host], Version::HTTP_11, false);
        }
        check(&[], Version::HTTP_11, false);
        check(&[], Version::HTTP_10, true);
        check(&["localhost", "evil.example"], Version::HTTP_11, false);
    }
}
